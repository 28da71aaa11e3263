"""Copies over a whole build: which documents go because another one stays.

Small builds are compared in one worker, in memory. Above `memory_bytes` of text the same pieces run as exchanges: rows
by content key, then rows by band key of what is left, and the edges of both are resolved together. Documents come from
files of `DOCUMENT_SCHEMA`; a picture's fingerprint is the `phash` of its meta.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.engine import Exchange, Limits, Outcome, Task, exchange, map_shards
from expedition.data.engine.merge import groups
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_table, write_table
from expedition.data.stages.dedup import (
    Duplicate,
    Edge,
    NearRule,
    band_rows,
    exact_edges,
    exact_rows,
    find_duplicates,
    near_edges,
    resolve,
)
from expedition.data.stages.dedup.media import picture_edges
from expedition.data.stages.dedup.resolve import Rank
from expedition.data.stages.dedup.tokens import normalised
from expedition.errors import CheckFailed

IN_MEMORY_BYTES = 256 << 20
_PARTITIONS = 16
_EDGES = "edges.arrow"
_ROWS = "rows.arrow"
_EDGE_SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("reason", pa.string())])
_PLAN_SCHEMA = pa.schema([("id", pa.string()), ("reason", pa.string()), ("of", pa.string())])
_COLUMNS = ("id", "source", "kind", "text")


@dataclass(frozen=True, slots=True)
class Repeats:
    """What decides: the near rule, and the sources in the order in which their copies are preferred."""

    rule: NearRule
    source_order: tuple[str, ...]
    memory_bytes: int = IN_MEMORY_BYTES


def comparable(path: Path) -> pa.Table:
    """The columns that copies are found by, of one file of documents: id, source, kind, text, length, phash."""
    table = read_table(path).select([*_COLUMNS, "meta"])
    fingerprints = [json.loads(meta or "{}").get("phash") for meta in table.column("meta").to_pylist()]
    lengths = [len(text) for text in table.column("text").to_pylist()]
    columns = {name: table.column(name) for name in _COLUMNS}
    return pa.table({**columns, "length": pa.array(lengths, pa.int64()), "phash": pa.array(fingerprints, pa.string())})


def find_repeats(
    paths: Sequence[Path], text_bytes: int, repeats: Repeats, workdir: Path, limits: Limits
) -> list[Duplicate]:
    """The copies among the documents of `paths`, sorted by id; blocking, restartable, free of the order of `paths`."""
    if text_bytes <= repeats.memory_bytes:
        outcome = map_shards(_InMemory(repeats), [Task("all", list(paths))], workdir / "memory", limits)[0]
        if outcome.quarantined is not None:
            raise CheckFailed(f"deduplication failed: {outcome.quarantined}", where=str(outcome.folder))
        return [Duplicate(**row) for row in read_table(outcome.folder / _ROWS).to_pylist()]
    return _by_exchange(paths, repeats, workdir, limits)


@dataclass(frozen=True, slots=True)
class _InMemory:
    repeats: Repeats

    def __call__(self, paths: list[Path], folder: Path) -> Summary:
        tables = [table for table in map(comparable, paths) if table.num_rows]
        found = (
            find_duplicates(pa.concat_tables(tables), self.repeats.rule, self.repeats.source_order) if tables else []
        )
        rows = [{"id": item.id, "reason": item.reason, "of": item.of} for item in found]
        write_table(folder / _ROWS, pa.Table.from_pylist(rows, schema=_PLAN_SCHEMA))
        return {"duplicates": len(rows)}


def _by_exchange(paths: Sequence[Path], repeats: Repeats, workdir: Path, limits: Limits) -> list[Duplicate]:
    preference = {name: place for place, name in enumerate(repeats.source_order)}
    ranks = _ranks(paths, preference)
    exact = _edges_by(paths, _ExactRows(), reduce_exact, workdir / "exact", limits)
    gone = frozenset(item.id for item in resolve(exact, ranks))
    near = _edges_by(paths, _BandRows(repeats.rule, gone), _ReduceNear(repeats.rule), workdir / "near", limits)
    pictures = _edges_by(paths, _CaptionRows(gone), reduce_pictures, workdir / "pictures", limits)
    return resolve([*exact, *near, *pictures], ranks)


def _ranks(paths: Sequence[Path], preference: dict[str, int]) -> dict[str, Rank]:
    ranks: dict[str, Rank] = {}
    for path in paths:
        for row in comparable(path).select(["id", "source", "length"]).to_pylist():
            ranks[row["id"]] = Rank(preference.get(row["source"], len(preference)), row["length"], row["id"])
    return ranks


@dataclass(frozen=True, slots=True)
class _ExactRows:
    def __call__(self, path: Path, folder: Path) -> Summary:
        return {"rows": write_table(folder / _ROWS, exact_rows(comparable(path)))}


@dataclass(frozen=True, slots=True)
class _BandRows:
    """Band rows of the documents that are left; code is compared with code only, so its keys are set apart."""

    rule: NearRule
    gone: frozenset[str]

    def __call__(self, path: Path, folder: Path) -> Summary:
        table = comparable(path)
        kinds, ids = table.column("kind").to_pylist(), table.column("id").to_pylist()
        parts = []
        for code in (False, True):
            rows = [n for n, name in enumerate(ids) if (kinds[n] == "code") == code and name not in self.gone]
            banded = band_rows(table.take(pa.array(rows, pa.int64())), self.rule)
            keys = banded.column("key").to_numpy() ^ np.int64(-1 if code else 0)
            parts.append(banded.set_column(0, "key", pa.array(keys, pa.int64())))
        return {"rows": write_table(folder / _ROWS, pa.concat_tables(parts))}


@dataclass(frozen=True, slots=True)
class _CaptionRows:
    gone: frozenset[str]

    def __call__(self, path: Path, folder: Path) -> Summary:
        rows = [
            {"key": normalised(row["text"]), "id": row["id"], "phash": row["phash"]}
            for row in comparable(path).to_pylist()
            if row["kind"] == "image-text" and row["phash"] and row["id"] not in self.gone
        ]
        schema = pa.schema([("key", pa.string()), ("id", pa.string()), ("phash", pa.string())])
        return {"rows": write_table(folder / _ROWS, pa.Table.from_pylist(rows, schema=schema))}


def _edges_by(paths: Sequence[Path], rows: object, reduce: object, workdir: Path, limits: Limits) -> list[Edge]:
    tasks = [Task(f"in-{number:06d}", path) for number, path in enumerate(paths)]
    mapped = map_shards(rows, tasks, workdir / "rows", limits)  # type: ignore[arg-type]
    for outcome in mapped:
        if outcome.quarantined is not None:
            raise CheckFailed(
                f"deduplication of {outcome.key} failed: {outcome.quarantined}", where=str(outcome.folder)
            )
    plan = Exchange(key="key", reduce=reduce, partitions=_PARTITIONS)  # type: ignore[arg-type]
    outcomes: list[Outcome] = exchange([item.folder / _ROWS for item in mapped], plan, workdir / "exchange", limits)
    return [Edge(**row) for item in outcomes for row in read_table(item.folder / _EDGES).to_pylist()]


def reduce_exact(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Edges of every group of one content key."""
    return _write_edges(
        folder, (edge for group in _groups(chunks) for edge in exact_edges(group.column("id").to_pylist()))
    )


def reduce_pictures(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Edges of every group of one caption."""
    pairs = (list(zip(group["id"].to_pylist(), group["phash"].to_pylist(), strict=True)) for group in _groups(chunks))
    return _write_edges(folder, (edge for pair in pairs for edge in picture_edges(pair)))


@dataclass(frozen=True, slots=True)
class _ReduceNear:
    rule: NearRule

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        return _write_edges(folder, (edge for group in _groups(chunks) for edge in self._edges(group)))

    def _edges(self, group: pa.Table) -> list[Edge]:
        sketches = [np.frombuffer(data, np.uint64) for data in group.column("sketch").to_pylist()]
        return near_edges(list(zip(group.column("id").to_pylist(), sketches, strict=True)), self.rule)


def _groups(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for chunk in chunks:
        for group in groups(chunk, "key"):
            if group.num_rows > 1:
                yield group


def _write_edges(folder: Path, edges: Iterator[Edge]) -> Summary:
    rows = [{"a": edge.a, "b": edge.b, "reason": edge.reason} for edge in sorted(set(edges))]
    return {"edges": write_table(folder / _EDGES, pa.Table.from_pylist(rows, schema=_EDGE_SCHEMA))}

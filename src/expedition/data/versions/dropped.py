"""What is not in a version, and why: the losses of every file of documents into one sorted table.

rows       a file's losses: what decoding and the stages dropped, then copies, then what a cap leaves out
exchange   losses in ranges of (source, path), each range sorted and written alone
table      the ranges one after the other
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.engine import Exchange, Limits, exchange
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_batches
from expedition.data.versions.assemble import Cut
from expedition.data.versions.clean import COMPLIANCE, dropped_row, short
from expedition.data.versions.copies import Removed, duplicates_of
from expedition.data.versions.index import DROPPED_SCHEMA, RowGroups

ROWS = "dropped.arrow"
DEDUP = "dedup"
RANGE_ROWS = 1 << 18
"""Rows of a range, about."""
_ROW_BYTES = 512
_CELLS = ("id", "source", "kind", "path", "url", "meta")
_ORDER = ("source", "path", "inner", "id", "stage", "reason")
_ROWS = pa.schema(
    [*DROPPED_SCHEMA, pa.field("order", pa.string()), pa.field("range", pa.int32()), pa.field("late", pa.bool_())]
)
"""`order` is what rows are sorted by, `late` whether a row was dropped after the stages: see `Dropped.late`."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Where the losses of one file of documents stand."""

    source: str
    first_path: str
    """Path of the first item that the file was made of."""
    lost: Path
    """`DROPPED_SCHEMA`: what decoding and the stages dropped."""
    lost_rows: int
    documents: Path
    removed: Removed
    cut: Cut | None
    late_rows: int
    """Rows that copies and the cap add, at most."""


@dataclass(frozen=True, slots=True)
class Late:
    """Documents that passed the stages and are not in the version: copies and what a cap leaves out."""

    stage: str
    source: str
    kind: str
    reason: str
    documents: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """All losses of a build, on disk."""

    parts: tuple[Path, ...]
    """Files of `DROPPED_SCHEMA`, each sorted, in the order of the whole table."""
    late: tuple[Late, ...]
    """Sums over what was dropped after the stages."""


def gather_dropped(losses: Sequence[Losses], workdir: Path, limits: Limits, range_rows: int = RANGE_ROWS) -> Dropped:
    """Sort the losses of all files by source and path. Blocking, restartable; bytes do not depend on workers."""
    bounds = ranges(losses, range_rows)
    rows = sum(item.lost_rows + item.late_rows for item in losses)
    plan = Exchange(
        key="order",
        reduce=write_range,
        partitions=len(bounds) + 1,
        partition="range",
        rows=RowsOf(tuple(bounds)),
        row_bytes=rows * _ROW_BYTES,
    )
    outcomes = exchange(losses, plan, workdir, limits)
    late: Counter[tuple[str, str, str, str]] = Counter()
    for outcome in outcomes:
        for *key, count in outcome.summary["late"]:
            late[tuple(key)] += count
    sums = tuple(Late(*key, documents=count) for key, count in sorted(late.items()))
    return Dropped(tuple(outcome.folder / ROWS for outcome in outcomes if outcome.summary["rows"]), sums)


def write_dropped(path: Path, parts: Iterable[Path]) -> int:
    """Write the parts of a table of dropped documents one after the other to `path`; returns the number of rows."""
    with RowGroups(path, DROPPED_SCHEMA) as table:
        for part in parts:
            for batch in read_batches(part):
                table.write(batch)
    return table.rows


def ranges(losses: Iterable[Losses], rows: int) -> list[str]:
    """First orders of all ranges but the first one, so that each has about `rows` rows. Pure.

    Files lie in ranges by the path of their first item: rows of one that fall into a neighbour's range go there.
    """
    bounds: list[str] = []
    held = 0
    for order, count in sorted(
        (_joined(item.source, item.first_path), item.lost_rows + item.late_rows) for item in losses
    ):
        if held and held + count > rows and order not in bounds[-1:]:
            bounds.append(order)
            held = 0
        held += count
    return bounds


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The losses of one file with their order and range."""

    bounds: tuple[str, ...]

    def __call__(self, losses: Losses) -> Iterator[pa.RecordBatch]:
        """Batches of `_ROWS`."""
        for batch in read_batches(losses.lost):
            yield self._placed(batch.to_pylist(), late=False)
        if len(losses.removed) or losses.cut is not None:
            copies = {item.id: item for item in duplicates_of(losses.removed)}
            for batch in read_batches(losses.documents, _CELLS):
                yield self._placed(_late(batch.select(_CELLS).to_pylist(), copies, losses.cut), late=True)

    def _placed(self, rows: Iterable[Mapping[str, Any]], *, late: bool) -> pa.RecordBatch:
        placed = []
        for row in rows:
            order = _joined(*(row[name] or "" for name in _ORDER))
            placed.append({**row, "order": order, "range": bisect.bisect_right(self.bounds, order), "late": late})
        return pa.RecordBatch.from_pylist(placed, schema=_ROWS)


def write_range(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Reduce function: one range of losses into `dropped.arrow`; the summary counts what came late."""
    late: Counter[tuple[str, str, str, str]] = Counter()

    def batches() -> Iterator[pa.RecordBatch]:
        for chunk in chunks:
            counted = chunk.select(["stage", "source", "kind", "reason", "late"])
            for batch in counted.to_batches(max_chunksize=4096):
                late.update(_late_key(row) for row in batch.to_pylist() if row["late"])
            yield from chunk.select(DROPPED_SCHEMA.names).to_batches(max_chunksize=4096)

    rows = write_batches(folder / ROWS, DROPPED_SCHEMA, batches())
    return {"rows": rows, "late": [[*key, count] for key, count in sorted(late.items())]}


def _late(rows: Iterable[dict[str, Any]], copies: Mapping[str, Any], cut: Cut | None) -> Iterator[dict[str, Any]]:
    """A copy is a copy wherever the cap lies."""
    for row in rows:
        copy = copies.get(row["id"])
        if copy is not None:
            yield dropped_row(row, DEDUP, copy.reason, copy.of)
        elif cut is not None and row["id"] >= cut.id:
            yield dropped_row(row, COMPLIANCE, cut.reason)


def _late_key(row: Mapping[str, str]) -> tuple[str, str, str, str]:
    reason = short(row["reason"]) if row["stage"] == COMPLIANCE else row["reason"]
    return row["stage"], row["source"], row["kind"], reason


def _joined(*parts: str) -> str:
    """One string that sorts as its parts do, byte by byte."""
    return "\0".join(parts)

"""Caps of approvals: how far into a source's documents, by id, a build may go.

Ids are content hashes, so a cap keeps the smallest ids: which documents these are depends on the documents alone, and
a source that grows under the same cap changes as little as it can. Memory: a batch of ids a file, whatever the corpus.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from expedition.data.compliance import Caps
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_table
from expedition.data.records import PLACEHOLDER
from expedition.data.versions.assemble import Cut, Prepared, loaded_tokenizer
from expedition.data.versions.clean import COMPLIANCE, MINIMAL_USE, dropped_row
from expedition.errors import CheckFailed

SIZES = "sizes.arrow"
_SIZES_SCHEMA = pa.schema([("id", pa.string()), ("bytes", pa.int64()), ("tokens", pa.int64())])
_CELLS = ("id", "source", "kind", "path", "url", "meta")
Size = tuple[str, int, int]
"""A document's id, bytes and tokens."""


def cap(
    prepared: Sequence[Prepared],
    caps: Mapping[str, Caps],
    workdir: Path,
    limits: Limits,
    tokenizer_folder: Path | None = None,
) -> list[Prepared]:
    """`prepared` with the cut of every source whose caps bind. Blocking, restartable, deterministic.

    Without a tokenizer, caps on documents and bytes; with one, caps on tokens. Shares are cut before the stages.
    """
    bound = {name: item for name, item in caps.items() if _asks(item, tokenizer_folder is not None)}
    mine = [item for item in prepared if item.source in bound]
    if not mine:
        return list(prepared)
    tasks = [Task(item.key, item) for item in mine]
    outcomes = map_shards(Measure(tokenizer_folder), tasks, workdir, limits)
    files: dict[str, list[Path]] = {}
    for item, outcome in zip(mine, outcomes, strict=True):
        if outcome.quarantined is not None:
            raise CheckFailed(f"measuring {outcome.key} failed: {outcome.quarantined}", where=str(outcome.folder))
        files.setdefault(item.source, []).append(outcome.folder / SIZES)
    cuts = {name: first_beyond(_merged(paths), bound[name]) for name, paths in files.items()}
    return [replace(item, cut=cuts[item.source]) if cuts.get(item.source) else item for item in prepared]


def first_beyond(sizes: Iterator[Size], caps: Caps) -> Cut | None:
    """The first document, in the order of ids, with which one of `caps` would be exceeded. Pure."""
    documents = size = tokens = 0
    for name, document_bytes, document_tokens in sizes:
        documents, size, tokens = documents + 1, size + document_bytes, tokens + document_tokens
        for what, used in (("documents", documents), ("bytes", size), ("tokens", tokens)):
            most = getattr(caps, what)
            if most is not None and used > most:
                return Cut(name, f"{MINIMAL_USE}: {what} ≤ {most}")
    return None


def left_out(prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
    """Rows of `index.DROPPED_SCHEMA` for the documents beyond a cap; copies, which are gone already, are not among them."""
    rows = []
    for item in prepared:
        for batch in read_batches(item.path) if item.cut is not None else ():
            for row in batch.select(_CELLS).to_pylist():
                if row["id"] not in item.removed and not item.keeps(row["id"]) and item.cut is not None:
                    rows.append(dropped_row(row, COMPLIANCE, item.cut.reason))
    return rows


@dataclass(frozen=True, slots=True)
class Measure:
    """Shard function: ids, bytes and tokens of the documents of a file that are still in, sorted by id."""

    tokenizer_folder: Path | None

    def __call__(self, prepared: Prepared, folder: Path) -> Summary:
        """Write `sizes.arrow`; tokens are 0 without a tokenizer."""
        rows = sorted(row for batch in read_batches(prepared.path) for row in self._rows(prepared, batch))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        write_table(folder / SIZES, pa.table([list(column) for column in columns], schema=_SIZES_SCHEMA))
        return {"documents": len(rows)}

    def _rows(self, prepared: Prepared, batch: pa.RecordBatch) -> Iterator[Size]:
        documents = [row for row in batch.select(["id", "text", "inserts"]).to_pylist() if prepared.keeps(row["id"])]
        counts = self._tokens([row["text"] for row in documents])
        for row, tokens in zip(documents, counts, strict=True):
            media = sum(len(insert["data"]) for insert in row["inserts"])
            yield row["id"], len(row["text"].encode()) + media, tokens + len(row["inserts"]) + 1

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        if self.tokenizer_folder is None:
            return [0] * len(texts)
        pieces = [text.split(PLACEHOLDER) for text in texts]
        encoded = iter(
            loaded_tokenizer(self.tokenizer_folder).encode_batch([part for parts in pieces for part in parts])
        )
        return [int(np.sum([len(next(encoded)) for _ in parts])) for parts in pieces]


def _asks(caps: Caps, tokens: bool) -> bool:
    return caps.tokens is not None if tokens else caps.documents is not None or caps.bytes is not None


def _merged(paths: Sequence[Path]) -> Iterator[Size]:
    return heapq.merge(*(_sizes(path) for path in paths))


def _sizes(path: Path) -> Iterator[Size]:
    for batch in read_batches(path):
        yield from zip(*(batch.column(number).to_pylist() for number in range(3)), strict=True)

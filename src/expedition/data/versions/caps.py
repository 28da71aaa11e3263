"""Caps of approvals: how far into a source's documents, by id, a build may go.

Ids are content hashes, so a cap keeps the smallest ids: which documents these are depends on the documents alone, and
a source that grows under the same cap changes as little as it can. Memory: one id in `PREFIXES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.compliance import Caps
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_table
from expedition.data.records import PLACEHOLDER
from expedition.data.versions.assemble import Cut, Prepared, loaded_tokenizer
from expedition.data.versions.clean import MINIMAL_USE
from expedition.errors import CheckFailed

SIZES = "sizes.arrow"
PREFIX_SUMS = "prefix-sums.npy"
"""Int64 [PREFIXES, 3]: documents, bytes and tokens of a file's documents by the first digits of their ids."""
_PREFIX_DIGITS = 3
PREFIXES = 16**_PREFIX_DIGITS
_SIZES_SCHEMA = pa.schema([("id", pa.string()), ("bytes", pa.int64()), ("tokens", pa.int64())])
_COUNTED = ("documents", "bytes", "tokens")
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
        files.setdefault(item.source, []).append(outcome.folder)
    cuts = {name: cut_of(folders, bound[name]) for name, folders in files.items()}
    return [replace(item, cut=cuts[item.source]) if cuts.get(item.source) else item for item in prepared]


def cut_of(folders: Sequence[Path], caps: Caps) -> Cut | None:
    """Where `caps` end in the documents that were measured in `folders`; None where they do not bind.

    First by the sums of id prefixes, then in the one prefix in which a cap is exceeded: its documents alone are held.
    """
    sums = np.zeros((PREFIXES, 3), np.int64)
    for folder in folders:
        sums += np.load(folder / PREFIX_SUMS, allow_pickle=False)
    ends = np.cumsum(sums, axis=0)
    most = [getattr(caps, name) for name in _COUNTED]
    beyond = [
        int(np.searchsorted(ends[:, n], limit, side="right")) for n, limit in enumerate(most) if limit is not None
    ]
    prefix = min(beyond, default=PREFIXES)
    if prefix == PREFIXES:
        return None
    before = ends[prefix - 1] if prefix else np.zeros(3, np.int64)
    rows = sorted(row for folder in folders for row in _of_prefix(folder / SIZES, prefix))
    return first_beyond(rows, caps, before.tolist())


def measured_tokens(folders: Iterable[Path]) -> int:
    """Tokens of the documents that were measured in `folders`."""
    return sum(int(np.load(folder / PREFIX_SUMS, allow_pickle=False)[:, 2].sum()) for folder in folders)


def first_beyond(sizes: Iterable[Size], caps: Caps, before: Sequence[int] = (0, 0, 0)) -> Cut | None:
    """The first document, in the order of ids, with which one of `caps` would be exceeded. Pure.

    `before` are documents, bytes and tokens that came before `sizes`.
    """
    documents, size, tokens = before
    for name, document_bytes, document_tokens in sizes:
        documents, size, tokens = documents + 1, size + document_bytes, tokens + document_tokens
        for what, used in zip(_COUNTED, (documents, size, tokens), strict=True):
            most = getattr(caps, what)
            if most is not None and used > most:
                return Cut(name, f"{MINIMAL_USE}: {what} ≤ {most}")
    return None


@dataclass(frozen=True, slots=True)
class Measure:
    """Shard function: ids, bytes and tokens of the documents of a file that are still in, sorted by id."""

    tokenizer_folder: Path | None

    def __call__(self, prepared: Prepared, folder: Path) -> Summary:
        """Write `sizes.arrow` and the sums of each prefix; tokens are 0 without a tokenizer."""
        rows = sorted(row for batch in read_batches(prepared.path) for row in self._rows(prepared, batch))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        write_table(folder / SIZES, pa.table([list(column) for column in columns], schema=_SIZES_SCHEMA))
        sums = np.zeros((PREFIXES, 3), np.int64)
        for name, size, tokens in rows:
            sums[_prefix(name)] += (1, size, tokens)
        np.save(folder / PREFIX_SUMS, sums, allow_pickle=False)
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


def _prefix(document: str) -> int:
    return int(document[:_PREFIX_DIGITS], 16)


def _of_prefix(path: Path, prefix: int) -> list[Size]:
    """The rows, sorted by id, whose ids begin with a prefix."""
    first, end = (f"{number:0{_PREFIX_DIGITS}x}" for number in (prefix, prefix + 1))
    found: list[Size] = []
    for batch in read_batches(path):
        names = batch.column("id")
        if names[-1].as_py() < first:
            continue
        if prefix + 1 < PREFIXES and names[0].as_py() >= end:
            break
        rows = zip(*(batch.column(number).to_pylist() for number in range(3)), strict=True)
        found += [row for row in rows if _prefix(row[0]) == prefix]
    return found

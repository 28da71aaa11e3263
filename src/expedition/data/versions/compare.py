"""Pairs of copies over any number of documents, by exchanges of a few numbers a document.

exact      (key, number) by key                          → pairs with the first of each key
gone       exact copies back to their block of files     → left out of what follows
bands      (band key, number, next band) by band key     → pairs to compare, bounded in number by `candidates`
verify     pairs by block of the second                  → pairs whose sketches are near
media      (key, number, finer code) by key              → pairs of pictures, clips and sounds to compare
media-verify  pairs by block of the second               → pairs whose fingerprints are near
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from expedition.data.engine import Exchange, Limits, exchange
from expedition.data.engine.exchange import Reduce, Rows, partitions_for
from expedition.data.engine.merge import in_pieces, whole_or_split
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_table
from expedition.data.stages.dedup import NearRule, candidate_pairs, exact_pairs, verified
from expedition.data.stages.dedup.candidates import Numbers, Pairs, Work, distinct, pairs_of_pieces
from expedition.data.stages.dedup.fingerprint import band_matrix, exact_halves, fine_of
from expedition.data.versions.compare_media import MEDIA_ROW_BYTES, MediaRows, VerifyMedia
from expedition.data.versions.pairs import PAIRS, read_pairs, write_pairs
from expedition.data.versions.prints import Prints

_ROWS_AT_ONCE = 1 << 16
"""Band rows that become pairs at once (at most `ALL_PAIRS / 2` a row)."""
_EXACT_ROW_BYTES = 24
_BAND_ROW_BYTES = 20


@dataclass(frozen=True, slots=True)
class Found:
    """Files of pairs, and what finding them took."""

    exact: tuple[Path, ...]
    near: tuple[Path, ...]
    counts: dict[str, int]


def find_pairs(prints: Prints, rule: NearRule, workdir: Path, memory_bytes: int, limits: Limits) -> Found:
    """All pairs of copies among the documents of `prints`. Blocking, restartable."""
    every = range(prints.files)

    def run(name: str, inputs: Sequence[Any], rows: Rows, reduce: Reduce, key: str, **more: Any) -> list[Any]:
        plan = Exchange(key=key, reduce=reduce, rows=rows, **{"memory_bytes": memory_bytes, **more})
        return exchange(inputs, plan, workdir / name, limits)

    def hashed(row_bytes: int) -> dict[str, int]:
        return {"row_bytes": row_bytes, "partitions": partitions_for(row_bytes, memory_bytes)}

    blocks = {"partition": "block", "partitions": prints.blocks}
    exact = run("exact", every, ExactRows(prints), reduce_exact, "high", **hashed(prints.total * _EXACT_ROW_BYTES))
    pairs = tuple(item.folder / PAIRS for item in exact)
    run("gone", pairs, PairsToBlocks(prints), reduce_gone, "b", **blocks)
    gone = Gone(prints, workdir / "gone" / "gather")
    size = prints.near * rule.bands * _BAND_ROW_BYTES
    bands = run("bands", every, BandRows(prints, rule, gone), reduce_bands, "key", **hashed(size))
    checked = run(
        "verify",
        [item.folder / PAIRS for item in bands],
        PairsToBlocks(prints),
        Verify(prints, rule, memory_bytes // 4),
        "b",
        memory_bytes=memory_bytes // 2,
        **blocks,
    )
    size = prints.media_keys * MEDIA_ROW_BYTES
    media = run("media", every, MediaRows(prints, gone.rows), reduce_bands, "key", **hashed(size))
    alike = run(
        "media-verify",
        [item.folder / PAIRS for item in media],
        PairsToBlocks(prints),
        VerifyMedia(prints),
        "b",
        **blocks,
    )
    near = tuple(item.folder / PAIRS for item in (*checked, *alike))
    counts: dict[str, int] = {}
    for item in (*bands, *checked, *alike):
        for name, count in item.summary["work"].items():
            counts[name] = counts.get(name, 0) + count
    return Found(pairs, near, counts)


@dataclass(frozen=True, slots=True)
class ExactRows:
    """Rows (high, low, number) of a file's documents that have an exact key."""

    prints: Prints

    def __call__(self, file: int) -> Iterator[pa.RecordBatch]:
        """One batch."""
        start, _ = self.prints.bounds(file, file + 1)
        rows, high, low = exact_halves(self.prints.table(file).select(["exact"]))
        yield pa.RecordBatch.from_pydict({"high": high, "low": low, "number": rows + start})


def reduce_exact(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Every document with the first that has its key."""

    def found() -> Iterator[Pairs]:
        for item in whole_or_split(chunks, "high"):
            if isinstance(item, pa.Table):
                yield exact_pairs(*(item.column(name).to_numpy() for name in ("high", "low", "number")))
            else:
                yield from _exact_of_pieces(item)

    return {"pairs": write_pairs(folder, found())}


def _exact_of_pieces(pieces: Iterator[pa.Table]) -> Iterator[Pairs]:
    """One high half over many pieces. Pairs within a piece, and each piece's first with the first of all: O(1) held."""
    firsts: dict[int, int] = {}
    for piece in pieces:
        high, low, numbers = (piece.column(name).to_numpy() for name in ("high", "low", "number"))
        values, places = np.unique(low, return_index=True)
        across = []
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            number = int(numbers[place])
            if firsts.setdefault(value, number) != number:
                across.append((firsts[value], number))
        yield np.concatenate([exact_pairs(high, low, numbers), np.array(across, np.int64).reshape(-1, 2)])


@dataclass(frozen=True, slots=True)
class PairsToBlocks:
    """Pairs of a file, each with the block of its second document."""

    prints: Prints

    def __call__(self, path: Path) -> Iterator[pa.RecordBatch]:
        """A batch a batch of the file."""
        for pairs in read_pairs(path):
            yield pa.RecordBatch.from_pydict(
                {"a": pairs[:, 0], "b": pairs[:, 1], "block": self.prints.block_of(pairs[:, 1])}
            )


def reduce_gone(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """The second documents of a block's pairs, rising (one that comes again is a pair of its own number)."""
    return {"gone": write_pairs(folder, (_doubled(chunk) for chunk in chunks))}


def _doubled(chunk: pa.Table) -> Pairs:
    numbers = np.unique(chunk.column("b").to_numpy())
    return np.stack([numbers, numbers], axis=-1)


@dataclass(frozen=True, slots=True)
class Gone:
    """Documents that are exact copies, by file."""

    prints: Prints
    folder: Path

    def rows(self, file: int) -> Numbers:
        """Rows of the file that are gone."""
        start, end = self.prints.bounds(file, file + 1)
        path = self.folder / f"part-{file // self.prints.width:06d}" / PAIRS
        numbers: Numbers = read_table(path).column("b").to_numpy()
        first, last = np.searchsorted(numbers, [start, end])
        return numbers[first:last] - start


@dataclass(frozen=True, slots=True)
class BandRows:
    """Rows (key, number, fine), one a band, of a file's documents that are left."""

    prints: Prints
    rule: NearRule
    gone: Gone

    def __call__(self, file: int) -> Iterator[pa.RecordBatch]:
        """A batch a batch of fingerprints."""
        start, _ = self.prints.bounds(file, file + 1)
        gone, first = self.gone.rows(file), 0
        for batch in self.prints.table(file).select(["bands"]).to_batches(max_chunksize=1 << 14):
            rows, bands = band_matrix(batch, self.rule)
            left = ~np.isin(rows + first, gone, assume_unique=True)
            numbers = np.repeat(rows[left] + first + start, self.rule.bands)
            keys, fine = bands[left], fine_of(bands[left])
            yield pa.RecordBatch.from_pydict({"key": keys.ravel(), "number": numbers, "fine": fine.ravel()})
            first += batch.num_rows


def reduce_bands(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Pairs to compare of every band key."""
    work = Work()

    def found() -> Iterator[Pairs]:
        for item in in_pieces(chunks, "key", _ROWS_AT_ONCE):
            if isinstance(item, pa.Table):
                keys, numbers, fine = (item.column(name).to_numpy() for name in ("key", "number", "fine"))
                yield candidate_pairs(keys, numbers, fine, work)
            else:
                pieces = ((piece.column("number").to_numpy(), piece.column("fine").to_numpy()) for piece in item)
                yield from pairs_of_pieces(pieces, work)

    pairs = write_pairs(folder, found())
    return {"pairs": pairs, "work": {**work.row(), "proposed": pairs}}


@dataclass(frozen=True, slots=True)
class Verify:
    """Reduce function: a block's pairs whose sketches are near."""

    prints: Prints
    rule: NearRule
    memory_bytes: int
    """Bytes of sketches that are held at once, about."""

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        """Writes the pairs that are near copies; counts the comparisons."""
        work = {"compared": 0, "joined": 0}

        def found() -> Iterator[Pairs]:
            for chunk in chunks:
                pairs = distinct(np.stack([chunk.column("a").to_numpy(), chunk.column("b").to_numpy()], axis=-1))
                for some in self._lots(pairs):
                    kept, compared = self._near(some)
                    work["compared"] += compared
                    yield kept

        work["joined"] = write_pairs(folder, found())
        return {"work": work}

    def _lots(self, pairs: Pairs) -> Iterator[Pairs]:
        """Neighbouring pairs whose sketches fit the memory, as many as possible: a lot opens every file once."""
        taken = self.prints.sketch_bytes(pairs[:, 0]) + self.prints.sketch_bytes(pairs[:, 1]) * (
            np.diff(pairs[:, 1], prepend=-1) != 0
        )
        lots = np.cumsum(taken) // max(1, self.memory_bytes)
        yield from np.split(pairs, np.flatnonzero(np.diff(lots)) + 1)

    def _near(self, pairs: Pairs) -> tuple[Pairs, int]:
        numbers = np.unique(pairs)
        held = self.prints.sketches(numbers)
        return verified(pairs, lambda some: held.take(np.searchsorted(numbers, some)), self.rule)

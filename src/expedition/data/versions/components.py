"""Connected components of any number of pairs, and the copy of each that stays.

Where the pairs fit the memory they are resolved at once. Else every component is made a star around its smallest number
by alternating large-star and small-star (Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: Connected Components in
MapReduce and Beyond, SoCC 2014), an exchange each; then ranks are joined by block of files and the best of every star
is chosen. Both ways give the same copies. A group of any size is reduced while it streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from expedition.data.engine import Exchange, Limits, Outcome, Task, exchange, map_shards
from expedition.data.engine.exchange import Reduce, Rows, partitions_for
from expedition.data.engine.merge import reread, spooled, whole_or_split
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_table
from expedition.data.stages.dedup.candidates import NO_PAIRS, Pairs, distinct
from expedition.data.stages.dedup.resolve import EXACT, NEAR, Dropped, Rank, nodes_of, resolve
from expedition.data.versions.compare import Found
from expedition.data.versions.copies import COPIES, Copies, write_copies
from expedition.data.versions.pairs import PAIRS, read_pairs, write_pairs
from expedition.data.versions.prints import Prints
from expedition.errors import CheckFailed

_BYTES_A_PAIR = 200
"""What resolving in memory holds a pair: itself twice, two nodes with label, rank and ids."""
_ROUNDS = 64
_RANKED = "ranked.arrow"
_SPOOL = ".spool.arrow"


def find_components(
    found: Found,
    prints: Prints,
    preference: Mapping[str, int],
    workdir: Path,
    memory_bytes: int,
    limits: Limits,
) -> Copies:
    """The copies that `found` pairs make. Blocking, restartable, the same whatever the memory."""
    pair_bytes = sum(path.stat().st_size for path in (*found.exact, *found.near))
    if pair_bytes // 16 * _BYTES_A_PAIR <= memory_bytes:
        outcomes = map_shards(InMemory(prints, dict(preference)), [Task("all", found)], workdir / "at-once", limits)
        if outcomes[0].quarantined is not None:
            raise CheckFailed(f"resolving copies failed: {outcomes[0].quarantined}", where=str(outcomes[0].folder))
        return _copies(outcomes, prints, max(1, prints.files))
    return _copies(
        _Stars(prints, workdir, memory_bytes, limits).resolve(found, preference, pair_bytes), prints, prints.width
    )


def _copies(outcomes: Sequence[Outcome], prints: Prints, width: int) -> Copies:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for word, count in outcome.summary["copies"].items():
            counts[word] = counts.get(word, 0) + count
    return Copies(prints, tuple(outcome.folder / COPIES for outcome in outcomes), width, counts)


@dataclass(frozen=True, slots=True)
class InMemory:
    """Shard function: all pairs at once."""

    prints: Prints
    preference: dict[str, int]

    def __call__(self, found: Found, folder: Path) -> Summary:
        """Writes one table of copies."""
        exact, near = _all(found.exact), _all(found.near)
        nodes = nodes_of(np.concatenate([exact, near]))
        dropped = resolve(exact, near, nodes, self.prints.rank(nodes, self.preference))
        return {"copies": write_copies(folder / COPIES, dropped, self.prints)}


def _all(paths: Sequence[Path]) -> Pairs:
    return np.concatenate([NO_PAIRS, *(pairs for path in paths for pairs in read_pairs(path))])


@dataclass(frozen=True, slots=True)
class _Stars:
    prints: Prints
    workdir: Path
    memory_bytes: int
    limits: Limits

    def resolve(self, found: Found, preference: Mapping[str, int], pair_bytes: int) -> list[Outcome]:
        partitions = partitions_for(2 * pair_bytes, self.memory_bytes)
        stars = self._converge([*found.exact, *found.near], partitions)
        ranked = self._run(
            "ranked",
            stars,
            MembersToBlocks(self.prints),
            Ranked(self.prints, dict(preference)),
            "number",
            partition="block",
            partitions=self.prints.blocks,
        )
        best = self._run(
            "best", [item.folder / _RANKED for item in ranked], read_batches, reduce_best, "root", partitions=partitions
        )
        inputs = [("of", item.folder / PAIRS) for item in best] + [("exact", path) for path in found.exact]
        return self._run(
            "copies",
            inputs,
            VerdictsToBlocks(self.prints),
            WriteCopies(self.prints),
            "number",
            partition="block",
            partitions=self.prints.blocks,
            row_bytes=2 * pair_bytes,
        )

    def _converge(self, paths: Sequence[Path], partitions: int) -> list[Path]:
        """Alternate until a round changes nothing; then every component is a star around its smallest number."""
        for number in range(_ROUNDS):
            large = self._run(f"{number:02d}-large", paths, both_ways, large_star, "a", partitions=partitions)
            middle = [item.folder / PAIRS for item in large]
            small = self._run(f"{number:02d}-small", middle, read_batches, small_star, "b", partitions=partitions)
            paths = [item.folder / PAIRS for item in small]
            if not sum(item.summary["changed"] for item in (*large, *small)):
                return list(paths)
        raise CheckFailed(f"components did not settle in {_ROUNDS} rounds", where=str(self.workdir))

    def _run(
        self, name: str, inputs: Sequence[Any], rows: Rows, reduce: Reduce, key: str, **more: Any
    ) -> list[Outcome]:
        plan = Exchange(key=key, reduce=reduce, rows=rows, memory_bytes=self.memory_bytes, **more)
        return exchange(inputs, plan, self.workdir / name, self.limits)


def both_ways(path: Path) -> Iterator[pa.RecordBatch]:
    """Every pair from both ends."""
    for pairs in read_pairs(path):
        yield pa.RecordBatch.from_pydict({"a": pairs[:, 0], "b": pairs[:, 1]})
        yield pa.RecordBatch.from_pydict({"a": pairs[:, 1], "b": pairs[:, 0]})


def large_star(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Link every larger neighbour of a node to the smallest of the node and its neighbours."""
    changed = [0]

    def found() -> Iterator[Pairs]:
        for item in whole_or_split(chunks, "a"):
            if isinstance(item, pa.Table):
                pairs = distinct(_columns(item, "b", "a"))
                nodes, neighbours = pairs[:, 1], pairs[:, 0]
                smallest = np.minimum(neighbours[_first_of(nodes)], nodes)
                larger = neighbours > nodes
                changed[0] += int((smallest[larger] != nodes[larger]).sum())
                yield distinct(np.stack([smallest[larger], neighbours[larger]], axis=-1))
            else:
                yield from _large_star_of_pieces(item, folder, changed)

    return {"pairs": write_pairs(folder, found()), "changed": changed[0]}


def _large_star_of_pieces(pieces: Iterator[pa.Table], folder: Path, changed: list[int]) -> Iterator[Pairs]:
    """One node in two passes: its smallest neighbour, then every larger one with that."""
    kept = folder / _SPOOL
    smallest = node = None
    for batch in spooled(pieces, kept):
        node = int(batch.column("a")[0].as_py())
        smallest = min(node if smallest is None else smallest, int(batch.column("b").to_numpy().min()))
    assert node is not None and smallest is not None
    for batch in reread(kept):
        neighbours = np.unique(batch.column("b").to_numpy())
        larger = neighbours[neighbours > node]
        changed[0] += len(larger) if smallest != node else 0
        yield _star(smallest, larger)
    kept.unlink()


def small_star(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Link a node and its smaller neighbours to the smallest of them."""
    changed = [0]

    def found() -> Iterator[Pairs]:
        for item in whole_or_split(chunks, "b"):
            if isinstance(item, pa.Table):
                pairs = distinct(_columns(item, "a", "b"))
                nodes, neighbours = pairs[:, 1], pairs[:, 0]
                smallest = neighbours[_first_of(nodes)]
                others = neighbours != smallest
                changed[0] += int(others.sum())
                own = np.stack([smallest, nodes], axis=-1)
                yield distinct(np.concatenate([own, np.stack([smallest[others], neighbours[others]], axis=-1)]))
            else:
                yield from _small_star_of_pieces(item, folder, changed)

    return {"pairs": write_pairs(folder, found()), "changed": changed[0]}


def _small_star_of_pieces(pieces: Iterator[pa.Table], folder: Path, changed: list[int]) -> Iterator[Pairs]:
    kept = folder / _SPOOL
    smallest = node = None
    for batch in spooled(pieces, kept):
        node, first = int(batch.column("b")[0].as_py()), int(batch.column("a").to_numpy().min())
        smallest = first if smallest is None else min(first, smallest)
    assert node is not None and smallest is not None
    for batch in reread(kept):
        neighbours = np.unique(batch.column("a").to_numpy())
        others = neighbours[neighbours != smallest]
        changed[0] += len(others)
        yield _star(smallest, others)
    kept.unlink()
    yield np.array([[smallest, node]], np.int64)


@dataclass(frozen=True, slots=True)
class MembersToBlocks:
    """Rows (number, root, block) of every member of a star, the centre included."""

    prints: Prints

    def __call__(self, path: Path) -> Iterator[pa.RecordBatch]:
        """A batch a batch of the file."""
        for pairs in read_pairs(path):
            centres = np.unique(pairs[:, 0])
            numbers, roots = np.concatenate([pairs[:, 1], centres]), np.concatenate([pairs[:, 0], centres])
            block = self.prints.block_of(numbers)
            yield pa.RecordBatch.from_pydict({"number": numbers, "root": roots, "block": block})


@dataclass(frozen=True, slots=True)
class Ranked:
    """Reduce function: the ranks of a block's documents, for their stars."""

    prints: Prints
    preference: dict[str, int]

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        """Writes rows (root, number, place, length, tie)."""
        tables = [_empty_ranked()]
        for chunk in chunks:
            members = distinct(_columns(chunk, "root", "number"))
            rank = self.prints.rank(members[:, 1], self.preference)
            columns = {"root": members[:, 0], "number": members[:, 1]}
            tables.append(pa.table({**columns, "place": rank.place, "length": rank.length, "tie": rank.tie}))
        return {"rows": write_table(folder / _RANKED, pa.concat_tables(tables), batch_rows=1 << 16)}


def _empty_ranked() -> pa.Table:
    names = {name: pa.array([], pa.int64()) for name in ("root", "number", "place", "length")}
    return pa.table({**names, "tie": pa.array([], pa.uint64())})


def reduce_best(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Pairs (best of its star, member) of every member but the best."""

    def found() -> Iterator[Pairs]:
        for item in whole_or_split(chunks, "root"):
            if isinstance(item, pa.Table):
                roots, numbers = item.column("root").to_numpy(), item.column("number").to_numpy()
                order = _rank(item).order(roots, numbers)
                roots, numbers = roots[order], numbers[order]
                yield _others(numbers[_first_of(roots)], numbers)
            else:
                yield from _best_of_pieces(item, folder)

    return {"pairs": write_pairs(folder, found())}


def _best_of_pieces(pieces: Iterator[pa.Table], folder: Path) -> Iterator[Pairs]:
    """One star in two passes over a file of its members: find the best, then name it to each."""
    best: pa.Table | None = None
    kept = folder / _SPOOL
    for batch in spooled(pieces, kept):
        both = pa.Table.from_batches([batch])
        both = both if best is None else pa.concat_tables([best, both])
        order = _rank(both).order(both.column("root").to_numpy(), both.column("number").to_numpy())
        best = both.take(pa.array(order[:1]))
    assert best is not None
    number = int(best.column("number")[0].as_py())
    for batch in reread(kept):
        members = batch.column("number").to_numpy()
        yield _others(np.full(len(members), number, np.int64), members)
    kept.unlink()


@dataclass(frozen=True, slots=True)
class VerdictsToBlocks:
    """Rows (number, of, block) of every copy, and (number, -1, block) of every document with an exact copy."""

    prints: Prints

    def __call__(self, told: tuple[str, Path]) -> Iterator[pa.RecordBatch]:
        """A batch a batch of the file."""
        what, path = told
        for pairs in read_pairs(path):
            numbers, of = pairs[:, 1], pairs[:, 0]
            if what == "exact":
                numbers = np.unique(pairs)
                of = np.full(len(numbers), -1, np.int64)
            yield pa.RecordBatch.from_pydict({"number": numbers, "of": of, "block": self.prints.block_of(numbers)})


@dataclass(frozen=True, slots=True)
class WriteCopies:
    """Reduce function: a block's table of copies. Holds ten bytes a document of the block."""

    prints: Prints

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        """Writes `copies.arrow`."""
        width = self.prints.width
        start, end = self.prints.bounds(min(partition * width, self.prints.files), (partition + 1) * width)
        of = np.full(end - start, -1, np.int64)
        reasons = np.full(end - start, NEAR, np.int8)
        for chunk in chunks:
            rows, value = chunk.column("number").to_numpy() - start, chunk.column("of").to_numpy()
            of[rows[value >= 0]] = value[value >= 0]
            reasons[rows[value < 0]] = EXACT
        rows = np.flatnonzero(of >= 0)
        dropped = Dropped(rows + start, of[rows], reasons[rows])
        return {"copies": write_copies(folder / COPIES, dropped, self.prints)}


def _columns(table: pa.Table, first: str, second: str) -> Pairs:
    return np.stack([table.column(first).to_numpy(), table.column(second).to_numpy()], axis=-1)


def _first_of(groups: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each row of sorted groups the row where its group starts."""
    if not len(groups):
        return np.empty(0, np.int64)
    new = np.concatenate(([True], groups[1:] != groups[:-1]))
    found: np.ndarray[Any, np.dtype[np.int64]] = np.flatnonzero(new)[np.cumsum(new) - 1]
    return found


def _star(centre: int, leaves: np.ndarray[Any, np.dtype[np.int64]]) -> Pairs:
    return np.stack([np.full(len(leaves), centre, np.int64), leaves], axis=-1)


def _others(best: np.ndarray[Any, np.dtype[np.int64]], members: np.ndarray[Any, np.dtype[np.int64]]) -> Pairs:
    return distinct(np.stack([best, members], axis=-1)[best != members])


def _rank(table: pa.Table) -> Rank:
    return Rank(*(table.column(name).to_numpy() for name in ("place", "length", "tie")))

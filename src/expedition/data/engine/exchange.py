"""The second primitive: partition → external sort → reduce. Every global operation (dedup, mixing, sharding) is one.

    scatter   an input file's rows → one sorted run a partition, a folder an input
    gather    a partition's runs of all inputs, merged by key → `reduce`, a folder a partition

Both halves are shard maps, so a killed exchange goes on with the inputs and partitions that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from expedition.data.engine.local import map_shards
from expedition.data.engine.merge import sort_by, sorted_chunks
from expedition.data.engine.shard import Limits, Outcome, ProgressCallback, Summary, Task
from expedition.data.engine.tables import read_batches, write_table
from expedition.errors import CheckFailed

Reduce = Callable[[int, Iterator[pa.Table], Path], Summary]
"""`reduce(partition, chunks, folder) -> Summary`. Chunks are sorted by key, equal keys in the order of inputs, and no
key is spread over two chunks. Same rules as a shard function: picklable, deterministic, writes only into `folder`."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """How rows travel and what is done with each partition's rows."""

    key: str
    """Column that rows are sorted and grouped by: integer or string, never null."""
    reduce: Reduce
    partitions: int
    """How many pieces; the result may not depend on it except through the grouping of keys into pieces."""
    partition: str | None = None
    """Integer column with the partition of each row; None hashes the key."""
    memory_bytes: int = 256 << 20
    """Bytes of rows that a worker sorts at once."""


def exchange(
    inputs: Sequence[Path],
    plan: Exchange,
    workdir: Path,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
) -> list[Outcome]:
    """Bring the rows of the Arrow files `inputs` together by key and reduce each partition; outcomes in their order.

    Blocking, restartable, deterministic: the same inputs in the same order give the same bytes whatever the number of
    workers. Raises CheckFailed if a half is quarantined: a global operation over part of its rows would be wrong.
    """
    scatter = _Scatter(plan.key, plan.partition, plan.partitions, plan.memory_bytes)
    tasks = [Task(f"in-{number:06d}", path) for number, path in enumerate(inputs)]
    scattered = _complete(map_shards(scatter, tasks, workdir / "scatter", limits, progress), "scatter")
    runs: list[list[Path]] = [[] for _ in range(plan.partitions)]
    for outcome in scattered:
        for partition, names in outcome.summary["runs"].items():
            runs[int(partition)].extend(outcome.folder / name for name in names)
    gather = _Gather(plan.key, plan.reduce, plan.memory_bytes)
    tasks = [Task(f"part-{number:06d}", (number, paths)) for number, paths in enumerate(runs)]
    return _complete(map_shards(gather, tasks, workdir / "gather", limits, progress), "gather")


@dataclass(frozen=True, slots=True)
class _Scatter:
    key: str
    partition: str | None
    partitions: int
    memory_bytes: int

    def __call__(self, path: Path, folder: Path) -> Summary:
        runs: dict[str, list[str]] = {}
        held: list[pa.RecordBatch] = []
        held_bytes = spills = 0
        for batch in read_batches(path):
            held.append(batch)
            held_bytes += batch.nbytes
            if held_bytes >= self.memory_bytes:
                self._spill(held, folder, spills, runs)
                held, held_bytes, spills = [], 0, spills + 1
        if held:
            self._spill(held, folder, spills, runs)
        return {"runs": runs}

    def _spill(self, held: list[pa.RecordBatch], folder: Path, spill: int, runs: dict[str, list[str]]) -> None:
        table = pa.Table.from_batches(held)
        target = self._partition_of(table)
        for partition in np.unique(target).tolist():
            if not 0 <= partition < self.partitions:
                raise CheckFailed(f"partition {partition} is outside 0..{self.partitions - 1}", where=self.partition)
            rows = sort_by(table.take(pa.array(np.flatnonzero(target == partition))), self.key)
            name = f"{partition:06d}-{spill:04d}.arrow"
            write_table(folder / name, rows)
            runs.setdefault(str(partition), []).append(name)

    def _partition_of(self, table: pa.Table) -> np.ndarray[Any, Any]:
        if self.partition is not None:
            homes: np.ndarray[Any, Any] = table.column(self.partition).to_numpy()
            return homes.astype(np.int64)
        column = table.column(self.key)
        if pa.types.is_integer(column.type):
            keys: np.ndarray[Any, Any] = column.to_numpy().astype(np.uint64)
            return (keys % np.uint64(self.partitions)).astype(np.int64)
        hashes = (xxhash.xxh3_64_intdigest(value.encode()) % self.partitions for value in column.to_pylist())
        return np.fromiter(hashes, dtype=np.int64, count=len(column))


@dataclass(frozen=True, slots=True)
class _Gather:
    key: str
    reduce: Reduce
    memory_bytes: int

    def __call__(self, payload: tuple[int, list[Path]], folder: Path) -> Summary:
        partition, runs = payload
        return self.reduce(partition, sorted_chunks(runs, self.key, self.memory_bytes), folder)


def _complete(outcomes: list[Outcome], half: str) -> list[Outcome]:
    for outcome in outcomes:
        if outcome.quarantined is not None:
            raise CheckFailed(
                f"exchange: {half} {outcome.key} failed: {outcome.quarantined}",
                where=str(outcome.folder),
                fix="run again with more memory a worker, or remove this folder to try it again",
            )
    return outcomes

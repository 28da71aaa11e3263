"""The second primitive: partition → external sort → reduce. Every global operation (dedup, mixing, sharding) is one.

    scatter   neighbouring inputs' rows → one run folder: sorted segments, a segment a partition and spill
    gather    a partition's segments of all runs, merged by key → `reduce`, a folder a partition

Both halves are shard maps, so a killed exchange goes on with the runs and partitions that are missing. A worker holds
`memory_bytes` of rows whatever the corpus and whatever the skew (merge.py). On disk lie the runs, about as large as
the rows, and what `reduce` writes; bands of partitions give their part of the runs back once they are reduced.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from expedition.data.engine.call import map_shards
from expedition.data.engine.merge import sorted_chunks
from expedition.data.engine.runs import Bands, RunWriter, Segment, drop_band, segments
from expedition.data.engine.shard import Limits, Outcome, Progress, ProgressCallback, Summary, Task
from expedition.data.engine.tables import read_batches
from expedition.errors import CheckFailed, StorageError

Reduce = Callable[[int, Iterator[pa.Table], Path], Summary]
"""`reduce(partition, chunks, folder) -> Summary`. Chunks are sorted by key, equal keys in the order of inputs. A key is
spread over several chunks, one after the other, only where its rows alone exceed a quarter of the memory
(`merge.whole_or_split`). Same rules as a shard function: picklable, deterministic, writes only into `folder`."""

Rows = Callable[[Any], Iterator[pa.RecordBatch]]
"""`rows(input) -> batches`, all of one schema. Picklable and deterministic; runs where the input is scattered."""

RUN_BYTES = 1 << 30
"""Bytes of input that share a run folder, about, where there are more than `_SMALL_RUNS` inputs."""
_SMALL_RUNS = 64
_WAVE_PARTITIONS = 256
"""Partitions that one engine call reduces, at least, before their runs are removed: a call has to start workers."""
_RECORD = "exchange.json"
_PARTITION = "__partition"


@dataclass(frozen=True, slots=True)
class Exchange:
    """How rows travel and what is done with each partition's rows."""

    key: str
    """Column that rows are sorted and grouped by: integer or string, never null."""
    reduce: Reduce
    partitions: int
    """How many pieces (`partitions_for`); the result may depend on it only through the grouping of keys into pieces."""
    partition: str | None = None
    """Integer column with the partition of each row; None hashes the key."""
    memory_bytes: int = 256 << 20
    """Bytes of rows that a worker holds, copies of a sort included, but for the batch that `rows` is making; its code
    and libraries come on top."""
    rows: Rows = read_batches
    """What an input's rows are; by default an input is the path of an Arrow file."""
    row_bytes: int | None = None
    """Bytes of rows of all inputs, about; None takes the sizes of input files. Disk is checked for it before start."""


def partitions_for(row_bytes: int, memory_bytes: int) -> int:
    """Partitions such that an even one, and one half as large again, is sorted in memory at once."""
    return max(1, -(-9 * row_bytes // (2 * max(1, memory_bytes))))


def exchange(
    inputs: Sequence[Any],
    plan: Exchange,
    workdir: Path,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
) -> list[Outcome]:
    """Bring the rows of `inputs` together by key and reduce each partition; outcomes in the order of partitions.

    Blocking, restartable, deterministic: the same inputs in the same order give the same bytes whatever the number of
    workers. What `workdir` holds of another plan or of other inputs is removed. Raises CheckFailed if a half is
    quarantined: a global operation over part of its rows would be wrong. Raises StorageError before anything is
    written if the disk has no room for the runs.
    """
    _same_or_new(workdir, inputs, plan)
    runs = _groups(inputs, _row_bytes(inputs, plan))
    _room(workdir, _row_bytes(inputs, plan))
    bands = Bands(plan.partitions)
    scatter = _Scatter(plan, bands)
    tasks = [Task(f"run-{number:06d}", group) for number, group in enumerate(runs)]
    _complete(map_shards(scatter, tasks, workdir / "scatter", limits, progress), "scatter")
    gather = _Gather(plan.key, plan.reduce, plan.memory_bytes, workdir / "scatter", len(runs), bands)
    outcomes: list[Outcome] = []
    wave = max(1, _WAVE_PARTITIONS // bands.width)
    for first in range(0, len(bands), wave):
        now = range(first, min(first + wave, len(bands)))
        tasks = [Task(f"part-{number:06d}", number) for band in now for number in bands.members(band)]
        told = _shifted(progress or (limits.report if limits else None), len(outcomes), plan.partitions)
        outcomes += _complete(map_shards(gather, tasks, workdir / "gather", limits, told), "gather")
        for band in now:
            drop_band(gather.folders(), band)
    return outcomes


@dataclass(frozen=True, slots=True)
class _Scatter:
    plan: Exchange
    bands: Bands

    def __call__(self, inputs: tuple[Any, ...], folder: Path) -> Summary:
        writer = RunWriter(folder, self.bands)
        held: list[pa.RecordBatch] = []
        held_bytes = 0
        for batch in (batch for item in inputs for batch in self.plan.rows(item)):
            # A third: the rows, their sorted copy, and the batch that is being made.
            if held and held_bytes + batch.nbytes > self.plan.memory_bytes // 3:
                self._spill(held, writer)
                held, held_bytes = [], 0
            if batch.num_rows:
                held.append(batch)
                held_bytes += batch.nbytes
        if held:
            self._spill(held, writer)
        return {"rows": writer.rows, "run_bytes": writer.bytes, "spills": writer.spills}

    def _spill(self, held: list[pa.RecordBatch], writer: RunWriter) -> None:
        table = pa.Table.from_batches(held)
        homes = self._homes(table)
        held.clear()
        keys = pa.table({_PARTITION: homes, "key": table.column(self.plan.key)})
        order = pc.sort_indices(keys, sort_keys=[(_PARTITION, "ascending"), ("key", "ascending")])
        writer.spill(table.take(order).combine_chunks(), homes[order.to_numpy()])

    def _homes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        count = self.plan.partitions
        if self.plan.partition is not None:
            homes: npt.NDArray[np.int64] = table.column(self.plan.partition).to_numpy().astype(np.int64)
            if len(homes) and not 0 <= homes.min() <= homes.max() < count:
                wrong = homes.min() if homes.min() < 0 else homes.max()
                raise CheckFailed(f"partition {wrong} is outside 0..{count - 1}", where=self.plan.partition)
            return homes
        column = table.column(self.plan.key)
        if pa.types.is_integer(column.type):
            keys: npt.NDArray[np.uint64] = column.to_numpy().astype(np.uint64)
            return (keys % np.uint64(count)).astype(np.int64)
        hashes = (xxhash.xxh3_64_intdigest(value.encode()) % count for value in column.to_pylist())
        return np.fromiter(hashes, dtype=np.int64, count=len(column))


@dataclass(frozen=True, slots=True)
class _Gather:
    key: str
    reduce: Reduce
    memory_bytes: int
    scattered: Path
    runs: int
    bands: Bands

    def folders(self) -> list[Path]:
        return [self.scattered / f"run-{number:06d}" for number in range(self.runs)]

    def __call__(self, partition: int, folder: Path) -> Summary:
        found: list[Segment] = []
        for run in self.folders():
            found += segments(run, self.bands, partition)
        return self.reduce(partition, sorted_chunks(found, self.key, self.memory_bytes, folder), folder)


def _groups(inputs: Sequence[Any], row_bytes: int) -> list[tuple[Any, ...]]:
    """Neighbouring inputs, a tuple a run: few runs keep the number of ranges that a partition is read from small."""
    runs = max(_SMALL_RUNS, -(-row_bytes // RUN_BYTES))
    size = max(1, -(-len(inputs) // runs))
    return [tuple(inputs[start : start + size]) for start in range(0, len(inputs), size)]


def _row_bytes(inputs: Sequence[Any], plan: Exchange) -> int:
    if plan.row_bytes is not None:
        return plan.row_bytes
    return sum(path.stat().st_size for path in inputs if isinstance(path, Path) and path.exists())


def _room(workdir: Path, row_bytes: int) -> None:
    """Refuse to start what would fill the disk. Committed runs of an earlier call count as room already taken."""
    taken = sum(path.stat().st_size for path in (workdir / "scatter").glob("run-*/band-*"))
    free = shutil.disk_usage(workdir).free
    if row_bytes - taken > free:
        raise StorageError(
            f"an exchange of about {row_bytes:,} bytes needs as much disk, and {free:,} bytes are free",
            where=str(workdir),
            fix="free space there, or put the workspace on a larger disk, and run the same command again",
        )


def _same_or_new(workdir: Path, inputs: Sequence[Any], plan: Exchange) -> None:
    """Keep what an earlier call of the same exchange left; remove what another one left."""
    told = [plan.key, _named(plan.reduce), _named(plan.rows), plan.partitions, plan.partition, plan.memory_bytes]
    digest = xxhash.xxh3_128()
    for item in (*told, *inputs):
        size = item.stat().st_size if isinstance(item, Path) and item.exists() else None
        digest.update(f"{item!r} {size}\0".encode())
    record = {"fingerprint": digest.hexdigest()}
    path = workdir / _RECORD
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) == record:
        return
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(record), encoding="utf-8")
    aside.rename(path)


def _named(function: Any) -> str:
    """A name that is the same in the next process."""
    return f"{function.__module__}.{function.__qualname__}" if hasattr(function, "__qualname__") else repr(function)


def _shifted(progress: ProgressCallback | None, done: int, total: int) -> ProgressCallback | None:
    if progress is None:
        return None

    def told(step: Progress) -> None:
        part = replace(step, done=step.done + done, total=total)
        progress(replace(part, weight_done=step.weight_done + done, weight_total=total))

    return told


def _complete(outcomes: list[Outcome], half: str) -> list[Outcome]:
    for outcome in outcomes:
        if outcome.quarantined is not None:
            raise CheckFailed(
                f"exchange: {half} {outcome.key} failed: {outcome.quarantined}",
                where=str(outcome.folder),
                fix="run again with more memory a worker, or remove this folder to try it again",
            )
    return outcomes

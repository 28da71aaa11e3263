"""Metrics at rest: append-only, immutable Parquet segments, one series a rank, that survive a kill.

A process that writes is an *attempt*. Segments are `runs/<run>/metrics/rank-00000/attempt-0001-000000.parquet`. A
restart at step k, after a kill or a rewind, is a new attempt that begins at k: a reader drops every row with step >= k of
the earlier attempts, so each step has the row of its last attempt. `attempts` and `read_metrics(…, attempt=n)` show the
others. Rows that were not flushed when a process died belong to steps after the last checkpoint as long as
the trainer calls `flush()` before it commits a checkpoint, so they are written again by the next attempt.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError, StorageError
from expedition.workspace import AlreadyExists, layout

if TYPE_CHECKING:
    import pyarrow as pa

    from expedition.workspace import Workspace

SCHEMA = "watch.metrics/1"
_SEGMENT = re.compile(r"rank-(\d+)/attempt-(\d+)-(\d+)\.parquet$")
_FIXED = ("step", "tokens", "time_s")

Columns = dict[str, npt.NDArray[Any]]
"""Columns by metric name; `step` and `tokens` int64, the rest float64."""


@dataclass(frozen=True, slots=True)
class _Row:
    step: int
    tokens: int
    time_s: float
    values: dict[str, float]
    vectors: dict[str, npt.NDArray[np.float64]]


class MetricWriter:
    """Writes one rank's series. Owned by one thread; every flush is one immutable segment.

    `time_s` is seconds of training: the clock goes on from the last row that the resumed step keeps, so downtime
    between attempts is not in it.
    """

    def __init__(
        self,
        ws: Workspace,
        run: str,
        rank: int = 0,
        *,
        from_step: int | None = None,
        flush_rows: int = 256,
        flush_interval_s: float = 5.0,
    ) -> None:
        """`from_step`: the step that the attempt begins at; None: that of its first row. Rows of earlier attempts from
        there on no longer count, though this one may write its first row later."""
        self._ws = ws
        self._run = run
        self._rank = rank
        self._from_step = from_step
        self._flush_rows = flush_rows
        self._flush_interval_s = flush_interval_s
        self._attempt = 1 + max((s.attempt for s in _segments(ws, run, rank)), default=0)
        self._segment = 0
        self._rows: list[_Row] = []
        self._last_step = -1
        self._clock_zero: float | None = None
        self._flushed = time.monotonic()

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self._attempt

    def append(
        self,
        step: int,
        tokens: int,
        values: Mapping[str, float],
        vectors: Mapping[str, npt.NDArray[np.generic]] | None = None,
        time_s: float | None = None,
    ) -> float:
        """Add the row of a step; returns the row's `time_s`.

        `tokens`: tokens trained up to and with this step. `vectors`: arrays of any fixed shape, for example
        `expert_tokens` [layers, experts]. Raises InputError when steps do not grow within an attempt.
        """
        if step <= self._last_step:
            raise InputError(
                f"metric rows must have growing steps: step {step} came after {self._last_step}",
                where=f"{layout.metrics(self._run)} rank {self._rank}",
                fix="open a new MetricWriter after a resume: it starts a new attempt",
            )
        if self._from_step is None:
            self._from_step = step
        if self._clock_zero is None:
            self._clock_zero = time.monotonic() - _kept_time_s(self._ws, self._run, self._rank, step)
        at_s = time.monotonic() - self._clock_zero if time_s is None else time_s
        arrays = {name: np.array(array, dtype=np.float64) for name, array in (vectors or {}).items()}
        numbers = {name: float(value) for name, value in values.items() if name not in _FIXED}
        self._rows.append(_Row(step, int(tokens), at_s, numbers, arrays))
        self._last_step = step
        if len(self._rows) >= self._flush_rows or time.monotonic() - self._flushed >= self._flush_interval_s:
            self._try_flush()
        return at_s

    def _try_flush(self) -> None:
        """Flush if the storage takes it. Rows that it refuses stay and are tried again; `flush` itself raises."""
        try:
            self.flush()
        except AlreadyExists:
            raise
        except StorageError:
            return

    def flush(self) -> None:
        """Commit the rows so far as one segment. Call it before a checkpoint is committed."""
        self._flushed = time.monotonic()
        if not self._rows:
            return
        payload = _encode(self._rows, self._from_step or 0)
        while True:
            key = f"{layout.metrics(self._run)}/{_segment_name(self._rank, self._attempt, self._segment)}"
            try:
                self._ws.store.create(key, payload)
                break
            except AlreadyExists:
                if self._segment:
                    raise
                self._attempt += 1
        self._segment += 1
        self._rows = []

    def close(self) -> None:
        """Flush what is left."""
        self.flush()

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Segment:
    key: str
    rank: int
    attempt: int
    number: int


def _segment_name(rank: int, attempt: int, number: int) -> str:
    return f"rank-{rank:05d}/attempt-{attempt:04d}-{number:06d}.parquet"


def _segments(ws: Workspace, run: str, rank: int) -> Iterator[_Segment]:
    for key in ws.store.list(f"{layout.metrics(run)}/rank-{rank:05d}"):
        found = _SEGMENT.search(key)
        if found:
            yield _Segment(key, int(found[1]), int(found[2]), int(found[3]))


def ranks(ws: Workspace, run: str) -> list[int]:
    """Ranks that have written metrics for a run."""
    found = (_SEGMENT.search(key) for key in ws.store.list(f"{layout.metrics(run)}"))
    return sorted({int(match[1]) for match in found if match})


def runs(ws: Workspace) -> list[str]:
    """Runs that have metrics, by name."""
    names = (re.match(r"runs/([^/]+)/metrics/", key) for key in ws.store.list("runs"))
    return sorted({match[1] for match in names if match})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process's part of a series: what it wrote, and what of it still counts."""

    number: int
    """From 1."""
    from_step: int
    """Where it began."""
    last_step: int
    """Step of its last row."""
    rows: int
    kept_rows: int
    """Rows that no later attempt has done again."""


def attempts(ws: Workspace, run: str, rank: int = 0) -> list[Attempt]:
    """All attempts of one rank's series, oldest first."""
    import pyarrow.compute as pc

    found = []
    limit: int | None = None
    for number, table in sorted(_attempt_tables(ws, run, rank).items(), reverse=True):
        begin = _from_step(table)
        kept = table.num_rows if limit is None else int(pc.sum(pc.less(table["step"], limit)).as_py() or 0)
        found.append(Attempt(number, begin, int(pc.max(table["step"]).as_py()), table.num_rows, kept))
        limit = begin if limit is None else min(limit, begin)
    return found[::-1]


def read_metrics(
    ws: Workspace, run: str, names: list[str] | None = None, rank: int = 0, attempt: int | None = None
) -> Columns:
    """Columns of one rank's series, sorted by step, each step once: the row of its last attempt.

    `attempt`: all rows of that attempt instead, also those that a later one has done again.

    Always `step` int64, `tokens` int64, `time_s` float64; then the asked (default: all) metrics as float64, NaN where a
    row does not have the metric. A run without metrics gives empty columns.
    """
    import pyarrow as pa

    table = _resolved(ws, run, rank) if attempt is None else _attempt_table(ws, run, rank, attempt)
    found = [name for name in table.column_names if not pa.types.is_list(table.schema.field(name).type)]
    wanted = list(_FIXED) + [n for n in (found if names is None else names) if n not in _FIXED]
    columns: Columns = {}
    for name in wanted:
        if name not in found:
            columns[name] = np.full(table.num_rows, np.nan)
        elif name in ("step", "tokens"):
            columns[name] = table[name].to_numpy().astype(np.int64)
        else:
            columns[name] = np.asarray(table[name].fill_null(np.nan).to_numpy(), dtype=np.float64)
    return columns


def read_vectors(
    ws: Workspace, run: str, name: str, rank: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Steps [n] and values [n, ...] of a vector metric; rows without it are left out."""
    table = _resolved(ws, run, rank)
    if name not in table.column_names:
        return np.zeros(0, np.int64), np.zeros((0,), np.float64)
    shape = _shapes(table.schema.metadata).get(name, (-1,))
    kept = table.select(["step", name]).filter(table[name].is_valid())
    steps = kept["step"].to_numpy().astype(np.int64)
    rows = [np.asarray(row, dtype=np.float64).reshape(shape) for row in kept[name].to_pylist()]
    return steps, np.stack(rows) if rows else np.zeros((0, *shape), np.float64)


def _attempt_tables(ws: Workspace, run: str, rank: int) -> dict[int, pa.Table]:
    """Each attempt's rows; the schema's metadata holds where it began and the shapes of its vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: dict[int, list[pa.Table]] = {}
    for segment in _segments(ws, run, rank):
        table = pq.read_table(io.BytesIO(ws.store.read(segment.key)), partitioning=None)
        parts.setdefault(segment.attempt, []).append(table)
    found = {}
    for number, tables in parts.items():
        shapes = {name: shape for table in tables for name, shape in _shapes(table.schema.metadata).items()}
        whole = pa.concat_tables([t.replace_schema_metadata(None) for t in tables], promote_options="default")
        found[number] = whole.replace_schema_metadata(_metadata(shapes, _from_step(tables[0])))
    return found


def _attempt_table(ws: Workspace, run: str, rank: int, attempt: int) -> pa.Table:
    tables = _attempt_tables(ws, run, rank)
    if attempt not in tables:
        raise InputError(
            f"run {run} has no attempt {attempt}",
            where=f"{layout.metrics(run)} rank {rank}",
            fix=f"attempts: {', '.join(map(str, sorted(tables))) or 'none'}",
        )
    return tables[attempt].sort_by("step")


def _resolved(ws: Workspace, run: str, rank: int) -> pa.Table:
    """All rows that count: walk attempts from the newest; each keeps its steps below where a later one began."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: list[pa.Table] = []
    shapes: dict[str, tuple[int, ...]] = {}
    limit: int | None = None
    for _, table in sorted(_attempt_tables(ws, run, rank).items(), reverse=True):
        shapes.update(_shapes(table.schema.metadata))
        begin = _from_step(table)
        kept.append(table if limit is None else table.filter(pc.less(table["step"], limit)))
        limit = begin if limit is None else min(limit, begin)
    if not kept:
        return pa.table({"step": pa.array([], pa.int64()), "tokens": pa.array([], pa.int64()),
                         "time_s": pa.array([], pa.float64())})  # fmt: skip
    whole = pa.concat_tables([t.replace_schema_metadata(None) for t in kept[::-1]], promote_options="default")
    return whole.sort_by("step").replace_schema_metadata(_metadata(shapes, limit or 0))


def _kept_time_s(ws: Workspace, run: str, rank: int, step: int) -> float:
    columns = read_metrics(ws, run, [], rank)
    before = columns["time_s"][columns["step"] < step]
    return float(before[-1]) if before.size else 0.0


def _encode(rows: list[_Row], from_step: int) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays: dict[str, pa.Array] = {
        "step": pa.array([row.step for row in rows], pa.int64()),
        "tokens": pa.array([row.tokens for row in rows], pa.int64()),
        "time_s": pa.array([row.time_s for row in rows], pa.float64()),
    }
    for name in sorted({name for row in rows for name in row.values}):
        arrays[name] = pa.array([row.values.get(name) for row in rows], pa.float64())
    shapes: dict[str, tuple[int, ...]] = {}
    for name in sorted({name for row in rows for name in row.vectors}):
        present = [row.vectors.get(name) for row in rows]
        shapes[name] = next(array.shape for array in present if array is not None)
        flat = [None if array is None else array.ravel().tolist() for array in present]
        arrays[name] = pa.array(flat, pa.list_(pa.float64()))
    table = pa.table(arrays).replace_schema_metadata(_metadata(shapes, from_step))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _metadata(shapes: Mapping[str, tuple[int, ...]], from_step: int) -> dict[bytes, bytes]:
    pairs = {f"shape:{name}": ",".join(map(str, shape)) for name, shape in shapes.items()}
    pairs |= {"schema": SCHEMA, "from_step": str(from_step)}
    return {key.encode(): value.encode() for key, value in pairs.items()}


def _from_step(table: pa.Table) -> int:
    """Where an attempt began; its first row's step where the segment does not say."""
    import pyarrow.compute as pc

    said = (table.schema.metadata or {}).get(b"from_step")
    return int(said) if said is not None else int(pc.min(table["step"]).as_py())


def _shapes(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for key, value in (metadata or {}).items():
        if key.startswith(b"shape:") and value:
            found[key[6:].decode()] = tuple(int(part) for part in value.decode().split(","))
    return found

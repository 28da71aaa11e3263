"""Metrics at rest: append-only, immutable Parquet segments, one series a rank, that survive a kill.

A process that writes is an *attempt*. Segments are `runs/<run>/metrics/rank-00000/attempt-0001-000000.parquet`. A
restart at step k is a new attempt whose first row has step k; the reader then drops every row with step >= k of the
earlier attempts. Rows that were not flushed when a process died belong to steps after the last checkpoint as long as
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

from expedition.errors import InputError
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
        self, ws: Workspace, run: str, rank: int = 0, *, flush_rows: int = 256, flush_interval_s: float = 5.0
    ) -> None:
        self._ws = ws
        self._run = run
        self._rank = rank
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
        if self._clock_zero is None:
            self._clock_zero = time.monotonic() - _kept_time_s(self._ws, self._run, self._rank, step)
        at_s = time.monotonic() - self._clock_zero if time_s is None else time_s
        arrays = {name: np.array(array, dtype=np.float64) for name, array in (vectors or {}).items()}
        numbers = {name: float(value) for name, value in values.items() if name not in _FIXED}
        self._rows.append(_Row(step, int(tokens), at_s, numbers, arrays))
        self._last_step = step
        if len(self._rows) >= self._flush_rows or time.monotonic() - self._flushed >= self._flush_interval_s:
            self.flush()
        return at_s

    def flush(self) -> None:
        """Commit the rows so far as one segment. Call it before a checkpoint is committed."""
        self._flushed = time.monotonic()
        if not self._rows:
            return
        payload = _encode(self._rows)
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


def read_metrics(ws: Workspace, run: str, names: list[str] | None = None, rank: int = 0) -> Columns:
    """Columns of one rank's series, sorted by step, each step once.

    Always `step` int64, `tokens` int64, `time_s` float64; then the asked (default: all) metrics as float64, NaN where a
    row does not have the metric. A run without metrics gives empty columns.
    """
    import pyarrow as pa

    table = _resolved(ws, run, rank)
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


def _resolved(ws: Workspace, run: str, rank: int) -> pa.Table:
    """All rows that count: walk attempts from the newest; each keeps its steps below the next attempt's first."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    attempts: dict[int, list[pa.Table]] = {}
    for segment in _segments(ws, run, rank):
        table = pq.read_table(io.BytesIO(ws.store.read(segment.key)), partitioning=None)
        attempts.setdefault(segment.attempt, []).append(table)
    kept: list[pa.Table] = []
    shapes: dict[str, tuple[int, ...]] = {}
    limit: int | None = None
    for attempt in sorted(attempts, reverse=True):
        tables = attempts[attempt]
        for table in tables:
            shapes.update(_shapes(table.schema.metadata))
        whole = pa.concat_tables([t.replace_schema_metadata(None) for t in tables], promote_options="default")
        if limit is not None:
            whole = whole.filter(pc.less(whole["step"], limit))
        first = int(pc.min(pa.concat_tables(tables, promote_options="default")["step"]).as_py())
        limit = first if limit is None else min(limit, first)
        kept.append(whole)
    if not kept:
        return pa.table({"step": pa.array([], pa.int64()), "tokens": pa.array([], pa.int64()),
                         "time_s": pa.array([], pa.float64())})  # fmt: skip
    table = pa.concat_tables(kept[::-1], promote_options="default").sort_by("step")
    return table.replace_schema_metadata(_shape_metadata(shapes))


def _kept_time_s(ws: Workspace, run: str, rank: int, step: int) -> float:
    columns = read_metrics(ws, run, [], rank)
    before = columns["time_s"][columns["step"] < step]
    return float(before[-1]) if before.size else 0.0


def _encode(rows: list[_Row]) -> bytes:
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
    table = pa.table(arrays).replace_schema_metadata(_shape_metadata(shapes))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _shape_metadata(shapes: Mapping[str, tuple[int, ...]]) -> dict[bytes, bytes]:
    pairs = {f"shape:{name}": ",".join(map(str, shape)) for name, shape in shapes.items()}
    return {key.encode(): value.encode() for key, value in {"schema": SCHEMA, **pairs}.items()}


def _shapes(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for key, value in (metadata or {}).items():
        if key.startswith(b"shape:") and value:
            found[key[6:].decode()] = tuple(int(part) for part in value.decode().split(","))
    return found

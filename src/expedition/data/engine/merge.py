"""External sort: sorted runs on disk into sorted chunks of bounded size, groups kept whole.

Every run is sorted by one key column. Chunks cover disjoint, rising ranges of the key; each is the concatenation of
one slice a run, stably sorted, so the order is (key, run, row in run) whatever the chunk size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expedition.data.engine.tables import read_table

_SAMPLES_PER_RUN = 256


def sort_by(table: pa.Table, key: str) -> pa.Table:
    """`table` stably sorted by the column `key`: equal keys keep their order."""
    order = pc.sort_indices(table, sort_keys=[(key, "ascending")])
    return table.take(order)


def sorted_chunks(runs: Sequence[Path], key: str, memory_bytes: int) -> Iterator[pa.Table]:
    """Merge sorted runs into sorted tables of about `memory_bytes` each; no key is spread over two of them.

    One key whose rows alone exceed `memory_bytes` still comes as one table. Keys are integers or strings, never null.
    """
    tables = [read_table(path) for path in runs]
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return
    total = sum(table.nbytes for table in tables)
    if total <= memory_bytes:
        yield sort_by(pa.concat_tables(tables), key)
        return
    keys = [_numpy(table.column(key)) for table in tables]
    starts = [0] * len(tables)
    for pivot in [*_pivots(keys, -(-total // memory_bytes)), None]:
        ends = [len(column) if pivot is None else int(np.searchsorted(column, pivot, side="right")) for column in keys]
        slices = [table.slice(a, b - a) for table, a, b in zip(tables, starts, ends, strict=True) if b > a]
        starts = ends
        if slices:
            yield sort_by(pa.concat_tables(slices), key)


def groups(chunk: pa.Table, key: str) -> Iterator[pa.Table]:
    """The runs of equal keys of a sorted table, as slices that share its memory."""
    column = _numpy(chunk.column(key))
    if not len(column):
        return
    edges = np.flatnonzero(column[1:] != column[:-1]) + 1
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(column)], strict=True):
        yield chunk.slice(start, end - start)


def _numpy(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = column.to_numpy()
    return values


def _pivots(keys: list[np.ndarray[Any, Any]], pieces: int) -> list[Any]:
    """Rising, distinct keys that cut the rows into about `pieces` equal parts, judged on samples of every run."""
    sampled = [column[:: max(1, len(column) // _SAMPLES_PER_RUN)] for column in keys]
    pool = np.sort(np.concatenate(sampled))
    cuts = [pool[index * len(pool) // pieces] for index in range(1, pieces)]
    return sorted(set(cuts))

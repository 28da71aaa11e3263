"""Arrow IPC files of intermediate work: written a batch at a time, read through a memory map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

BATCH_ROWS = 1024


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write `batches` to an uncompressed Arrow IPC file; returns the number of rows."""
    rows = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def write_table(path: Path, table: pa.Table) -> int:
    """Write a table in batches of at most `BATCH_ROWS` rows; returns the number of rows."""
    return write_batches(path, table.schema, table.to_batches(max_chunksize=BATCH_ROWS))


def read_table(path: Path) -> pa.Table:
    """The table of an Arrow IPC file, memory-mapped: columns are paged in when they are touched."""
    with pa.memory_map(str(path), "r") as source:
        return pa.ipc.open_file(source).read_all()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file, one at a time, memory-mapped."""
    with pa.memory_map(str(path), "r") as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)

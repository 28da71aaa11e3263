"""Arrow IPC files of intermediate work: written a batch at a time, read whole through a memory map or streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

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


def write_table(path: Path, table: pa.Table, batch_rows: int = BATCH_ROWS) -> int:
    """Write a table in batches of at most `batch_rows` rows; returns the number of rows."""
    return write_batches(path, table.schema, table.to_batches(max_chunksize=batch_rows))


class TableWriter:
    """Rows as dicts into an Arrow IPC file, `BATCH_ROWS` at a time: as many rows as come, in bounded memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._schema = schema
        self._waiting: list[dict[str, Any]] = []
        self.rows = 0
        """Rows added so far."""

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows of the schema."""
        for row in rows:
            self._waiting.append(row)
            self.rows += 1
            if len(self._waiting) >= BATCH_ROWS:
                self._flush()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting, schema=self._schema))
            self._waiting.clear()


def read_table(path: Path) -> pa.Table:
    """The table of an Arrow IPC file, memory-mapped: columns are paged in when they are touched."""
    with pa.memory_map(str(path), "r") as source:
        return pa.ipc.open_file(source).read_all()


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file, one at a time, in memory of their own; with `columns` only those are read.

    Not through a map: pages of a mapped file count as resident, and a scan would hold as many as the file has.
    """
    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source)
        if columns is not None:
            fields = [reader.schema.get_field_index(name) for name in columns]
            reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)

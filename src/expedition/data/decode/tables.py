"""CSV, TSV and Parquet rows to documents, where a column holds text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.decode.charset import readable_text
from expedition.data.decode.jsonl import TEXT_FIELDS, row_piece
from expedition.data.decode.piece import Decoded, Fault, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits

_FIELD_CHARACTERS = 1 << 20
_OPEN_QUOTE_LINES = 1000


def table_rows(data: bytes) -> Iterator[tuple[int, dict[str, str] | Fault]]:
    """Row number (from 1, the header not counted) and values by column, or the fault of that row.

    The delimiter is the one of comma, tab, semicolon and bar that is most often in the first line. Raises Refused.
    """
    text, _ = readable_text(data)
    first = text.split("\n", 1)[0]
    delimiter = max(",\t;|", key=first.count)
    csv.field_size_limit(_FIELD_CHARACTERS)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    header = next(reader, None)
    if not header:
        raise Refused(Reason.EMPTY, "a table without a header")
    number = 0
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, Fault(Reason.BROKEN_ROW, str(error)[:120], f"row {number}")
            return
        if not row:
            continue
        if len(row) != len(header):
            detail = f"{len(row)} fields for {len(header)} columns"
            yield number, Fault(Reason.BROKEN_ROW, detail, f"row {number}")
            continue
        yield number, dict(zip(header, row, strict=True))


def table_pieces(data: bytes, limits: Limits) -> Decoded:
    """Documents of a table; rows without text are faults."""
    found = False
    for number, row in table_rows(data):
        if isinstance(row, Fault):
            yield row
            continue
        try:
            yield row_piece(row, limits, f"row {number}")
            found = True
        except Refused as refused:
            if refused.reason is Reason.MISSING_FIELD and not found:
                yield Fault(Reason.MISSING_FIELD, f"no text column among {', '.join(list(row)[:8])}", f"row {number}")
            else:
                yield Fault(refused.reason, refused.detail, f"row {number}")


def parquet_pieces(source: Path | BinaryIO, limits: Limits, groups: tuple[int, int] | None = None) -> Decoded:
    """Documents of a Parquet file's rows; `groups` limits it to row groups [start, end). Raises Refused(CORRUPT)."""
    try:
        table = pq.ParquetFile(source, page_checksum_verification=True)
        start, end = groups or (0, table.num_row_groups)
        columns = [field.name for field in table.schema_arrow if _useful(field)]
        for group in range(start, min(end, table.num_row_groups)):
            if table.metadata.row_group(group).total_byte_size > limits.unpacked_bytes * 4:
                yield Fault(Reason.UNPACKED_TOO_LARGE, "row group", f"row group {group}")
                continue
            yield from _group_pieces(table, group, columns, limits)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused(Reason.CORRUPT, str(error).split("\n")[0][:160]) from None


def _group_pieces(table: pq.ParquetFile, group: int, columns: list[str], limits: Limits) -> Decoded:
    row = 0
    for batch in table.iter_batches(batch_size=256, row_groups=[group], columns=columns):
        for values in batch.to_pylist():
            inner = f"row group {group} row {row}"
            row += 1
            try:
                yield row_piece({key: value for key, value in values.items() if value is not None}, limits, inner)
            except Refused as refused:
                yield Fault(refused.reason, refused.detail, inner)


def _useful(field: pa.Field[Any]) -> bool:
    scalar = pa.types.is_string(field.type) or pa.types.is_large_string(field.type) or pa.types.is_integer(field.type)
    return scalar or field.name in (*TEXT_FIELDS, "messages", "conversations", "conversation")

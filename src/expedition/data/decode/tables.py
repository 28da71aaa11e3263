"""CSV and TSV rows to documents, where a column holds text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from expedition.data.decode.charset import readable_text
from expedition.data.decode.jsonl import row_piece
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

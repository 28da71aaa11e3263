"""Parquet rows to documents: texts, dialogues, and pictures, sounds or clips inside the rows with their captions.

A medium is a column of bytes, or of {bytes, path} as the `datasets` library writes pictures and sounds. A row group may
be of any size: it is read in small batches, with pages as the unit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.decode.companion import CAPTION_FIELDS, Companion, companion_of_row
from expedition.data.decode.jsonl import TEXT_FIELDS, AsPiece, row_piece
from expedition.data.decode.piece import Decoded, Fault, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff

DecodeMedium = Callable[[bytes, Companion, str], Decoded]
"""Bytes of a medium, what is known about it, and where it was found."""

_NESTED_TEXTS = frozenset({*TEXT_FIELDS, *CAPTION_FIELDS, "messages", "conversations", "conversation"})
_MEDIA = frozenset({Format.IMAGE, Format.AUDIO, Format.VIDEO})
_ROWS = 256
_BATCH_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20
_MOSTLY_INDICES = 64
"""A column chunk with a dictionary and fewer bytes a value than this holds indices rather than values."""
_MAX_RATIO = 200
"""A large column chunk that unpacks to more than this many times its size is a bomb."""


def parquet_pieces(
    source: Path | BinaryIO,
    limits: Limits,
    groups: tuple[int, int] | None = None,
    decode_medium: DecodeMedium | None = None,
    as_piece: AsPiece | None = None,
) -> Decoded:
    """Documents of a Parquet file's rows; `groups` limits it to row groups [start, end).

    Without `decode_medium` columns of media are passed over. `as_piece` makes a document of a row that has none (None:
    `row_piece`); with it a column of media is refused. Raises Refused(CORRUPT | UNSUPPORTED_FORMAT).
    """
    try:
        table = pq.ParquetFile(source, page_checksum_verification=True, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        start, end = groups or (0, table.num_row_groups)
        held = _media_names(table.schema_arrow)
        if as_piece is not None and held:
            raise Refused(Reason.UNSUPPORTED_FORMAT, f"column {held[0]}: rows with media are read from JSON lines")
        media = media_columns(table.schema_arrow) if decode_medium is not None else ()
        columns = [field.name for field in table.schema_arrow if _is_text(field) or field.name in media]
        for group in range(start, min(end, table.num_row_groups)):
            problem = _too_large(table.metadata.row_group(group), columns, limits)
            if problem is not None:
                yield Fault(Reason.UNPACKED_TOO_LARGE, problem, f"row group {group}")
                continue
            yield from _group_pieces(table, group, columns, limits, (media, decode_medium, as_piece or row_piece))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused(Reason.CORRUPT, str(error).split("\n")[0][:160]) from None


def media_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Columns that hold whole files: bytes, or {bytes, path}."""
    return tuple(field.name for field in schema if _is_binary(field.type) or _is_file(field.type))


def _media_names(schema: pa.Schema) -> tuple[str, ...]:
    """Columns of media, lists of them included."""
    inner = [(field.name, field.type.value_type) for field in schema if pa.types.is_list(field.type)]
    listed = tuple(name for name, kind in inner if _is_binary(kind) or _is_file(kind))
    return (*media_columns(schema), *listed)


def _group_pieces(
    table: pq.ParquetFile,
    group: int,
    columns: list[str],
    limits: Limits,
    media: tuple[tuple[str, ...], DecodeMedium | None, AsPiece],
) -> Decoded:
    names, decode_medium, as_piece = media
    row = unpacked = 0
    most = max(limits.unpacked_bytes, _MAX_RATIO * _packed_bytes(table.metadata.row_group(group)))
    for batch in table.iter_batches(
        batch_size=_batch_rows(table.metadata.row_group(group)), row_groups=[group], columns=columns
    ):
        for values in batch.to_pylist():
            inner = f"row group {group} row {row}"
            row += 1
            unpacked += sum(len(value) for value in values.values() if isinstance(value, str))
            if unpacked > most:
                yield Fault(Reason.UNPACKED_TOO_LARGE, f"rows of more than {most} characters", inner)
                return
            told = {key: value for key, value in values.items() if value is not None}
            files = {name: found for name in names if (found := _file(told.pop(name, None), name))}
            if files and decode_medium is not None:
                for name, data in files.items():
                    yield from _medium(data, told, f"{inner} {name}", limits, decode_medium)
                continue
            try:
                yield as_piece(told, limits, inner)
            except Refused as refused:
                yield Fault(refused.reason, refused.detail, inner)


def _medium(data: bytes, row: Mapping[str, Any], inner: str, limits: Limits, decode_medium: DecodeMedium) -> Decoded:
    if len(data) > limits.unpacked_bytes:
        yield Fault(Reason.TOO_LARGE, f"{len(data)} bytes, limit {limits.unpacked_bytes}", inner)
        return
    lower = {name.lower(): value for name, value in row.items()}
    yield from decode_medium(data, companion_of_row(lower), inner)


def _too_large(group: Any, columns: list[str], limits: Limits) -> str | None:
    """Why a row group cannot be read within bounds, or None."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema.split(".")[0] not in columns:
            continue
        unpacked, packed = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
        if unpacked > limits.archive_bytes:
            return f"column {chunk.path_in_schema}: {unpacked} bytes, limit {limits.archive_bytes}"
        if unpacked > limits.unpacked_bytes and unpacked > packed * _MAX_RATIO:
            return f"column {chunk.path_in_schema}: {packed} bytes unpack to {unpacked}"
    return None


def _packed_bytes(group: Any) -> int:
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))


def _batch_rows(group: Any) -> int:
    """Rows of a batch, so that it is some `_BATCH_BYTES` on average."""
    row_bytes = group.total_byte_size / max(1, group.num_rows)
    # A dictionary may hold one long value for every row: no value is longer than its column chunk.
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.has_dictionary_page and chunk.total_uncompressed_size < _MOSTLY_INDICES * chunk.num_values:
            row_bytes = max(row_bytes, chunk.total_uncompressed_size)
    return max(1, min(_ROWS, int(_BATCH_BYTES / max(1.0, row_bytes))))


def _file(value: Any, name: str) -> bytes | None:
    """A medium's bytes. Bytes of a plain column may be anything (a hash, a vector): they count if they are a medium."""
    if isinstance(value, Mapping):
        found = value.get("bytes")
        return found if isinstance(found, bytes) and found else None
    is_medium = isinstance(value, bytes) and sniff(value[:HEAD_BYTES], name) in _MEDIA
    return value if is_medium else None


def _is_text(field: pa.Field[Any]) -> bool:
    kind = field.type
    scalar = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
    number = pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    words = pa.types.is_dictionary(kind) and _is_words(kind.value_type)
    return bool(scalar or number or words) or field.name.lower() in _NESTED_TEXTS


def _is_words(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_file(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    return any(
        kind.field(number).name == "bytes" and _is_binary(kind.field(number).type) for number in range(kind.num_fields)
    )

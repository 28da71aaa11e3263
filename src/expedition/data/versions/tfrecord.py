"""TFRecord files of tf.train.Example, written and read without TensorFlow or protobuf.

A record is: length (uint64 LE), masked CRC-32C of those 8 bytes, payload, masked CRC-32C of the payload. The mask is
((crc >> 15 | crc << 17) + 0xa282ead8) mod 2**32. Sources: tensorflow/core/lib/io/record_writer.h and
tensorflow/core/example/{example,feature}.proto. An Example is a map from names to lists of bytes, float32 or int64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError, MissingExtra

Feature = Sequence[bytes] | npt.NDArray[np.int64] | npt.NDArray[np.float32]
"""One feature: a list of bytes, or an array of int64 or float32."""

MAX_RECORD_BYTES = 2 << 30
"""A protobuf message is shorter than 2 GiB; a longer record is damage, not data."""
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_BYTES, _FLOATS, _INTS = 1, 2, 3


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Append one record; returns its bytes. Raises ValueError for one that no reader would take."""
    if len(payload) >= MAX_RECORD_BYTES:
        raise ValueError(f"a record has less than {MAX_RECORD_BYTES} bytes, not {len(payload)}")
    length = _LENGTH.pack(len(payload))
    file.write(length + _CRC.pack(masked_crc(length)))
    file.write(payload)
    file.write(_CRC.pack(masked_crc(payload)))
    return len(payload) + 16


def read_records(path: Path) -> Iterator[bytes]:
    """The payloads of a file, one in memory at a time. Raises InputError that names record and byte offset."""
    with path.open("rb") as file:
        number, offset = 0, 0
        while head := file.read(12):
            where = f"{path} record {number} at byte {offset}"
            if len(head) < 12:
                raise InputError("the file ends within a record's length", where=where, fix="export it again")
            if masked_crc(head[:8]) != _CRC.unpack(head[8:])[0]:
                raise InputError("the CRC of the record's length is wrong", where=where, fix="export it again")
            size = _LENGTH.unpack(head[:8])[0]
            if size >= MAX_RECORD_BYTES:
                raise InputError(f"a record of {size} bytes is none", where=where, fix="export it again")
            body = file.read(size + 4)
            if len(body) < size + 4:
                raise InputError("the file ends within a record", where=where, fix="export it again")
            if masked_crc(body[:size]) != _CRC.unpack(body[size:])[0]:
                raise InputError("the CRC of the record is wrong", where=where, fix="export it again")
            yield body[:size]
            number, offset = number + 1, offset + size + 16


def masked_crc(data: bytes) -> int:
    """Masked CRC-32C. Raises MissingExtra without google-crc32c."""
    try:
        import google_crc32c
    except ImportError as error:
        raise MissingExtra(
            "TFRecord needs google-crc32c", fix="pip install 'expedition-programme[tfrecord]'"
        ) from error
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """A tf.train.Example with its features in the order of their names: equal features give equal bytes."""
    entries = []
    for name in sorted(features):
        entry = _field(1, name.encode()) + _field(2, _feature(features[name]))
        entries.append(_field(1, entry))
    return _field(1, b"".join(entries))


def decode_example(payload: bytes) -> dict[str, Feature]:
    """The features of a tf.train.Example. Raises InputError for what is none."""
    result: dict[str, Feature] = {}
    try:
        for features in _fields(payload, 1):
            for entry in _fields(features, 1):
                name = b"".join(_fields(entry, 1)).decode()
                result[name] = _decoded_feature(b"".join(_fields(entry, 2)))
    except (IndexError, ValueError, struct.error) as error:
        raise InputError(f"not a tf.train.Example: {error}") from error
    return result


def varints(values: npt.NDArray[np.int64]) -> bytes:
    """Protobuf varints of an array, one after the other; negative numbers take ten bytes, as int64 in protobuf."""
    unsigned = np.ascontiguousarray(values, np.int64).view(np.uint64)
    if not len(unsigned):
        return b""
    groups = np.empty((len(unsigned), 10), np.uint8)
    used = np.ones(len(unsigned), np.int64)
    for place in range(10):
        part = unsigned >> np.uint64(7 * place)
        groups[:, place] = (part & np.uint64(0x7F)).astype(np.uint8)
        used = np.where(part > 0, place + 1, used)
    places = np.arange(10)
    groups |= np.where(places < used[:, None] - 1, 0x80, 0).astype(np.uint8)
    return groups[places < used[:, None]].tobytes()


def read_varints(data: bytes) -> npt.NDArray[np.int64]:
    """The numbers in packed varints. Raises ValueError if the last one is cut off or one is too long."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise ValueError("a varint is cut off")
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    place = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    if len(place) and place.max() > 9:
        raise ValueError("a varint has more than ten bytes")
    shifted = (raw & np.uint8(0x7F)).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(shifted, starts).view(np.int64) if len(starts) else np.zeros(0, np.int64)


def _feature(value: Feature) -> bytes:
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:
            packed = _field(1, np.ascontiguousarray(value, "<f4").tobytes()) if len(value) else b""
            return _field(_FLOATS, packed)
        return _field(_INTS, _field(1, varints(value.astype(np.int64))) if len(value) else b"")
    return _field(_BYTES, b"".join(_field(1, item) for item in value))


def _decoded_feature(data: bytes) -> Feature:
    for kind in (_BYTES, _FLOATS, _INTS):
        for values in _fields(data, kind):
            if kind == _BYTES:
                return list(_fields(values, 1))
            packed = b"".join(_fields(values, 1))
            return np.frombuffer(packed, "<f4").astype(np.float32) if kind == _FLOATS else read_varints(packed)
    return []


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: bytes, wanted: int) -> Iterator[Any]:
    """The contents of the length-delimited fields with a number; any other kind of field is not in an Example."""
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        if tag & 7 != 2:
            raise ValueError(f"a field of wire type {tag & 7} at byte {place}")
        size, place = _read_varint(data, place)
        if place + size > len(data):
            raise ValueError(f"a field ends outside at byte {place}")
        if tag >> 3 == wanted:
            yield data[place : place + size]
        place += size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError(f"a varint has more than ten bytes at byte {place}")

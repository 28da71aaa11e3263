"""A large file in parts: where a part may begin so that parts tile the file, whoever reads which."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO, Final

_WARC: Final = re.compile(rb"\r?\n\r?\n(?=WARC/1\.[01]\r?\n)")
_ARC_LINE: Final = re.compile(rb"\n(?=\S{1,4000} (?:\d{1,3}\.){3}\d{1,3} \d{14} \S{1,80} \d{1,12}\n)")
_MEMBER: Final = b"\x1f\x8b\x08"
_STEP = 1 << 20
_OVERLAP = 8192


def part_of(path: Path, form: str, start: int, end: int) -> BinaryIO:
    """The records of `path` that begin in [start, end) bytes, as a stream. `form` is lines, warc, arc, or gzip.

    Parts with adjoining bounds hold each record once. A gzip file that is one member lies whole in the first part.
    """
    return io.BufferedReader(_Slice(path, *part_bounds(path, form, start, end)))


def part_bounds(path: Path, form: str, start: int, end: int) -> tuple[int, int]:
    """The bytes [first, last) of the file that `part_of` reads."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = 0 if start <= 0 else _next(stream, form, start, size)
        last = size if end >= size else _next(stream, form, end, size)
    return first, max(first, last)


def divides(path: Path, form: str, within: int) -> bool:
    """Whether a second record begins in the first `within` bytes.

    Where none does (a gzip file of one member), every part would be searched to the file's end for a place to begin.
    """
    with path.open("rb") as stream:
        limit = min(within, path.stat().st_size)
        return _next(stream, form, 1, limit) < limit


def _next(stream: BinaryIO, form: str, start: int, size: int) -> int:
    """The first place at or after `start` where a record begins; the file's end where none does."""
    at = max(0, start - 4)
    while at < size:
        stream.seek(at)
        block = stream.read(_STEP + _OVERLAP)
        found = _in_block(block, form, start - at, stream, at)
        if found is not None:
            return at + found
        if at + len(block) >= size:
            return size
        at += _STEP
    return size


def _in_block(block: bytes, form: str, least: int, stream: BinaryIO, at: int) -> int | None:
    if form == "lines":
        newline = block.find(b"\n", max(0, least - 1))
        return None if newline < 0 else newline + 1
    if form == "gzip":
        place = block.find(_MEMBER, max(0, least))
        while place >= 0:
            if _begins_record(block[place : place + _OVERLAP]):
                return place
            place = block.find(_MEMBER, place + 1)
        return None
    pattern = _WARC if form == "warc" else _ARC_LINE
    return next((found.end() for found in pattern.finditer(block) if found.end() >= least), None)


def _begins_record(block: bytes) -> bool:
    """Whether a gzip member here unpacks to the start of a record (the three magic bytes occur by chance too)."""
    try:
        head = zlib.decompressobj(31).decompress(block, 512)
    except zlib.error:
        return False
    return head.startswith(b"WARC/") or re.match(rb"\S{1,4000} \d{1,3}\.\d", head) is not None


class _Slice(io.RawIOBase):
    """Bytes [first, last) of a file."""

    def __init__(self, path: Path, first: int, last: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._file.seek(first)
        self._left = last - first

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with at most what is left."""
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

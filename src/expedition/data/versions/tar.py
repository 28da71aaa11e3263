"""A deterministic ustar file: the same members give the same bytes, and every payload's offset is known.

Plain POSIX ustar with fixed owner, mode and time, so that `tar`, `tarfile` and `webdataset` read it and a content hash
means something. Names are ASCII and shorter than 100 bytes; a member is smaller than 8 GiB.
"""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

BLOCK = 512
_RECORD = 20 * BLOCK
_MODE = b"0000444\0"
_OWNER = b"0000000\0"
_TIME = b"00000000000\0"
_MAX_SIZE = 8**11


class TarWriter:
    """Appends members to an open binary file; use as a context manager, which writes the end of the archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0
        """Bytes written so far."""

    def add(self, name: str, payload: bytes) -> int:
        """Write one member and return the offset of its payload. Raises ValueError for a name or size ustar lacks."""
        self._file.write(header(name, len(payload)))
        start = self.offset + BLOCK
        padding = -len(payload) % BLOCK
        self._file.write(payload)
        self._file.write(b"\0" * padding)
        self.offset = start + len(payload) + padding
        return start

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            end = self.offset + 2 * BLOCK
            self._file.write(b"\0" * (end - self.offset + -end % _RECORD))
            self.offset = end + -end % _RECORD


def header(name: str, size: int) -> bytes:
    """The 512-byte header of a plain file: mode 0444, owner 0, time 0."""
    encoded = name.encode("ascii")
    if not 0 < len(encoded) < 100:
        raise ValueError(f"a member's name has 1 to 99 bytes: {name!r}")
    if size >= _MAX_SIZE:
        raise ValueError(f"{name}: {size} bytes are more than ustar holds")
    before = encoded.ljust(100, b"\0") + _MODE + _OWNER + _OWNER + b"%011o\0" % size + _TIME
    after = b"0" + b"\0" * 100 + b"ustar\x0000" + b"\0" * 64 + b"0000000\x000000000\0" + b"\0" * 167
    checksum = sum(before) + 8 * ord(" ") + sum(after)
    return before + b"%06o\0 " % checksum + after

"""Compressed streams and archives, unpacked in memory within limits: nothing is ever written, no name is trusted."""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import zstandard
from isal import isal_zlib

from expedition.data.decode.piece import Fault, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import Format

_CHUNK = 1 << 18
_INPUT = 1 << 16
_LZMA_MEMORY = 128 << 20
_DAMAGED = cast(type[Exception], isal_zlib.error)
_HEADER_BYTES = 1 << 20
"""Longest name or set of pax records of one tar member."""
_ZIP_END_BYTES = (1 << 16) + 22 + 20 + 56
"""The end of a zip's directory lies within so many last bytes."""
_ABOUT_NEXT = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)


class TrailingBytes(ValueError):
    """A gzip stream is whole, and bytes that are none of it follow."""


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file of an archive."""

    name: str
    data: bytes


def unpack_stream(stream: BinaryIO, form: Format, limits: Limits) -> tuple[bytes, tuple[Repair, ...]]:
    """The bytes of a gzip, bzip2, xz or zstandard stream, and a repair where it was cut off.

    Raises Refused: UNPACKED_TOO_LARGE, CHECKSUM, CORRUPT, TRUNCATED where nothing came out.
    """
    parts: list[bytes] = []
    total = 0
    repairs: tuple[Repair, ...] = ()
    try:
        for part in _unpacked(stream, form):
            total += len(part)
            if total > limits.unpacked_bytes:
                raise Refused(Reason.UNPACKED_TOO_LARGE, f"more than {limits.unpacked_bytes} bytes unpacked")
            parts.append(part)
    except TrailingBytes:
        repairs = (Repair(Reason.CORRUPT, 1, f"bytes after the end of the stream, left out, after {total} bytes"),)
    except EOFError:
        if not total:
            raise Refused(Reason.TRUNCATED, "the stream ends at once") from None
        repairs = (Repair(Reason.TRUNCATED, 1, f"stream cut off after {total} bytes"),)
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError) as error:
        text = str(error)
        checksum = "incorrect data check" in text or "incorrect length check" in text or "checksum" in text.lower()
        raise Refused(Reason.CHECKSUM if checksum else Reason.CORRUPT, text[:120]) from None
    return b"".join(parts), repairs


def open_stream(stream: BinaryIO, form: Format) -> BinaryIO:
    """A compressed stream as a readable file; errors come out of `read` as in `unpack_stream`'s causes."""
    return io.BufferedReader(_Unpacking(_unpacked(stream, form)), _CHUNK)


def stream_head(stream: BinaryIO, form: Format, count: int) -> bytes:
    """At most `count` first bytes of a compressed stream; what a broken stream gives before it breaks."""
    parts: list[bytes] = []
    try:
        for part in _unpacked(stream, form, count):
            parts.append(part)
            if sum(map(len, parts)) >= count:
                break
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError):
        pass
    return b"".join(parts)[:count]


def tar_members(stream: BinaryIO, limits: Limits) -> Iterator[Member | Fault]:
    """Plain files of a tar, read forwards once. Links, devices, unsafe and double names are faults, never followed."""
    seen: set[str] = set()
    links: set[str] = set()
    total = count = 0
    counted: Any = _Counted(stream)
    try:
        with tarfile.open(fileobj=counted, mode="r|", errorlevel=0, tarinfo=_BoundedInfo) as archive:
            for info in archive:
                count += 1
                _check_number(count, limits)
                if info.isdir():
                    continue
                fault = _name_fault(info.name, seen, links) or _tar_fault(info, links, limits)
                if fault is not None:
                    yield fault
                    continue
                seen.add(info.name)
                opened = archive.extractfile(info)
                data = opened.read(info.size) if opened is not None else b""
                if len(data) < info.size:
                    yield Fault(Reason.TRUNCATED, f"{len(data)} of {info.size} bytes", info.name)
                    return
                total += len(data)
                _check_total(total, limits)
                yield Member(info.name, data)
        if counted.cut_off:
            yield Fault(Reason.TRUNCATED, f"the archive breaks off after {count} members", "end")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:
        reason = Reason.TRUNCATED if "unexpected end" in str(error) or isinstance(error, EOFError) else Reason.CORRUPT
        yield Fault(reason, f"after {count} members: {error}"[:120], f"member {count}")
    except RecursionError:
        yield Fault(Reason.CORRUPT, f"after {count} members: headers about headers without end", f"member {count}")


class _BoundedInfo(tarfile.TarInfo):
    """A header that is read within bounds: `tarfile` holds long names, pax records and maps of holes in memory, whatever
    length the archive says that they have. `_proc_member` is where its source says that subclasses come in."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _ABOUT_NEXT and self.size > _HEADER_BYTES:
            raise Refused(Reason.UNPACKED_TOO_LARGE, f"a member's header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Pass over the map of holes: sparse members are never read."""
        _, more, real_size = self._sparse_structs  # type: ignore[attr-defined]
        stream: Any = archive.fileobj
        while more:
            block = stream.read(tarfile.BLOCKSIZE)
            if len(block) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("unexpected end of data")
            more = bool(block[504])
        self.sparse = []  # type: ignore[assignment]
        self.offset_data = stream.tell()
        archive.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]
        self.size = real_size
        return self


def zip_members(source: Path | bytes, limits: Limits) -> Iterator[Member | Fault]:
    """Plain files of a zip; sizes are checked as declared and again as read."""
    seen: set[str] = set()
    total = 0
    try:
        _check_directory(source, limits)
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as archive:
            infos = archive.infolist()
            _check_number(len(infos), limits)
            for info in infos:
                if info.is_dir():
                    continue
                fault = _name_fault(info.filename, seen, set()) or _zip_fault(info, limits)
                if fault is not None:
                    yield fault
                    continue
                seen.add(info.filename)
                found = _zip_member(archive, info, limits)
                if isinstance(found, Member):
                    total += len(found.data)
                    _check_total(total, limits)
                yield found
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise Refused(Reason.CORRUPT, str(error)[:120]) from None


def _check_directory(source: Path | bytes, limits: Limits) -> None:
    """Refuse a zip by the size of its directory, which `zipfile` reads whole and makes an object an entry of."""
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _ZIP_END_BYTES))
        tail = stream.read(_ZIP_END_BYTES)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + 22:
            return
        directory = int.from_bytes(tail[at + 12 : at + 16], "little")
        wide = tail.rfind(b"PK\6\6", 0, at)
        if directory == 0xFFFFFFFF and 0 <= wide <= len(tail) - 56:
            directory = int.from_bytes(tail[wide + 40 : wide + 48], "little")
        end = size - len(tail) + (wide if wide >= 0 and directory > 0xFFFFFFFF else at)
        stream.seek(max(0, end - directory))
        found, rest, left = 0, b"", min(directory, end)
        while left > 0 and (piece := stream.read(min(_CHUNK, left))):
            found += (rest + piece).count(b"PK\1\2")
            rest, left = piece[-3:], left - len(piece)
            _check_number(found, limits)


def unsafe_name(name: str) -> bool:
    """Whether a member's name leads outside the folder that it would be unpacked into, on any system."""
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    return path.is_absolute() or ".." in path.parts or plain[1:2] == ":" or "\x00" in plain or not plain.strip()


def _name_fault(name: str, seen: set[str], links: set[str]) -> Fault | None:
    if unsafe_name(name):
        return Fault(Reason.UNSAFE_PATH, "leads outside the archive's folder", name[:200])
    if any(str(parent) in links for parent in PurePosixPath(name).parents):
        return Fault(Reason.UNSAFE_PATH, "leads through a link", name[:200])
    if name in seen:
        return Fault(Reason.DUPLICATE_NAME, "the first is kept", name[:200])
    return None


def _tar_fault(info: tarfile.TarInfo, links: set[str], limits: Limits) -> Fault | None:
    if not info.isreg() or info.issparse():
        if info.issym() or info.islnk():
            links.add(info.name.rstrip("/"))
        return Fault(Reason.NOT_A_PLAIN_FILE, _TAR_TYPES.get(info.type, "special file"), info.name[:200])
    if info.size > limits.unpacked_bytes:
        return Fault(Reason.UNPACKED_TOO_LARGE, f"{info.size} bytes", info.name[:200])
    return None


_TAR_TYPES = {tarfile.SYMTYPE: "symbolic link", tarfile.LNKTYPE: "hard link", tarfile.FIFOTYPE: "pipe"}


def _zip_fault(info: zipfile.ZipInfo, limits: Limits) -> Fault | None:
    name = info.filename[:200]
    if info.flag_bits & 1:
        return Fault(Reason.ENCRYPTED, "", name)
    if (info.external_attr >> 28) == 0xA:
        return Fault(Reason.NOT_A_PLAIN_FILE, "symbolic link", name)
    if info.file_size > limits.unpacked_bytes:
        return Fault(Reason.UNPACKED_TOO_LARGE, f"{info.file_size} bytes from {info.compress_size}", name)
    return None


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits) -> Member | Fault:
    try:
        with archive.open(info) as opened:
            data = opened.read(limits.unpacked_bytes + 1)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        reason = Reason.CHECKSUM if "CRC" in str(error) else Reason.CORRUPT
        return Fault(reason, str(error)[:120], info.filename[:200])
    if len(data) > limits.unpacked_bytes:
        return Fault(Reason.UNPACKED_TOO_LARGE, "more than declared", info.filename[:200])
    return Member(info.filename, data)


def _check_number(count: int, limits: Limits) -> None:
    if count > limits.archive_members:
        raise Refused(Reason.UNPACKED_TOO_LARGE, f"more than {limits.archive_members} members")


def _check_total(total: int, limits: Limits) -> None:
    if total > limits.archive_bytes:
        raise Refused(Reason.UNPACKED_TOO_LARGE, f"more than {limits.archive_bytes} bytes in all members")


def _unpacked(stream: BinaryIO, form: Format, step: int = _CHUNK) -> Iterator[bytes]:
    if form is Format.GZIP:
        yield from _gunzipped(stream, step)
    elif form is Format.ZSTANDARD:
        yield from _zstandard(stream, step)
    else:
        yield from _blocks(stream, form, step)


def _gunzipped(stream: BinaryIO, step: int) -> Iterator[bytes]:
    """All members of a gzip stream in bounded steps; zero padding after the last is allowed.

    Raises EOFError if cut, zlib.error if damaged.
    """
    waiting = stream.read(_INPUT)
    while waiting:
        member = isal_zlib.decompressobj(wbits=31)
        while not member.eof:
            if not waiting:
                raise EOFError
            try:
                out = member.decompress(waiting, step)
            except _DAMAGED as error:
                raise zlib.error(str(error)) from None
            waiting = member.unconsumed_tail
            if out:
                yield out
            if not waiting and not member.eof:
                waiting = stream.read(_INPUT)
        waiting = member.unused_data or stream.read(_INPUT)
        if not waiting.strip(b"\x00"):
            return
        if len(waiting) > 1 and not waiting.startswith(b"\x1f\x8b"):
            raise TrailingBytes


def _zstandard(stream: BinaryIO, step: int) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream, read_across_frames=True)
    while part := reader.read(step):
        yield part


def _blocks(stream: BinaryIO, form: Format, step: int) -> Iterator[bytes]:
    waiting = stream.read(_INPUT)
    while waiting:
        unpacker = bz2.BZ2Decompressor() if form is Format.BZIP2 else lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        while not unpacker.eof:
            if unpacker.needs_input and not waiting:
                raise EOFError
            out = unpacker.decompress(waiting, step)
            waiting = b"" if not unpacker.eof else waiting
            if out:
                yield out
            if unpacker.needs_input and not unpacker.eof:
                waiting = stream.read(_INPUT)
        waiting = unpacker.unused_data or stream.read(_INPUT)


_EMPTY_READS = 8


class _Counted:
    """A stream that remembers whether it ended without a tar's closing zero block."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._count = 0
        self._tail = b""
        self._ended = False
        self._empty = 0

    def read(self, count: int) -> bytes:
        """The next bytes."""
        data = self._stream.read(count)
        self._count += len(data)
        self._empty += not data
        if self._empty > _EMPTY_READS:
            # A reader that looks for a member of any declared length would go on for ever.
            raise EOFError("unexpected end of data")
        self._tail = (self._tail + data)[-512:]
        self._ended = self._ended or len(data) < count
        return data

    @property
    def cut_off(self) -> bool:
        """Whether the end was reached inside a block, or without a zero block."""
        return self._ended and (self._count % 512 != 0 or self._tail.strip(b"\x00") != b"")


class _Unpacking(io.RawIOBase):
    """Chunks of an unpacker as a raw file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the next chunk."""
        if not self._waiting:
            self._waiting = memoryview(next(self._parts, b""))
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

"""The raw bytes that a document was made from: found again by its path and its place in the file, and proven by hash.

`inner` is the place that decoding wrote down: `line N`, `record N`, the name of an archive's member, `@START` before it
for a part of a large file, `#N` after it for a piece of a long text. Where a place has no bytes of its own (a row of a
Parquet file, a drive of many clips), the whole file stands for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from expedition.data.decode.archives import Member, open_stream, stream_head, tar_members, zip_members
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff
from expedition.data.decode.webarchive import arc_records, warc_records
from expedition.data.sources.folder import SourceFolder
from expedition.data.sources.items import SPLIT_BYTES, list_items
from expedition.data.sources.ranges import part_bounds, part_of
from expedition.data.sources.read import read_documents
from expedition.errors import InputError

_PLACE: Final = re.compile(r"(?:@(\d+) ?)?(.*?)(?:#\d+)?", re.DOTALL)
_NUMBERED: Final = re.compile(r"(line|record) (\d+)\b")
_PACKED: Final = frozenset({Format.GZIP, Format.BZIP2, Format.XZ, Format.ZSTANDARD})


@dataclass(frozen=True, slots=True)
class RawBytes:
    """Bytes [offset, offset + size_bytes) of a file; of its unpacked stream where `packed`."""

    path: str
    what: str
    """`file`, `line`, `record` or `member`: what of the file these bytes are."""
    offset: int
    size_bytes: int
    packed: bool
    sha256: str
    file_sha256: str
    """Hash of the whole file as it is now: what acquisitions record."""
    data: bytes


def raw_bytes(root: Path, path: str, inner: str | None, split_bytes: int = SPLIT_BYTES) -> RawBytes:
    """The bytes at `path` (relative to the data folder `root`) and `inner`; `split_bytes` is that of `list_items`.

    Raises InputError where they are gone.
    """
    file = root / path
    if not file.is_file():
        raise InputError(
            "the raw file is not there", where=str(file), fix="give the data folder that it came from: --data DIR"
        )
    start, place = _PLACE.fullmatch(inner or "").groups()  # type: ignore[union-attr]
    what, offset, packed, data = _found(file, _part(file, start, split_bytes), place.strip())
    with file.open("rb") as stream:
        whole = hashlib.file_digest(stream, "sha256").hexdigest()
    return RawBytes(path, what, offset, len(data), packed, hashlib.sha256(data).hexdigest(), whole, data)


def document_follows(
    source: SourceFolder,
    path: str,
    inner: str | None,
    document: str,
    rules: DecodeRules,
    split_bytes: int = SPLIT_BYTES,
) -> bool:
    """Whether decoding the raw item again gives the document: its id is a hash over place, text and media."""
    below = path.removeprefix(f"{source.name}/")
    start, _ = _PLACE.fullmatch(inner or "").groups()  # type: ignore[union-attr]
    items = [item for item in list_items(source, split_bytes) if item.path == below or path == source.name]
    mine = [item for item in items if item.start == int(start or 0)] or items
    return any(
        document in batch.column("id").to_pylist()
        for batch in read_documents(source, mine, rules)
        if hasattr(batch, "column")
    )


def _part(file: Path, start: str | None, split_bytes: int) -> tuple[int, int] | None:
    """The bounds of the part that a place was counted in, as `list_items` made it; None: the whole file."""
    return None if start is None else (int(start), min(int(start) + split_bytes, file.stat().st_size))


def _found(file: Path, part: tuple[int, int] | None, place: str) -> tuple[str, int, bool, bytes]:
    numbered = _NUMBERED.match(place)
    form, packed = _form(file)
    if numbered:
        with _opened(file, form, packed, part) as (stream, first):
            number = int(numbered[2])
            found = _line(stream, number) if numbered[1] == "line" else _record(stream, form, number)
            if found is not None:
                return numbered[1], first + found[0], packed is not None, found[1]
    elif place and form in (Format.ZIP, Format.TAR):
        member = _member(file, form, packed, place)
        if member is not None:
            return "member", 0, packed is not None or form is Format.ZIP, member
    return "file", 0, False, file.read_bytes()


def _form(file: Path) -> tuple[Format, Format | None]:
    """What a file is, and what it is packed in."""
    with file.open("rb") as stream:
        form = sniff(stream.read(HEAD_BYTES), file.name)
        if form not in _PACKED:
            return form, None
        stream.seek(0)
        return sniff(stream_head(stream, form, HEAD_BYTES), file.name.rsplit(".", 1)[0]), form


@contextmanager
def _opened(
    file: Path, form: Format, packed: Format | None, part: tuple[int, int] | None
) -> Iterator[tuple[BinaryIO, int]]:
    """The stream that places are counted in, and its first byte's place in the file (0 where it is packed)."""
    if part is None:
        raw: BinaryIO = file.open("rb")
        first = 0
    else:
        kind = "gzip" if packed is Format.GZIP else "lines" if form is Format.JSONL else str(form)
        first = part_bounds(file, kind, *part)[0] if packed is None else 0
        raw = part_of(file, kind, *part)
    with raw:
        yield (raw if packed is None else open_stream(raw, packed)), first


def _line(stream: BinaryIO, number: int) -> tuple[int, bytes] | None:
    offset = 0
    for at, line in enumerate(stream, start=1):
        if at == number:
            return offset, line
        offset += len(line)
    return None


def _record(stream: BinaryIO, form: Format, number: int) -> tuple[int, bytes] | None:
    limits = DecodeRules().limits
    kept = _Kept(stream)
    records = warc_records(kept, limits) if form is Format.WARC else arc_records(kept, limits)  # type: ignore[arg-type]
    for record in records:
        if record.number == number and record.end:
            return record.start, kept.between(record.start, record.end)
        kept.forget(record.end)
    return None


class _Kept:
    """A stream that remembers what was read since the last `forget`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._first = 0
        self._data = bytearray()

    def read1(self, count: int) -> bytes:
        """As the stream's; what is read is kept."""
        part: bytes = self._stream.read1(count)  # type: ignore[attr-defined]
        self._data += part
        return part

    def between(self, start: int, end: int) -> bytes:
        """Bytes [start, end) of the stream."""
        return bytes(self._data[start - self._first : end - self._first])

    def forget(self, end: int) -> None:
        """Let go of what lies before `end`."""
        if end > self._first:
            del self._data[: end - self._first]
            self._first = end


def _member(file: Path, form: Format, packed: Format | None, name: str) -> bytes | None:
    limits = DecodeRules().limits
    if form is Format.ZIP:
        members = zip_members(file, limits)
    else:
        opened = file.open("rb")
        members = tar_members(opened if packed is None else open_stream(opened, packed), limits)
    for member in members:
        if isinstance(member, Member) and (
            member.name == name or name.startswith((f"{member.name}/", f"{member.name} "))
        ):
            return member.data
    return None

"""WARC and ARC: records read forwards within bounds; a wrong length is noticed and the next record found again."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from expedition.data.decode.archives import open_stream, unpack_stream
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules, Limits
from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff

if TYPE_CHECKING:
    from expedition.data.decode.route import Raw

_HEADER_BYTES = 64 * 1024
_ARC_HEADER: Final = re.compile(
    rb"^(\S.{0,4000}) (\d{1,3}(?:\.\d{1,3}){3}|0\.0\.0\.0|-) (\d{12,20}) (\S{1,80}) (\S{1,20})$"
)
_WARC_START: Final = re.compile(rb"(?:^|\r?\n)(WARC/1\.[01]\r?\n)")
_TEXTS = ("text/", "application/xhtml", "application/xml", "application/json", "application/pdf", "application/epub")


@dataclass(frozen=True, slots=True)
class WebRecord:
    """One record: its number and place in the (unpacked) stream, headers in lower case, its block."""

    number: int
    headers: Mapping[str, str]
    block: bytes
    fault: Fault | None = None
    start: int = 0
    end: int = 0
    """Bytes [start, end) of the (unpacked) stream are the record, header and block."""


def web_archive(raw: Raw, form: Format, rules: DecodeRules, packed: Format | None = None) -> Decoded:
    """Documents of a web archive file: successful responses, resources and conversions that hold text."""
    with raw.open() as stream:
        opened = stream if packed is None else open_stream(stream, packed)
        yield from archive_pieces(opened, form, raw, rules)


def archive_pieces(stream: BinaryIO, form: Format, raw: Raw, rules: DecodeRules) -> Decoded:
    """Documents of an open archive stream. A stream that breaks off keeps the records before."""
    records = warc_records(stream, rules.limits) if form is Format.WARC else arc_records(stream, rules.limits)
    for record in records:
        if record.fault is not None:
            yield record.fault
        if record.block:
            yield from record_pieces(record, raw, rules)


def warc_records(stream: BinaryIO, limits: Limits) -> Iterator[WebRecord]:
    """Records of a WARC stream (already unpacked), in order. Faults come with the record that has them."""
    source = _Source(stream)
    number, cut = 0, False
    while True:
        line = source.line()
        while line in (b"\r\n", b"\n"):
            line = source.line()
        number += 1
        place, start = f"record {number}", source.position - len(line)
        if not line:
            if source.broken is not None and not cut:
                yield WebRecord(number, {}, b"", Fault(source.broken, "the stream breaks off", place))
            return
        if not line.startswith(b"WARC/"):
            yield WebRecord(number, {}, b"", Fault(Reason.CORRUPT, "no WARC header where a record should begin", place))
            if not source.seek_record():
                return
            continue
        headers = _headers(source)
        record = _warc_record(source, headers, number, limits)
        cut = record.fault is not None and record.fault.reason is Reason.TRUNCATED
        yield replace(record, start=start, end=source.position)


def arc_records(stream: BinaryIO, limits: Limits) -> Iterator[WebRecord]:
    """Records of an ARC stream (already unpacked), in order; lines that are no record header are passed over."""
    source = _Source(stream)
    number = 0
    while line := source.line():
        text = line.rstrip(b"\r\n")
        if not text:
            continue
        if text.startswith(b"filedesc://"):
            number += 1
            source.skip(min(_number(text.rsplit(b" ", 1)[-1].decode("latin-1")) or 0, _HEADER_BYTES))
            continue
        found = _ARC_HEADER.match(text)
        if found is None:
            continue
        number += 1
        place, start = f"record {number}", source.position - len(line)
        headers = {
            "warc-type": "response",
            "content-type": "application/http",
            "arc-type": found.group(4).decode("latin-1"),
        }
        headers["warc-target-uri"] = found.group(1).decode("utf-8", "replace")
        length = _number(found.group(5).decode("latin-1"))
        if length is None or length < 0:
            yield WebRecord(number, headers, b"", Fault(Reason.DECLARED_LENGTH, "no length", place))
            continue
        block = source.take(min(length, limits.unpacked_bytes))
        if len(block) < length:
            cause = Reason.TRUNCATED if length <= limits.unpacked_bytes else Reason.DECLARED_LENGTH
            yield WebRecord(number, headers, b"", Fault(cause, f"{len(block)} of {length} bytes", place))
            continue
        yield WebRecord(number, headers, block, start=start, end=source.position)
    if source.broken is not None:
        yield WebRecord(number + 1, {}, b"", Fault(source.broken, "the stream breaks off", f"record {number + 1}"))


def record_pieces(record: WebRecord, raw: Raw, rules: DecodeRules) -> Decoded:
    """Documents of one record; requests, metadata and answers that are no success give none."""
    from expedition.data.decode.route import Raw as RawFile
    from expedition.data.decode.route import decode

    place = f"record {record.number}"
    kind = record.headers.get("warc-type", "")
    if kind not in ("response", "resource", "conversion"):
        return
    url = record.headers.get("warc-target-uri", "").strip().strip("<>") or None
    try:
        body, content, charset = record_body(record, rules.limits)
    except Refused as refused:
        yield Fault(refused.reason, refused.detail, place)
        return
    if not body or not content.startswith(_TEXTS):
        detail = f"{content or 'unknown'} content" if body else "an empty answer"
        yield Fault(Reason.NOT_A_DOCUMENT if body else Reason.EMPTY, detail, place)
        return
    form = sniff(body[:HEAD_BYTES], "page.html" if "html" in content else "")
    name = "page.html" if form is Format.HTML or "html" in content else "page.json" if "json" in content else "page.txt"
    if form in (Format.PDF, Format.EPUB):
        name = f"book.{form}"
    date = record.headers.get("warc-date")
    for found in decode(RawFile(name, body, None, raw.kind or "web", url=url, charset=charset, depth=1), rules):
        if isinstance(found, Piece):
            meta = {**found.meta, "fetched": date} if date else found.meta
            yield replace(found, inner=f"{place}{found.inner}", url=url, meta=meta)
        else:
            yield replace(found, inner=f"{place} {found.inner}".strip())


def _warc_record(source: _Source, headers: dict[str, str], number: int, limits: Limits) -> WebRecord:
    place = f"record {number}"
    length = _number(headers.get("content-length", ""))
    if length is None or length < 0:
        source.seek_record()
        return WebRecord(number, headers, b"", Fault(Reason.DECLARED_LENGTH, "no length", place))
    before = source.position
    block = source.take(min(length, limits.unpacked_bytes + 1))
    if length > limits.unpacked_bytes:
        return _too_long(source, headers, number, length, block)
    if len(block) < length:
        inside = _next_start(block)
        if inside is not None:
            source.give_back(block[inside:])
            return WebRecord(number, headers, b"", Fault(Reason.DECLARED_LENGTH, f"{length} bytes declared", place))
        return WebRecord(number, headers, b"", Fault(Reason.TRUNCATED, f"{len(block)} of {length} bytes", place))
    if source.at_record_end():
        return WebRecord(number, headers, block)
    inside = _next_start(block)
    if inside is not None:
        source.give_back(block[inside:])
    else:
        source.seek_record()
    detail = f"{length} bytes declared at byte {before}, no record end there"
    return WebRecord(number, headers, b"", Fault(Reason.DECLARED_LENGTH, detail, place))


def _too_long(source: _Source, headers: dict[str, str], number: int, length: int, block: bytes) -> WebRecord:
    """A record above the limit: a false length if another record begins within it, else a large one, passed over."""
    place = f"record {number}"
    inside = _next_start(block)
    if inside is not None:
        source.give_back(block[inside:])
        return WebRecord(number, headers, b"", Fault(Reason.DECLARED_LENGTH, f"{length} bytes declared", place))
    passed = len(block) + source.skip(length - len(block))
    cause = Reason.TOO_LARGE if passed == length else Reason.DECLARED_LENGTH
    return WebRecord(number, headers, b"", Fault(cause, f"{length} bytes declared, {passed} there", place))


def _next_start(block: bytes) -> int | None:
    """Where the next record begins within a block that was read too far, or None."""
    for found in _WARC_START.finditer(block):
        if (
            b"WARC-Type:" in block[found.start() : found.start() + 2048]
            or b"WARC-Record-ID:" in block[found.start() :][:2048]
        ):
            return found.start(1)
    return None


def _headers(source: _Source) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for text in source.header_lines():
        if text[:1] in (" ", "\t") and name:
            headers[name] += " " + text.strip()
        elif ":" in text:
            name, value = text.split(":", 1)
            name = name.strip().lower()
            headers[name] = value.strip()
    return headers


def record_body(record: WebRecord, limits: Limits) -> tuple[bytes, str, str | None]:
    """Content of a record's block, its media type and declared charset: HTTP taken off, coding undone."""
    block, content = record.block, record.headers.get("content-type", "").lower()
    if not content.startswith("application/http") and not block.startswith(b"HTTP/"):
        return block, content.split(";")[0].strip(), _charset(content)
    if not block.startswith(b"HTTP/"):
        return block, record.headers.get("arc-type", "").lower(), None
    head, _, body = block.partition(b"\r\n\r\n")
    if not body and b"\n\n" in block:
        head, _, body = block.partition(b"\n\n")
    lines = head.decode("latin-1").split("\n")
    status = lines[0].split()
    if len(status) < 2 or not status[1].startswith("2"):
        raise Refused(Reason.HTTP_STATUS, " ".join(status[1:3])[:40])
    http = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    if "chunked" in http.get("transfer-encoding", "").lower():
        body = _unchunked(body)
    body = _decoded(body, http.get("content-encoding", "").lower(), limits)
    declared = http.get("content-type", "text/html").lower()
    return body, declared.split(";")[0].strip(), _charset(declared)


def _unchunked(body: bytes) -> bytes:
    """Body without its chunk sizes; a body that says chunked and is not stays as it is."""
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        end = body.find(b"\r\n", at, at + 32)
        size = -1 if end < 0 else _hexadecimal(body[at:end])
        if size < 0:
            return body if not parts else b"".join(parts)
        if size == 0:
            break
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)


def _hexadecimal(text: bytes) -> int:
    try:
        return int(text.split(b";")[0].strip(), 16)
    except ValueError:
        return -1


def _decoded(body: bytes, coding: str, limits: Limits) -> bytes:
    """Body with its content coding undone; bodies that crawlers stored unpacked under a coding's name stay."""
    if coding in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
        return unpack_stream(io.BytesIO(body), Format.GZIP, limits)[0]
    if coding == "zstd" and body[:4] == b"\x28\xb5\x2f\xfd":
        return unpack_stream(io.BytesIO(body), Format.ZSTANDARD, limits)[0]
    if coding == "deflate":
        for bits in (15, -15):
            try:
                unpacker = zlib.decompressobj(bits)
                data = unpacker.decompress(body, limits.unpacked_bytes)
            except zlib.error:
                continue
            if unpacker.unconsumed_tail:
                raise Refused(Reason.UNPACKED_TOO_LARGE, "deflate")
            return data
    if coding == "br":
        raise Refused(Reason.UNSUPPORTED_FORMAT, "brotli content coding")
    return body


def _charset(content: str) -> str | None:
    found = re.search(r"charset\s*=\s*[\"']?([\w.:-]{2,40})", content)
    return None if found is None else found.group(1)


def _number(text: str) -> int | None:
    try:
        return int(text.strip())
    except ValueError:
        return None


class _Source:
    """A stream read by lines and lengths, with bytes that can be given back. Read errors end it and are remembered."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: Any = stream
        self._waiting = b""
        self._at = 0
        """Where in `_waiting` the next byte is: a cut moves this, and copies nothing but what it gives out."""
        self.position = 0
        self.broken: Reason | None = None

    def line(self) -> bytes:
        """The next line, at most 64 KiB; empty at the end."""
        while (end := self._waiting.find(b"\n", self._at, self._at + _HEADER_BYTES)) < 0:
            if self._left() >= _HEADER_BYTES or not self._fill(_HEADER_BYTES):
                return self._cut(_HEADER_BYTES)
        return self._cut(end + 1 - self._at)

    def header_lines(self) -> Iterable[str]:
        """Lines up to an empty one, which is taken too, or up to 64 KiB."""
        at = self._at
        end = self._waiting.find(b"\r\n\r\n", at, at + _HEADER_BYTES)
        block = self._waiting[at:end] if end > at and not self._waiting.startswith((b"\r\n", b"\n"), at) else b""
        lines = block.decode("utf-8", "replace").split("\r\n")
        if not block or block.count(b"\n") != len(lines) - 1:
            return self._lines_one_by_one()
        self._cut(end + 4 - at)
        return lines

    def _lines_one_by_one(self) -> Iterator[str]:
        total = 0
        while line := self.line():
            total += len(line)
            if line in (b"\r\n", b"\n") or total > _HEADER_BYTES:
                return
            yield line.rstrip(b"\r\n").decode("utf-8", "replace")

    def take(self, count: int) -> bytes:
        """At most `count` bytes; fewer only at the end."""
        first = self._cut(count)
        missing = count - len(first)
        if not missing:
            return first
        parts = [first]
        while missing > 0 and (part := self._read(min(missing, 1 << 18))):
            parts.append(part)
            missing -= len(part)
            self.position += len(part)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Pass over at most `count` bytes; how many there were."""
        passed = 0
        while passed < count and (part := self.take(min(count - passed, 1 << 20))):
            passed += len(part)
        return passed

    def give_back(self, data: bytes) -> None:
        """Put bytes before the next ones."""
        self._waiting, self._at = data + self._waiting[self._at :], 0
        self.position -= len(data)

    def at_record_end(self) -> bool:
        """Whether two line ends (or the stream's end) follow, as after a whole record; they are taken."""
        while self._left() < 4 and self._fill(4096):
            pass
        for mark in (b"\r\n\r\n", b"\n\n"):
            if self._waiting.startswith(mark, self._at):
                self._cut(len(mark))
                return True
        rest = self._waiting[self._at :].lstrip(b"\r\n")
        return (not rest and self._left() < 4) or rest.startswith(b"WARC/")

    def seek_record(self) -> bool:
        """Pass over bytes until a record's header begins."""
        while True:
            start = _next_start(b"\n" + self._waiting[self._at :])
            if start is not None:
                self._cut(start - 1)
                return True
            keep = 2048
            if self._left() > keep:
                self._cut(self._left() - keep)
            if not self._fill(1 << 16):
                return False

    def _left(self) -> int:
        return len(self._waiting) - self._at

    def _fill(self, count: int) -> bool:
        part = self._read(count)
        self._waiting, self._at = self._waiting[self._at :] + part, 0
        return bool(part)

    def _read(self, count: int) -> bytes:
        """At most `count` bytes of the stream, whatever waits; empty at its end and after an error."""
        if self.broken is not None:
            return b""
        try:
            part: bytes = self._stream.read1(count)
        except EOFError:
            self.broken, part = Reason.TRUNCATED, b""
        except Exception as error:  # zlib, lzma and zstandard each have their own error
            self.broken, part = (Reason.CHECKSUM if "check" in str(error) else Reason.CORRUPT), b""
        return part

    def _cut(self, count: int) -> bytes:
        part = self._waiting[self._at : self._at + count]
        self._at += len(part)
        self.position += len(part)
        return part

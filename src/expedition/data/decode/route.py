"""One raw file to its decoder: sniff, choose, decode; what is refused becomes a fault with a reason."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from expedition.data.decode.archives import (
    Member,
    open_stream,
    stream_head,
    tar_members,
    unpack_stream,
    unsafe_name,
    zip_members,
)
from expedition.data.decode.companion import NOTHING, Companion, companion_of_row
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules, Limits
from expedition.data.decode.sniff import HEAD_BYTES, Format, mismatched, sniff, suffix_of

_PACKED = frozenset({Format.GZIP, Format.BZIP2, Format.XZ, Format.ZSTANDARD})
_PACKED_SUFFIXES = {".gz": Format.GZIP, ".bz2": Format.BZIP2, ".xz": Format.XZ, ".zst": Format.ZSTANDARD}
_MEDIUM = "medium"
"""Name of a file that has none: its bytes alone say what it is."""
_MEDIA = frozenset({Format.IMAGE, Format.AUDIO, Format.VIDEO})


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw file: bytes, or a path to read from. `name` decides between text formats; `kind` is the source's."""

    name: str
    data: bytes | None = None
    path: Path | None = None
    kind: str | None = None
    companion: Companion = NOTHING
    url: str | None = None
    charset: str | None = None
    inner: str = ""
    depth: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data) if self.data is not None else self._file.stat().st_size

    @property
    def source(self) -> Path | bytes:
        """The bytes, or the path."""
        return self.data if self.data is not None else self._file

    @property
    def _file(self) -> Path:
        if self.path is None:
            raise ValueError("a raw file needs data or a path")
        return self.path

    def open(self) -> BinaryIO:
        """A stream over the bytes."""
        return io.BytesIO(self.data) if self.data is not None else self._file.open("rb")

    def whole(self, limits: Limits) -> bytes:
        """All bytes. Raises Refused(TOO_LARGE)."""
        if self.size > limits.file_bytes:
            raise Refused(Reason.TOO_LARGE, f"{self.size} bytes, limit {limits.file_bytes}")
        return self.data if self.data is not None else self._file.read_bytes()


def decode(raw: Raw, rules: DecodeRules) -> Decoded:
    """Pieces and faults of a raw file, one at least. Raises nothing for bad input: every refusal is a `Fault`.

    Pure in the file's bytes, its name, its companion and the rules; writes nothing.
    """
    try:
        with raw.open() as stream:
            form = sniff(stream.read(HEAD_BYTES), raw.name)
        nothing = True
        for found in _routed(raw, form, rules):
            nothing = False
            yield found
        if nothing:
            raise Refused(Reason.EMPTY, f"{form} that holds nothing")
    except Refused as refused:
        yield Fault(refused.reason, refused.detail, raw.inner)
    except OSError as error:
        yield Fault(Reason.UNREADABLE, str(error.strerror or error)[:120], raw.inner)
    except Exception as error:  # libraries raise what they do not document; here is where bad input ends
        yield Fault(Reason.DECODER_FAILED, f"{type(error).__name__}: {error}"[:160], raw.inner)


def _routed(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    promised = _PACKED_SUFFIXES.get(PurePosixPath(raw.name.lower()).suffix)
    repairs: tuple[Repair, ...] = ()
    if promised is not None and form is not promised and form not in (Format.EMPTY, Format.BINARY):
        repairs = (Repair(Reason.WRONG_FORMAT, 1, f"{form} under a {promised} name"),)
    elif form not in _PACKED and form is not Format.EMPTY and mismatched(form, raw.name):
        raise Refused(Reason.WRONG_FORMAT, f"{form} content under the name {PurePosixPath(raw.name).name}"[:160])
    for found in _decoder(raw, form, rules):
        yield replace(found, repairs=(*repairs, *found.repairs)) if repairs and isinstance(found, Piece) else found


def _decoder(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    if form is Format.EMPTY:
        raise Refused(Reason.EMPTY)
    if form is Format.PICKLE:
        raise Refused(Reason.UNSAFE_FORMAT, "pickled objects are never read")
    if form is Format.BINARY:
        raise Refused(Reason.BINARY, "no decoder knows these bytes")
    if form in _MEDIA:
        return _medium(raw, form, rules)
    if form in _PACKED or form in (Format.TAR, Format.ZIP):
        return _container(raw, form, rules)
    if form in (Format.WARC, Format.ARC):
        from expedition.data.decode.webarchive import web_archive

        return web_archive(raw, form, rules)
    if form in (Format.EPUB, Format.PDF, Format.PARQUET):
        return _library(raw, form, rules)
    return _textual(raw, form, rules)


def _medium(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    from expedition.data.decode import media

    if form is Format.IMAGE:
        yield media.picture_piece(raw.whole(rules.limits), raw.companion, rules, raw.inner)
    elif form is Format.AUDIO:
        yield from media.sound_pieces(raw.source, raw.companion, rules, raw.inner)
    else:
        yield from media.clip_pieces(raw.source, raw.companion, rules, raw.inner)


def _library(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    if form is Format.PARQUET:
        from expedition.data.decode.parquet import parquet_pieces

        def medium(data: bytes, companion: Companion, inner: str) -> Decoded:
            form = sniff(data[:HEAD_BYTES], _MEDIUM)
            if form not in _MEDIA:
                return iter((Fault(Reason.WRONG_FORMAT, f"{form} content where a medium should be", inner),))
            return decode(Raw(_MEDIUM, data, None, raw.kind, companion, None, None, inner, raw.depth + 1), rules)

        source = raw.path or io.BytesIO(raw.data or b"")
        if raw.kind == "chat":
            return parquet_pieces(source, rules.limits, as_piece=lambda row, _, inner: _chat(raw, row, rules, inner))
        return parquet_pieces(source, rules.limits, decode_medium=medium)
    from expedition.data.decode import books

    read = books.epub_pieces if form is Format.EPUB else books.pdf_pieces
    return _placed(read(raw.source, rules.limits), raw, "books")


def _textual(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    limits = rules.limits
    if form is Format.SUBTITLES:
        from expedition.data.decode.subtitles import track_piece

        yield track_piece(raw.whole(limits), raw.inner)
    elif form is Format.ROBOTS:
        from expedition.data.decode.robots import read_robots

        faulty = read_robots(raw.whole(limits)).faulty_lines
        for number in faulty:
            yield Fault(Reason.ROBOTS_LINE, "ignored", f"line {number}")
        raise Refused(Reason.NOT_A_DOCUMENT, "robots.txt: rules for crawlers, read by compliance")
    elif raw.kind == "code":
        from expedition.data.decode.code import code_piece

        yield replace(code_piece(raw.whole(limits), raw.name, limits, inner=raw.inner), kind="code")
    elif form is Format.HTML:
        from expedition.data.decode.html import page_piece

        piece = page_piece(
            raw.whole(limits),
            limits,
            charset=raw.charset,
            url=raw.url,
            inner=raw.inner,
            setting=rules.page_setting,
        )
        yield replace(piece, kind=raw.kind)
    elif form is Format.JSONL:
        with raw.open() as stream:
            yield from _rows(raw, stream, rules)
    else:
        yield from _plain(raw, form, rules)


def _plain(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    limits = rules.limits
    data = raw.whole(limits)
    if form is Format.JSON:
        from expedition.data.decode.jsonl import json_pieces

        chat = (lambda row, _, inner: _chat(raw, row, rules, inner)) if raw.kind == "chat" else None
        yield from json_pieces(data, limits, chat)
    elif form is Format.TABLE:
        from expedition.data.decode.tables import table_pieces

        yield from table_pieces(data, limits)
    elif form is Format.YAML:
        from expedition.data.decode.yaml_safe import load_yaml

        load_yaml(data)
        raise Refused(Reason.NOT_A_DOCUMENT, "YAML outside source code")
    elif form is Format.CODE:
        from expedition.data.decode.code import code_piece

        yield replace(code_piece(data, raw.name, limits, inner=raw.inner), kind=raw.kind or "code")
    elif form is Format.XML:
        from expedition.data.decode.html import page_piece

        yield page_piece(data, limits, charset=raw.charset, url=raw.url, inner=raw.inner, setting=rules.page_setting)
    elif raw.kind == "books":
        from expedition.data.decode.books import book_pieces

        yield from _placed(book_pieces(data, limits, raw.inner), raw, "books")
    else:
        from expedition.data.decode.text import text_pieces

        yield from _placed(text_pieces(data, limits, inner=raw.inner, charset=raw.charset), raw, None)


def _placed(pieces: Iterator[Piece], raw: Raw, kind: str | None) -> Decoded:
    for piece in pieces:
        yield replace(piece, kind=kind or raw.kind, url=piece.url or raw.url)


def _rows(raw: Raw, stream: BinaryIO, rules: DecodeRules, first_line: int = 1) -> Decoded:
    """Rows of JSON lines; interleaved documents find their pictures beside the file."""
    from expedition.data.decode.interleaved import interleaved_piece, parts_of
    from expedition.data.decode.jsonl import json_lines, row_piece

    for number, value in json_lines(stream, rules.limits, first_line=first_line):
        if isinstance(value, Fault):
            yield value
            continue
        inner = f"{raw.inner}line {number}"
        try:
            if raw.kind == "chat":
                yield _chat(raw, value, rules, inner)
            elif parts_of(value) is not None:
                yield interleaved_piece(value, _beside(raw, rules), rules, inner)
            else:
                yield row_piece(value, rules.limits, inner)
        except Refused as refused:
            yield Fault(refused.reason, refused.detail, inner)


def _chat(raw: Raw, row: Any, rules: DecodeRules, inner: str) -> Piece:
    from expedition.data.decode.chat import chat_piece

    return chat_piece(row, _beside(raw, rules), rules, inner)


def _beside(raw: Raw, rules: DecodeRules) -> Callable[[str], bytes]:
    """Reads a file by the name that a row of `raw` gives it."""
    folder = raw.path.parent if raw.path is not None else None
    return lambda name: _picture(folder, name, rules.limits)


def decode_lines(raw: Raw, stream: BinaryIO, rules: DecodeRules, first_line: int = 1) -> Decoded:
    """Rows of an open JSON-lines stream; `first_line` numbers its first."""
    yield from _rows(raw, stream, rules, first_line)


def _picture(folder: Path | None, name: str, limits: Limits) -> bytes:
    if unsafe_name(name):
        raise Refused(Reason.UNSAFE_PATH, name[:100])
    path = None if folder is None else folder / name
    if path is None or not path.is_file() or folder is None or not path.resolve().is_relative_to(folder.resolve()):
        raise Refused(Reason.MISSING_MEDIA, name[:100])
    if path.stat().st_size > limits.file_bytes:
        raise Refused(Reason.TOO_LARGE, name[:100])
    return path.read_bytes()


def _container(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    if raw.depth >= rules.limits.archive_depth:
        raise Refused(Reason.TOO_DEEP, f"containers within containers, more than {rules.limits.archive_depth}")
    if form in _PACKED:
        return _unpacked(raw, form, rules)
    if form is Format.ZIP:
        if raw.kind == "books" and suffix_of(raw.name) == ".epub":
            return _library(raw, Format.EPUB, rules)
        return _members(raw, zip_members(raw.source, rules.limits), rules)
    return _tar(raw, rules)


def _tar(raw: Raw, rules: DecodeRules) -> Decoded:
    with raw.open() as stream:
        yield from _members(raw, tar_members(stream, rules.limits), rules)


def _unpacked(raw: Raw, form: Format, rules: DecodeRules) -> Decoded:
    """A compressed file: streamed where its content is a container of many items, else unpacked whole."""
    name = _bare(raw.name)
    with raw.open() as packed:
        head = stream_head(packed, form, HEAD_BYTES)
    inside = sniff(head, name) if head else Format.TEXT
    if inside in (Format.WARC, Format.ARC):
        from expedition.data.decode.webarchive import web_archive

        yield from web_archive(replace(raw, name=name), inside, rules, packed=form)
        return
    with raw.open() as packed:
        if inside is Format.TAR:
            yield from _members(raw, tar_members(open_stream(packed, form), rules.limits), rules)
            return
        if inside is Format.JSONL and raw.kind != "code":
            yield from _streamed_lines(raw, open_stream(packed, form), rules)
            return
        data, repairs = unpack_stream(packed, form, rules.limits)
    for found in decode(replace(raw, name=name, data=data, path=None, depth=raw.depth + 1), rules):
        yield replace(found, repairs=(*repairs, *found.repairs)) if isinstance(found, Piece) and repairs else found


def _streamed_lines(raw: Raw, stream: BinaryIO, rules: DecodeRules) -> Decoded:
    try:
        yield from _rows(raw, stream, rules)
    except EOFError:
        yield Fault(Reason.TRUNCATED, "stream cut off", raw.inner)
    except Exception as error:  # zlib, lzma and zstandard each have their own error
        reason = Reason.CHECKSUM if "check" in str(error) else Reason.CORRUPT
        yield Fault(reason, f"{type(error).__name__}: {error}"[:120], raw.inner)


def _bare(name: str) -> str:
    path = PurePosixPath(name)
    if path.suffix.lower() == ".bad":
        path = path.with_suffix("")
    if path.suffix.lower() == ".tgz":
        return str(path.with_suffix(".tar"))
    return str(path.with_suffix("")) if path.suffix.lower() in _PACKED_SUFFIXES else str(path)


def _members(raw: Raw, members: Iterator[Member | Fault], rules: DecodeRules) -> Decoded:
    """Members of an archive: those of one name and different suffixes, one after the other, belong together."""
    group: list[Member] = []
    size = 0
    for member in members:
        if isinstance(member, Fault):
            yield replace(member, inner=_inside(raw, member.inner))
            continue
        size += len(member.data)
        if group and (_key(group[0].name) != _key(member.name) or size > rules.limits.unpacked_bytes):
            yield from _group(raw, group, rules)
            group, size = [], len(member.data)
        group.append(member)
    if group:
        yield from _group(raw, group, rules)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.parent / path.name.split(".")[0])


def _inside(raw: Raw, name: str) -> str:
    return f"{raw.inner}!{name}" if raw.inner else name


def _group(raw: Raw, group: list[Member], rules: DecodeRules) -> Decoded:
    """A medium with its text or JSON beside it becomes one document; anything else goes its own way."""
    forms = {member.name: sniff(member.data[:HEAD_BYTES], member.name) for member in group}
    media = [member for member in group if forms[member.name] in _MEDIA]
    beside = [member for member in group if suffix_of(member.name) in (".txt", ".json", ".caption", ".cap")]
    companion, faults = _told(raw, beside) if media else (NOTHING, [])
    yield from faults
    for member in group:
        if media and member in beside:
            continue
        told = companion if member in media else NOTHING
        inner = _inside(raw, member.name)
        part = Raw(member.name, member.data, None, raw.kind, told, None, None, inner, raw.depth + 1)
        yield from decode(part, rules)


def _told(raw: Raw, beside: list[Member]) -> tuple[Companion, list[Fault]]:
    from expedition.data.decode.charset import readable_text
    from expedition.data.decode.jsonl import json_value

    row: dict[str, object] = {}
    faults: list[Fault] = []
    for member in beside:
        try:
            if suffix_of(member.name) == ".json":
                value = json_value(member.data)
                if not isinstance(value, dict):
                    raise Refused(Reason.WRONG_TYPE, "not an object")
                row.update(value)
            else:
                row["caption"] = readable_text(member.data)[0]
        except Refused as refused:
            faults.append(Fault(refused.reason, refused.detail, _inside(raw, member.name)))
    return companion_of_row(json.loads(json.dumps(row))), faults

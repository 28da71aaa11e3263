"""Books: EPUB, PDF and long plain texts; publishers' wrappers (Project Gutenberg's header and licence) taken off."""

from __future__ import annotations

import html
import io
import logging
import posixpath
import re
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from expedition.data.decode.charset import readable_text
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.html import visible_text
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.text import split_text

_START = re.compile(r"^.{0,40}\*\*\*\s*START OF (?:THE|THIS) PROJECT GUTENBERG.{0,200}$", re.M | re.I)
_END = re.compile(
    r"^(?:.{0,40}\*\*\*\s*END OF (?:THE|THIS) PROJECT GUTENBERG.{0,200}|\s*End of (?:the )?Project Gutenberg.{0,200})$",
    re.M | re.I,
)
_SMALL_PRINT = re.compile(r"^\*?END\*?\s*THE SMALL PRINT!.{0,200}$", re.M)
_PRODUCED = re.compile(
    r"\A\s*(?:(?:Produced|Transcribed|E-text prepared|This eBook was) [^\n]{0,200}\n(?:[^\n]{1,200}\n){0,4})"
)
_HEAD = re.compile(r"^(Title|Author|Language|Translator):[ \t]*(.{1,200})$", re.M)
_ROOTFILE = re.compile(rb"full-path\s*=\s*[\"']([^\"']{1,300})[\"']")
_ITEM = re.compile(r"<(?:opf:)?item\s([^>]{1,2000})>")
_ITEMREF = re.compile(r"<(?:opf:)?itemref\s([^>]{1,500})>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_DUBLIN = re.compile(r"<dc:(title|creator|language|rights|source)\b[^>]{0,300}>(.{0,2000}?)</dc:\1>", re.S | re.I)
_TAGS = re.compile(r"<[^>]{0,500}>")
_SCAN = 40_000


def book_pieces(data: bytes, limits: Limits, inner: str = "") -> Iterator[Piece]:
    """Documents of a plain-text book. Raises Refused(ENCODING | NO_TEXT)."""
    text, repairs = readable_text(data)
    body, meta = unwrapped(text)
    for piece in split_text(tidy(body), limits, inner=inner, repairs=repairs, meta=meta):
        yield Piece(piece.text, inner=piece.inner, licence=_licence(meta), meta=piece.meta, repairs=piece.repairs)


def unwrapped(text: str) -> tuple[str, dict[str, Any]]:
    """A book without Project Gutenberg's header and licence, and what the header said (title, author, …)."""
    start = _START.search(text[:_SCAN]) or _SMALL_PRINT.search(text[:_SCAN])
    end = _END.search(text, start.end() if start else 0)
    if start is None and end is None:
        return text, {}
    header = text[: start.start()] if start else ""
    body = text[start.end() if start else 0 : end.start() if end else len(text)]
    meta: dict[str, Any] = {name.lower(): value.strip() for name, value in _HEAD.findall(header)}
    meta["wrapper"] = "Project Gutenberg"
    return _PRODUCED.sub("", body.lstrip("\n"), count=1), meta


def epub_pieces(source: Path | bytes, limits: Limits) -> Iterator[Piece]:
    """Documents of an EPUB, by its spine. Raises Refused: CORRUPT, ENCRYPTED, UNPACKED_TOO_LARGE, NO_TEXT."""
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as book:
            package_name, package = _package(book, limits)
            chapters, repairs = _chapters(book, package_name, package, limits)
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, zlib.error) as error:
        encrypted = "password" in str(error) or "encrypted" in str(error)
        raise Refused(Reason.ENCRYPTED if encrypted else Reason.CORRUPT, str(error)[:120]) from None
    found = {name.lower(): _plain(value) for name, value in reversed(_DUBLIN.findall(package))}
    body, wrapper = unwrapped("\n\n".join(chapters))
    meta = {key: found[key] for key in ("title", "creator", "rights") if found.get(key)} | wrapper
    for piece in split_text(tidy(body), limits, repairs=repairs, meta=meta):
        yield Piece(
            piece.text,
            inner=piece.inner,
            licence=_licence(meta),
            language=found.get("language"),
            meta=piece.meta,
            repairs=piece.repairs,
        )


def pdf_pieces(source: Path | bytes, limits: Limits) -> Iterator[Piece]:
    """Documents of a PDF's text layer, running heads and page numbers removed, lines joined to paragraphs.

    Raises Refused: ENCRYPTED, CORRUPT, NO_TEXT (a scan without a text layer).
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    repairs: list[Repair] = []
    try:
        reader = PdfReader(source if isinstance(source, Path) else io.BytesIO(source), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused(Reason.ENCRYPTED)
        pages = _pages(reader, limits, repairs)
        title = reader.metadata.title if reader.metadata else None
    except Refused:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError) as error:
        raise Refused(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:120]) from None
    if not any(page.strip() for page in pages):
        raise Refused(Reason.NO_TEXT, f"{len(pages)} pages without a text layer")
    body, wrapper = unwrapped(_reflowed(_without_running_lines(pages)))
    meta = {"title": title.strip()[:300]} | wrapper if isinstance(title, str) and title.strip() else wrapper
    for piece in split_text(tidy(body), limits, repairs=tuple(repairs), meta=meta):
        yield Piece(piece.text, inner=piece.inner, licence=_licence(meta), meta=piece.meta, repairs=piece.repairs)


def _package(book: zipfile.ZipFile, limits: Limits) -> tuple[str, str]:
    names = set(book.namelist())
    if "META-INF/encryption.xml" in names and "META-INF/rights.xml" in names:
        raise Refused(Reason.ENCRYPTED, "the book has digital rights management")
    try:
        container = _member(book, "META-INF/container.xml", limits)
        found = _ROOTFILE.search(container)
        name = found.group(1).decode("utf-8", "replace") if found else ""
    except KeyError:
        name = next((item for item in sorted(names) if item.lower().endswith(".opf")), "")
    try:
        return name, readable_text(_member(book, name, limits))[0]
    except KeyError:
        raise Refused(Reason.CORRUPT, "no package document") from None


def _chapters(
    book: zipfile.ZipFile, package_name: str, package: str, limits: Limits
) -> tuple[list[str], tuple[Repair, ...]]:
    items = [_attributes(found) for found in _ITEM.findall(package)]
    paths = {item.get("id", ""): item.get("href", "") for item in items if "html" in item.get("media-type", "html")}
    navigation = {item.get("id", "") for item in items if "nav" in item.get("properties", "").split()}
    folder = posixpath.dirname(package_name)
    chapters, missing, total = [], 0, 0
    for reference in _ITEMREF.findall(package):
        name = _attributes(reference).get("idref", "")
        if name in navigation or name not in paths:
            continue
        path = posixpath.normpath(posixpath.join(folder, unquote(paths[name].split("#")[0])))
        try:
            data = _member(book, path, limits)
        except KeyError:
            missing += 1
            continue
        total += len(data)
        if total > limits.unpacked_bytes:
            raise Refused(Reason.UNPACKED_TOO_LARGE, "chapters")
        chapters.append(visible_text(readable_text(data)[0]))
    repairs = (Repair(Reason.MISSING_MEDIA, missing, "chapters that the spine names"),) if missing else ()
    return [chapter for chapter in chapters if chapter], repairs


def _member(book: zipfile.ZipFile, name: str, limits: Limits) -> bytes:
    with book.open(name) as stream:
        data = stream.read(limits.unpacked_bytes + 1)
    if len(data) > limits.unpacked_bytes:
        raise Refused(Reason.UNPACKED_TOO_LARGE, name)
    return data


def _attributes(tag: str) -> dict[str, str]:
    return {name: html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(tag)}


def _plain(markup: str) -> str:
    return " ".join(clean(html.unescape(_TAGS.sub(" ", markup)))[0].split())[:300]


def _licence(meta: dict[str, Any]) -> str | None:
    from expedition.data.decode.licence import named_licence

    if meta.get("wrapper"):
        return "Public-Domain"
    rights = meta.get("rights")
    return named_licence(rights) if isinstance(rights, str) else None


def _pages(reader: Any, limits: Limits, repairs: list[Repair]) -> list[str]:
    started = time.monotonic()
    pages: list[str] = []
    count, broken = len(reader.pages), 0
    for number in range(min(count, limits.pdf_pages)):
        try:
            pages.append(clean(reader.pages[number].extract_text() or "")[0])
        except Exception:  # a page's content stream can break pypdf in undocumented ways; the others are still good
            broken += 1
            pages.append("")
        if time.monotonic() - started > limits.pdf_s or sum(map(len, pages[-1:])) > limits.text_characters:
            repairs.append(Repair(Reason.TIME_LIMIT, 1, f"{number + 1} of {count} pages read"))
            return pages
    if broken:
        repairs.append(Repair(Reason.CORRUPT, broken, "pages"))
    if count > limits.pdf_pages:
        repairs.append(Repair(Reason.CUT, 1, f"{limits.pdf_pages} of {count} pages read"))
    return pages


def _without_running_lines(pages: list[str]) -> list[str]:
    """Pages without first or last lines that recur (numbers ignored) on more than a third of the pages."""

    def key(line: str) -> str:
        return re.sub(r"\d+|\b[ivxlc]{1,7}\b", "#", " ".join(line.split())).lower()

    split = [[line for line in page.split("\n") if line.strip()] for page in pages]
    edges = Counter(key(line) for lines in split for line in {*lines[:2], *lines[-2:]})
    common = {line for line, count in edges.items() if count > max(2, len(pages) / 3)}
    kept = []
    for lines in split:
        size = len(lines)
        kept.append(
            "\n".join(line for i, line in enumerate(lines) if not ((i < 2 or i >= size - 2) and key(line) in common))
        )
    return kept


def _reflowed(pages: list[str]) -> str:
    """Lines joined to paragraphs: a line goes on where the one before is nearly full and does not end a sentence."""
    lines = [line.strip() for page in pages for line in page.split("\n") if line.strip()]
    lengths = sorted(map(len, lines))
    full = 0.75 * lengths[int(len(lengths) * 0.7)] if lengths else 0
    paragraphs: list[list[str]] = []
    before = ""
    for line in lines:
        ends = before.endswith((".", "!", "?", "\u201d", '"', ":", "\u3002")) and len(before) < 1.1 * full
        if before and len(before) >= full and not ends:
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
        before = line
    return "\n\n".join(map(_joined, paragraphs))


def _joined(lines: list[str]) -> str:
    text = lines[0]
    for line in lines[1:]:
        hyphen = text.endswith("-") and text[-2:-1].isalpha() and line[:1].islower()
        wide = text[-1:] > "\u2e80" and line[:1] > "\u2e80"
        text = text[:-1] + line if hyphen else text + line if wide else f"{text} {line}"
    return text

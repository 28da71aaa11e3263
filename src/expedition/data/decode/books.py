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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from expedition.data.decode.chapters import chapters_of, located, within, without_contents
from expedition.data.decode.charset import readable_text
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.html import visible_text
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.reflow import reflowed, undivided, without_running_lines
from expedition.data.decode.rules import Limits
from expedition.data.decode.text import split_text

_START = re.compile(
    r"^.{0,40}\*\*\*\s*START OF (?:THE|THIS) PROJECT GUTENBERG(?:[^*]{0,300}\*\*\*[^\n]{0,40}|.{0,200})$", re.M | re.I
)
_END = re.compile(
    r"^(?:.{0,40}\*\*\*\s*END OF (?:THE|THIS) PROJECT GUTENBERG.{0,200}|\s*End of (?:the )?Project Gutenberg.{0,200})$",
    re.M | re.I,
)
_SMALL_PRINT = re.compile(r"^\*?END\*?\s*THE SMALL PRINT!.{0,200}$", re.M)
_PRODUCED = re.compile(
    r"\A\s*(?:(?:Produced|Transcribed|E-text prepared|This eBook was) [^\n]{0,200}\n(?:[^\n]{1,200}\n){0,4})"
)
_HEAD = re.compile(
    r"^(Title|Author|Language|Translator|Editor|Illustrator|Release Date|Posting Date):[ \t]*(.{1,200})$", re.M
)
_NUMBER = re.compile(r"\[e(?:Book|text) ?#(\d{1,6})\]", re.I)
_NOTE = re.compile(r"^\[Transcriber['\u2019]?s? notes?:?[^\]]{0,3000}\][ \t]*$|^\[Illustration\][ \t]*$", re.M | re.I)
_LANGUAGES = {
    "english": "en", "chinese": "zh", "french": "fr", "german": "de", "spanish": "es", "italian": "it", "dutch": "nl",
    "portuguese": "pt", "finnish": "fi", "latin": "la", "greek": "el", "japanese": "ja", "russian": "ru", "swedish": "sv",
    "danish": "da", "hungarian": "hu", "polish": "pl", "esperanto": "eo", "tagalog": "tl", "catalan": "ca", "welsh": "cy",
}  # fmt: skip
_ROOTFILE = re.compile(rb"full-path\s*=\s*[\"']([^\"']{1,300})[\"']")
_ITEM = re.compile(r"<(?:opf:)?item\s([^>]{1,2000})>")
_ITEMREF = re.compile(r"<(?:opf:)?itemref\s([^>]{1,500})>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_DUBLIN = re.compile(r"<dc:(title|creator|language|rights|source)\b[^>]{0,300}>(.{0,2000}?)</dc:\1>", re.S | re.I)
_HEADING = re.compile(r"<h[1-3]\b[^<>]{0,500}>", re.I)
_PAGE_BREAK = re.compile(
    r"<(span|div|a|p)\b[^<>]{0,300}(?:epub:type|role)\s*=\s*[\"'](?:[\w -]{0,40}[ -])?(?:doc-)?pagebreak[^<>]{0,300}?"
    r"(?:/>|>[^<]{0,40}</\1>)",
    re.I,
)
_MATTER = re.compile(r"<(?:body|section|div)\b[^<>]{0,400}epub:type\s*=\s*[\"']([^\"']{1,200})[\"']", re.I)
_LINK = re.compile(r"<a\b[^<>]{0,500}>", re.I)
_ELEMENT_CHARACTERS = 2000
_LEFT_OUT = frozenset({"toc", "cover", "copyright-page", "landmarks", "page-list", "loi", "lot", "index", "colophon"})
_UNSAFE = re.compile(r"^(?:[/\\]|[a-zA-Z][\w+.-]{0,20}:|\.\.(?:[/\\]|$))")
_TAGS = re.compile(r"<[^>]{0,500}>")
_SCAN = 40_000


@dataclass(frozen=True, slots=True)
class _Book:
    """What of a book is known beside its text."""

    meta: dict[str, Any]
    language: str | None = None
    titles: tuple[str, ...] | None = None
    """Headings in order, where the format has them."""
    repairs: tuple[Repair, ...] = ()


def book_pieces(data: bytes, limits: Limits, inner: str = "") -> Iterator[Piece]:
    """Documents of a plain-text book. Raises Refused(ENCODING | NO_TEXT).

    Meta of every book: `title`, `author` (`creator`) and what else its header says; `wrapper` where a publisher's licence
    block was taken off; `chapters`, {title, start} with offsets in the document's text; `front_matter`, characters before the
    first; `contents_entries`, lines of a table of contents that was taken off.
    """
    text, repairs = readable_text(data)
    body, meta = unwrapped(text)
    language = _LANGUAGES.get(str(meta.get("language", "")).lower())
    yield from _documents(undivided(body), _Book(meta, language, repairs=repairs), limits, inner)


def _documents(body: str, book: _Book, limits: Limits, inner: str = "") -> Iterator[Piece]:
    text, entries = without_contents(tidy(_NOTE.sub("", body)))
    text = tidy(text)
    chapters = chapters_of(text) if book.titles is None else located(book.titles, text) or chapters_of(text)
    meta = book.meta | ({"contents_entries": entries} if entries else {})
    at = 0
    for piece in split_text(text, limits, inner=inner, repairs=book.repairs, meta=meta):
        start = text.index(piece.text, at)
        at = start + len(piece.text)
        inside = within(chapters, start, at)
        told = {"chapters": inside, "front_matter": inside[0]["start"] if start == 0 else 0} if inside else {}
        yield replace(piece, licence=_licence(meta), language=book.language, meta={**piece.meta, **told})


def unwrapped(text: str) -> tuple[str, dict[str, Any]]:
    """A book without Project Gutenberg's header and licence, and what the header said (title, author, …)."""
    start = _START.search(text[:_SCAN]) or _SMALL_PRINT.search(text[:_SCAN])
    end = _END.search(text, start.end() if start else 0)
    if start is None and end is None:
        return text, {}
    header = text[: start.start()] if start else ""
    body = text[start.end() if start else 0 : end.start() if end else len(text)]
    meta: dict[str, Any] = {name.lower().replace(" ", "_"): value.strip() for name, value in _HEAD.findall(header)}
    meta["wrapper"] = "Project Gutenberg"
    if number := _NUMBER.search(header):
        meta["ebook_number"] = int(number.group(1))
    return _PRODUCED.sub("", body.lstrip("\n"), count=1), meta


def epub_pieces(source: Path | bytes, limits: Limits) -> Iterator[Piece]:
    """Documents of an EPUB, by its spine; page breaks, covers, copyright pages and tables of contents are left out.

    Raises Refused: CORRUPT, ENCRYPTED, UNPACKED_TOO_LARGE, NO_TEXT, UNSAFE_PATH (every chapter, or the package document, has
    an absolute path or one that leads outside).
    """
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as book:
            package_name, package = _package(book, limits)
            chapters, titles, repairs = _chapters(book, package_name, package, limits)
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, zlib.error) as error:
        encrypted = "password" in str(error) or "encrypted" in str(error)
        raise Refused(Reason.ENCRYPTED if encrypted else Reason.CORRUPT, str(error)[:120]) from None
    found = {name.lower(): _plain(value) for name, value in reversed(_DUBLIN.findall(package))}
    body, wrapper = unwrapped("\n\n".join(chapters))
    meta = {key: found[key] for key in ("title", "creator", "rights") if found.get(key)} | wrapper
    yield from _documents(body, _Book(meta, found.get("language"), tuple(titles), repairs), limits)


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
    body, wrapper = unwrapped(reflowed(without_running_lines(pages)))
    meta = {"title": title.strip()[:300]} | wrapper if isinstance(title, str) and title.strip() else wrapper
    language = _LANGUAGES.get(str(meta.get("language", "")).lower())
    yield from _documents(body, _Book(meta, language, repairs=tuple(repairs)), limits)


def _package(book: zipfile.ZipFile, limits: Limits) -> tuple[str, str]:
    names = set(book.namelist())
    if "META-INF/encryption.xml" in names and "META-INF/rights.xml" in names:
        raise Refused(Reason.ENCRYPTED, "the book has digital rights management")
    try:
        container = _member(book, "META-INF/container.xml", limits)
        found = _ROOTFILE.search(container)
        name = found.group(1).decode("utf-8", "replace") if found else ""
        if _UNSAFE.match(name):
            raise Refused(Reason.UNSAFE_PATH, name[:120])
    except KeyError:
        name = next((item for item in sorted(names) if item.lower().endswith(".opf")), "")
    try:
        return name, readable_text(_member(book, name, limits))[0]
    except KeyError:
        raise Refused(Reason.CORRUPT, "no package document") from None


def _chapters(
    book: zipfile.ZipFile, package_name: str, package: str, limits: Limits
) -> tuple[list[str], list[str], tuple[Repair, ...]]:
    """Texts of the chapters, headings in order, and what was left out for a cause."""
    items = [_attributes(found) for found in _ITEM.findall(package)]
    paths = {item.get("id", ""): item.get("href", "") for item in items if "html" in item.get("media-type", "html")}
    navigation = {item.get("id", "") for item in items if "nav" in item.get("properties", "").split()}
    folder = posixpath.dirname(package_name)
    chapters: list[str] = []
    titles: list[str] = []
    missing = unsafe = total = 0
    for reference in _ITEMREF.findall(package):
        name = _attributes(reference).get("idref", "")
        if name in navigation or name not in paths:
            continue
        href = unquote(paths[name].split("#")[0])
        path = posixpath.normpath(posixpath.join(folder, href))
        if (_UNSAFE.match(href) and not href.startswith("..")) or _UNSAFE.match(path):
            unsafe += 1
            continue
        try:
            data = _member(book, path, limits)
        except KeyError:
            missing += 1
            continue
        total += len(data)
        if total > limits.unpacked_bytes:
            raise Refused(Reason.UNPACKED_TOO_LARGE, "chapters")
        markup = readable_text(data)[0]
        markup = _PAGE_BREAK.sub("", markup) if "pagebreak" in markup else markup
        if _is_apparatus(markup):
            continue
        chapters.append(visible_text(markup))
        titles += [title for heading in _elements(_HEADING, "</h", markup) if (title := _plain(heading))]
    if unsafe and not any(chapters):
        raise Refused(Reason.UNSAFE_PATH, f"{unsafe} chapters")
    repairs = [Repair(Reason.MISSING_MEDIA, missing, "chapters that the spine names")] if missing else []
    repairs += [Repair(Reason.UNSAFE_PATH, unsafe, "chapters that the spine names")] if unsafe else []
    return [chapter for chapter in chapters if chapter], titles, tuple(repairs)


def _is_apparatus(markup: str) -> bool:
    """Whether a chapter's file is a cover, a copyright page, or a list of links to the others."""
    matter = _MATTER.search(markup, 0, 20_000)
    if matter and not _LEFT_OUT.isdisjoint(matter.group(1).split()):
        return True
    body = markup[max(0, markup.find("<body")) :]
    links = list(_elements(_LINK, "</a", body))
    if len(links) < 5:
        return False
    return 4 * sum(len(_plain_whole(link)) for link in links) > 3 * len(_plain_whole(body))


def _elements(opening: re.Pattern[str], closing: str, markup: str) -> Iterator[str]:
    """Inner markup of short elements; linear in the length of `markup`."""
    for found in opening.finditer(markup):
        end = markup.find(closing, found.end(), found.end() + _ELEMENT_CHARACTERS)
        if end >= 0:
            yield markup[found.end() : end]


def _plain_whole(markup: str) -> str:
    return " ".join(_TAGS.sub(" ", markup).split())


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

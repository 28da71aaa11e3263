"""A web page to a document: its bytes decoded, its main text by data.extract, what it says about itself."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from expedition.data.decode.charset import decode_bytes
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.extract import page as pages

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.I)
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.I)
_TAG = re.compile(r"<(?:link|meta)\b[^<>]{0,2000}>", re.I)
_ATTRIBUTE = re.compile(r"([a-zA-Z:-]{2,30})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says about itself, and its main text."""

    text: str
    title: str | None = None
    language: str | None = None
    canonical: str | None = None
    repairs: tuple[Repair, ...] = ()


def declared_charset(data: bytes) -> str | None:
    """The encoding that a page's first 4 KiB declare, or None."""
    found = _META_CHARSET.search(data[:4096]) or _XML_ENCODING.search(data[:256])
    return None if found is None else found.group(1).decode("ascii", "ignore")


def read_page(data: bytes, limits: Limits, charset: str | None = None, setting: pages.Setting = "fast") -> Page:
    """Main text of an HTML page. `charset` is what the server declared, if it did.

    Raises Refused(ENCODING). Time is linear in the length; elements nested deeper than 512 are read without structure.
    """
    cut = len(data) > limits.html_bytes
    decoding = decode_bytes(data[: limits.html_bytes], charset or declared_charset(data))
    markup, repairs = decoding.text, decoding.repairs
    if cut:
        repairs += (Repair(Reason.CUT, 1, f"page of {len(data)} bytes"),)
    found = pages.extract(markup, setting)
    if found.cut:
        repairs += (Repair(Reason.TOO_DEEP, 1, "deep elements read without structure"),)
    text, removed = clean(found.text)
    if removed:
        repairs += (Repair(Reason.CONTROL_CHARACTERS, removed),)
    return Page(
        text=tidy(text),
        title=_line(found.title),
        language=None if found.language is None else found.language[:20],
        canonical=_canonical(markup),
        repairs=repairs,
    )


def page_piece(
    data: bytes,
    limits: Limits,
    *,
    charset: str | None = None,
    url: str | None = None,
    inner: str = "",
    setting: pages.Setting = "fast",
) -> Piece:
    """A page as a document. Raises Refused(NO_TEXT) where nothing is left, Refused(ENCODING)."""
    page = read_page(data, limits, charset, setting)
    if not page.text:
        raise Refused(Reason.NO_TEXT, "the page has no main text")
    meta = {"title": page.title} if page.title else {}
    return Piece(
        text=page.text[: limits.text_characters],
        inner=inner,
        url=url or page.canonical,
        language=page.language,
        meta=meta,
        repairs=page.repairs,
    )


def visible_text(markup: str) -> str:
    """All visible text of a page or chapter, structure kept, nothing judged as boilerplate."""
    return tidy(clean(pages.visible_text(markup))[0])


def _line(text: str | None) -> str | None:
    return " ".join(clean(text)[0].split())[:300] or None if text else None


def _canonical(markup: str) -> str | None:
    """The address that a page gives as its own, by link or by Open Graph."""
    for sign in ("canonical", "og:url"):
        place = markup.find(sign)
        start = markup.rfind("<", max(0, place - 2000), place) if place > 0 else -1
        found = _TAG.match(markup, start) if start >= 0 else None
        if found is None:
            continue
        named = {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(found.group())}
        value = html.unescape(named.get("href") or named.get("content") or "")
        if value.startswith(("http://", "https://")):
            return value[:2000]
    return None

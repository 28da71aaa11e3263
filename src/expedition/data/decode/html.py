"""A web page to its main text: parsed with lexbor, main content by resiliparse, then our own line filter."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from expedition.data.decode.charset import decode_bytes
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.lines import blocks_of, keep_prose
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.I)
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.I)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,30})\b[^<>]{0,4000}>")
_QUOTED = re.compile(rb"\"[^\"]*\"|'[^']*'")
_ATTRIBUTE = re.compile(rb"[\s/\"'=][^\s/\"'=<>]")
_ANY_TAG = re.compile(r"<[^<>]{0,4000}>")
_UNSEEN = re.compile(r"<(script|style|template|noscript)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_FLAT = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "option",
        "path",
        "rect",
        "circle",
        "use",
    ]
)
"""Elements that hold none of their own kind: they add nothing to the depth."""
_LEAST_MAIN = 200


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


def read_page(data: bytes, limits: Limits, charset: str | None = None) -> Page:
    """Main text of an HTML page. `charset` is what the server declared, if it did.

    Raises Refused(ENCODING). The time is bounded: pages deeper than `limits.html_depth` are read without structure.
    """
    cut = len(data) > limits.html_bytes
    decoding = decode_bytes(data[: limits.html_bytes], charset or declared_charset(data))
    markup, repairs = decoding.text, decoding.repairs
    if cut:
        repairs += (Repair(Reason.CUT, 1, f"page of {len(data)} bytes"),)
    if _too_deep(markup, limits.html_depth) or _crowded(markup, limits.html_attributes):
        return Page(_flat_text(markup), repairs=(*repairs, Repair(Reason.TOO_DEEP, 1, "read without structure")))
    tree = HTMLTree.parse(markup)
    text, removed = _main_text(tree)
    if removed:
        repairs += (Repair(Reason.CONTROL_CHARACTERS, removed),)
    head = tree.head
    return Page(
        text=text,
        title=_line(tree.title),
        language=_language(tree),
        canonical=None if head is None else _canonical(head),
        repairs=repairs,
    )


def page_piece(
    data: bytes, limits: Limits, *, charset: str | None = None, url: str | None = None, inner: str = ""
) -> Piece:
    """A page as a document. Raises Refused(NO_TEXT) where nothing is left, Refused(ENCODING)."""
    page = read_page(data, limits, charset)
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
    text: str = extract_plain_text(HTMLTree.parse(markup), main_content=False, alt_texts=False, list_bullets=True)
    return tidy(clean(text)[0])


def _main_text(tree: HTMLTree) -> tuple[str, int]:
    """Main text, and how many control characters were removed from it."""
    kept = keep_prose(blocks_of(_reduced(tree, main_content=True)))
    if len(kept) < _LEAST_MAIN:
        whole = keep_prose(blocks_of(_reduced(tree, main_content=False)))
        kept = whole if len(whole) > 2 * len(kept) else kept
    text, removed = clean(kept)
    return tidy(text), removed


def _reduced(tree: HTMLTree, *, main_content: bool) -> str:
    """The page as paragraphs, headings, list items and links only."""
    markup: str = extract_plain_text(
        tree,
        main_content=main_content,
        alt_texts=False,
        list_bullets=False,
        links=True,
        preserve_formatting="minimal_html",
    )
    return markup


def _line(text: str | None) -> str | None:
    return " ".join(clean(text)[0].split())[:300] or None if text else None


def _language(tree: HTMLTree) -> str | None:
    root = tree.document.query_selector("html[lang]") if tree.document is not None else None
    value = None if root is None else root.getattr("lang")
    return value.strip()[:20] or None if isinstance(value, str) else None


def _canonical(head: object) -> str | None:
    for selector, attribute in (("link[rel=canonical]", "href"), ("meta[property='og:url']", "content")):
        node = head.query_selector(selector)  # type: ignore[attr-defined]
        value = None if node is None else node.getattr(attribute)
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            return value[:2000]
    return None


def _too_deep(markup: str, limit: int) -> bool:
    """Whether elements nest deeper than `limit`. A cheap upper bound first: opened minus closed brackets."""
    codes = np.frombuffer(markup.encode("utf-8", "replace"), dtype=np.uint8)
    opens = np.flatnonzero(codes[:-1] == ord("<")) if codes.size > 1 else np.empty(0, np.int64)
    if opens.size <= limit:
        return False
    after = codes[opens + 1]
    letters = ((after | 32) >= ord("a")) & ((after | 32) <= ord("z"))
    steps = letters.astype(np.int64) - (after == ord("/"))
    if int(np.max(np.cumsum(steps) - np.minimum.accumulate(np.minimum(np.cumsum(steps), 0)))) <= limit:
        return False
    depth = deepest = 0
    for found in _TAG.finditer(markup):
        if found.group(2).lower() in _FLAT:
            continue
        depth = max(0, depth - 1) if found.group(1) else depth + 1
        deepest = max(deepest, depth)
        if deepest > limit:
            return True
    return False


def _crowded(markup: str, limit: int) -> bool:
    """Whether a tag has more attributes than `limit`: the parser compares each with all before it.

    Tags end at the first ">" here, also within quotes: a page that hides behind that costs its worker's time limit.
    """
    data = markup.encode("utf-8", "replace")
    codes = np.frombuffer(data, dtype=np.uint8)
    letters = np.append((codes[1:] | 32) - ord("a") < 26, False)
    opens, ends = np.flatnonzero((codes == ord("<")) & letters), np.flatnonzero(codes == ord(">"))
    # Only the first "<" before a ">" opens a tag; the others are inside it.
    places, firsts = np.unique(np.searchsorted(ends, opens), return_index=True)
    starts, closes = opens[firsts], np.append(ends, codes.size)[places]
    long = closes - starts > 2 * limit
    for start, end in zip(starts[long].tolist(), closes[long].tolist(), strict=True):
        if len(_ATTRIBUTE.findall(_QUOTED.sub(b"", data[start:end]))) > limit:
            return True
    return False


def _flat_text(markup: str) -> str:
    text = _ANY_TAG.sub("\n", _UNSEEN.sub("\n", markup))
    return tidy(clean("\n".join(line.strip() for line in text.split("\n") if line.strip()))[0])

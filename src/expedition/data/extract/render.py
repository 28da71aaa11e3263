"""Kept blocks as text: paragraphs parted by an empty line, list items and rows of tables a line each, code as it stands,
formulas as TeX."""

from __future__ import annotations

import html
import re
from typing import Any, Final

from expedition.data.extract import layout, weigh
from expedition.data.extract.formula import tex_of
from expedition.data.extract.table import Place
from expedition.data.extract.tags import TAG

_ITEMS: Final = frozenset(TAG[name] for name in ("li", "dt", "dd"))
_LI: Final = TAG["li"]
_PRE: Final = TAG["pre"]
_MARK: Final = chr(layout.MARK)
_SPACED = re.compile(r"[ \u00a0]*\u00a0[ \u00a0]*")
_INDENTED = re.compile(r"(?:\A|\n)\u00a0{2}")
"""Lines set in by no-break spaces are code or verse."""
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+|\s+\Z")


def render(scanned: Any, kept: list[int], tables: dict[int, Place]) -> str:
    """Text of the kept blocks, in order."""
    parts: list[str] = []
    before = -1
    for n in kept:
        text = block_text(scanned, n)
        if not text:
            continue
        item = (
            scanned.feature[n * weigh.WIDTH + weigh.TAG] == _LI and scanned.rows[n * layout.B_WIDTH + layout.B_PRE] != 1
        )
        if before >= 0:
            parts.append(_between(scanned, before, n, tables))
        parts.append(f"- {text}" if item and n not in tables else text)
        before = n
    return "".join(parts)


def block_text(scanned: Any, n: int) -> str:
    """Text of a block with its entities resolved and its formulas in place."""
    text = str(scanned.text_of(n))
    row = n * layout.B_WIDTH
    pre = scanned.rows[row + layout.B_PRE] == 1
    if "&" in text:
        text = html.unescape(text)
    if _MARK in text:
        text = _with_formulas(scanned, text, int(scanned.rows[row + layout.B_SPECIAL]))
    if pre or _INDENTED.search(text):
        return _BLANK_LINES.sub("", text.replace("\u00a0", " "))
    return _SPACED.sub(" ", text).strip() if "\u00a0" in text else text.strip()


def _with_formulas(scanned: Any, text: str, first: int) -> str:
    pieces = text.split(_MARK)
    parts = [pieces[0]]
    for number, piece in enumerate(pieces[1:], first):
        start, end, kind = (int(value) for value in scanned.special[3 * number : 3 * number + 3])
        parts += [tex_of(scanned.source[start:end].decode("utf-8", "replace"), kind), piece]
    return "".join(parts)


def _between(scanned: Any, before: int, after: int, tables: dict[int, Place]) -> str:
    """What parts two blocks."""
    old, new = tables.get(before), tables.get(after)
    if old is not None and new is not None and old.table == new.table:
        if old.row != new.row:
            return "\n"
        return " | " if old.cell != new.cell else " "
    width = weigh.WIDTH
    if _code_line(scanned, before) and _code_line(scanned, after):
        return "\n"
    both = (int(scanned.feature[before * width + weigh.TAG]), int(scanned.feature[after * width + weigh.TAG]))
    return "\n" if both[0] in _ITEMS and both[1] in _ITEMS else "\n\n"


def _code_line(scanned: Any, n: int) -> bool:
    """Whether a block is preformatted without being a <pre>: one line of code of many."""
    line = scanned.rows[n * layout.B_WIDTH + layout.B_PRE] == 1
    return bool(line and scanned.feature[n * weigh.WIDTH + weigh.TAG] != _PRE)

"""What each block looks like: length, letters, sentence ends, share of links; and how much it counts as prose."""

from __future__ import annotations

from typing import Any, Final

from expedition.data.compiled import compiled
from expedition.data.extract.attributes import BITS
from expedition.data.extract.layout import B_ELEMENT, B_END, B_LINKED, B_PRE, B_START, B_WIDTH, EL_TAG, EL_WIDTH
from expedition.data.extract.tags import HEADING

CHARS, SIZE, LETTERS, ENDS, STOPS, LINKED, WORDS, WEIGHT, TAG, DIGITS = range(10)
WIDTH: Final = 10
"""SIZE: characters, those of scripts without blanks twice. LINKED: per cent of the bytes within links."""
LONG: Final = 60
SHORT: Final = 25


@compiled
def _entity(text: Any, i: int, end: int) -> int:
    """Bytes of the entity at `i`, or 0."""
    k = i + 1
    while k < end and k < i + 12:
        c = text[k]
        if c == 59:
            return int(k + 1 - i) if k > i + 1 else 0
        if not (48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c == 35):
            return 0
        k += 1
    return 0


@compiled
def _wide(c: int, d: int) -> bool:
    """Whether the lead byte c, followed by d, starts a letter of a script that is written without blanks."""
    if c >= 0xE3:
        return c <= 0xED and not (c == 0xE3 and d == 0x80)
    return (c == 0xE0 and d >= 0xB8) or (c == 0xE1 and (d <= 0x82 or d == 0x9E or d == 0x9F))


@compiled
def _ends(text: Any, start: int, end: int) -> int:
    """1 if the block ends as a sentence does, in any script; closing quotes and brackets may follow."""
    i = end - 1
    low = max(start, end - 12)
    while i >= low:
        c = text[i]
        if c == 46 or c == 33 or c == 63 or c == 58:
            return 1
        if c == 34 or c == 39 or c == 41 or c == 93 or c == 32:
            i -= 1
            continue
        if c < 0x80 or i - 2 < start:
            return 0
        a, b = text[i - 2], text[i - 1]
        if a == 0xE2 and b == 0x80 and (c == 0x99 or c == 0x9D or c == 0xBA or c == 0x9C):
            i -= 3
            continue
        if b == 0xC2 and c == 0xBB:
            i -= 2
            continue
        if a == 0xE3 and b == 0x80 and (c == 0x8D or c == 0x8F):
            i -= 3
            continue
        return 1 if _stop(a, b, c) else 0
    return 0


@compiled
def _stop(a: int, b: int, c: int) -> bool:
    """Whether three bytes are a full stop of a script other than Latin: … 。！？؟։།။។॥।"""
    if a == 0xE2:
        return b == 0x80 and c == 0xA6
    if a == 0xE3:
        return b == 0x80 and c == 0x82
    if a == 0xEF:
        return b == 0xBC and (c == 0x81 or c == 0x9F or c == 0x8E)
    if a == 0xE0:
        return (b == 0xA5 and (c == 0xA4 or c == 0xA5)) or (b == 0xBC and (c == 0x8D or c == 0x8E))
    if a == 0xE1:
        return (
            (b == 0x81 and (c == 0x8A or c == 0x8B))
            or (b == 0x9F and (c == 0x94 or c == 0x95))
            or (b == 0x8D and c == 0xA2)
        )
    return (b == 0xD8 and c == 0x9F) or (b == 0xD6 and c == 0x89)


@compiled
def _count(text: Any, start: int, end: int, row: int, out: Any) -> None:
    chars = wide = letters = stops = words = digits = 0
    i = start
    while i < end:
        c = text[i]
        if c == 38:
            length = _entity(text, i, end)
            if length:
                i += length
                chars += 1
                continue
        i += 1
        if c < 0x80:
            chars += 1
            if c == 32 or c == 10:
                words += 1
            elif 97 <= c | 32 <= 122:
                letters += 1
            elif 48 <= c <= 57:
                digits += 1
            elif (c == 46 or c == 33 or c == 63) and (i == end or text[i] <= 34):
                stops += 1
        elif c >= 0xC0:
            chars += 1
            if c >= 0xE0 and i + 1 < end:
                if _wide(c, text[i]):
                    wide += 1
                    letters += 1
                elif _stop(c, text[i], text[i + 1]):
                    stops += 1
                elif c != 0xE2 and c != 0xEF and c < 0xF0 and not (c == 0xE3 and text[i] == 0x80):
                    letters += 1
            elif c >= 0xC3:
                letters += 1
    out[row + CHARS], out[row + SIZE], out[row + LETTERS] = chars, chars + wide, letters
    out[row + STOPS], out[row + WORDS], out[row + DIGITS] = stops, words + 1, digits


@compiled
def weigh(text: Any, elements: Any, rows: Any, tb: Any, out: Any) -> None:
    """Fills a row of `out` for each block in `rows`."""
    for number in range(len(rows) // B_WIDTH):
        at, row = number * B_WIDTH, number * WIDTH
        start, end = rows[at + B_START], rows[at + B_END]
        _count(text, start, end, row, out)
        out[row + ENDS] = _ends(text, start, end)
        out[row + LINKED] = 100 * rows[at + B_LINKED] // max(1, end - start)
        tag = elements[rows[at + B_ELEMENT] * EL_WIDTH + EL_TAG]
        out[row + TAG] = tag
        out[row + WEIGHT] = _weight(out, row, tb[BITS + tag], rows[at + B_PRE])


@compiled
def _weight(out: Any, row: int, bits: int, pre: int) -> int:
    """Characters that count as prose: none of headings, link lists, labels and figures."""
    size, linked = out[row + SIZE], out[row + LINKED]
    if pre == 1:
        return int(out[row + CHARS])
    if bits & HEADING or linked >= 60 or 10 * out[row + LETTERS] < 3 * out[row + CHARS]:
        return 0
    if size >= LONG and (linked < 40 or out[row + STOPS] > 0):
        return int(size * (100 - linked) // 100)
    if size >= SHORT and out[row + ENDS] and linked < 30:
        return int(size)
    return 0

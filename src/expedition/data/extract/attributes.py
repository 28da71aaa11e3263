"""Names and attributes of tags: what class, id, role, style and others say, read byte by byte into registers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from expedition.data.compiled import COMPILED, compiled
from expedition.data.extract import hints as h
from expedition.data.extract import tags as t
from expedition.data.extract.layout import HINTS, LANG, LANG_END, NAME, ROLE, TEX, VALUE, VALUE_END

_TABLE, _TR, _TD, _TH = (t.TAG[name] for name in ("table", "tr", "td", "th"))
_CLASS, _ID, _ROLE, _ITEMPROP = (t.ATTRIBUTE[name] for name in ("class", "id", "role", "itemprop"))
_STYLE, _HIDE, _ARIA, _ALT = (t.ATTRIBUTE[name] for name in ("style", "hidden", "aria-hidden", "alt"))
_TYPE, _LANG, _TESTID, _COMPONENT = (t.ATTRIBUTE[name] for name in ("type", "lang", "data-testid", "data-component"))
_MASK: Final = t.HASH_MASK
_SIZE: Final = t.TABLE_SIZE
BITS, OWN, KIND, TAG_NAMES = 0, 256, 512, 768
ATTRIBUTE_NAMES: Final = TAG_NAMES + 2 * _SIZE
STEP: Final = ATTRIBUTE_NAMES + 2 * _SIZE
"""Places in the table of look-ups: by tag its bits and own hints, by byte its kind (1 letter, 2 digit, 3 blank), hashes of
names with their numbers, and from STEP on the automaton: a row of 28 next states and the bits that hold, a state."""


@lru_cache(maxsize=1)
def tables() -> Any:
    """The lookups, made once a process."""
    own = np.zeros(256, np.int32)
    for name, bit in (
        ("nav", h.NAVIGATION),
        ("menu", h.NAVIGATION),
        ("footer", h.FOOTER),
        ("aside", h.SIDE),
        ("figcaption", h.CAPTION),
        ("button", h.CONSENT),
        ("dialog", h.CONSENT),
        ("article", h.CONTENT),
        ("main", h.CONTENT),
        ("header", h.HEADER),
        ("label", h.META),
        ("mjx-math", h.RENDERED),
    ):
        own[t.TAG[name]] = bit
    kind = np.zeros(256, np.int32)
    for code in range(256):
        if chr(code).isascii():
            kind[code] = (
                1 if chr(code).isalpha() else 2 if chr(code).isdigit() else 3 if chr(code) in " \t\r\n\f" else 0
            )
    made = np.concatenate([t.tag_bits(), own, kind, t.lookup(t.TAG), t.lookup(t.ATTRIBUTE), h.automaton()])
    return made if COMPILED else made.tolist()


@compiled
def hint_bits(src: Any, start: int, end: int, tb: Any) -> int:
    """Bits of every word of the vocabulary within src[start:end], its edges taken as word edges."""
    state = STEP + tb[STEP + 27]
    found = 0
    lower = False
    edge = True
    for i in range(start, end):
        c = src[i]
        kind = tb[KIND + c]
        if kind == 1:
            upper = c < 97
            if upper and lower:
                state = STEP + tb[state + 27]
                found |= tb[state + 28]
            lower = not upper
            state = STEP + tb[state + (c | 32) - 97]
            edge = False
        elif kind == 2:
            state = STEP + tb[state + 26]
            lower = False
            edge = False
        elif not edge:
            state = STEP + tb[state + 27]
            lower = False
            edge = True
        found |= tb[state + 28]
    return int(found | tb[STEP + tb[state + 27] + 28])


@compiled
def name_number(src: Any, i: int, at: int, tb: Any, w: Any) -> int:
    """Number of the name at `i` (0 if unknown); w[NAME] is where it ends."""
    key = 0
    while True:
        c = src[i]
        kind = tb[KIND + c]
        if kind == 1:
            c = c | 32
        elif kind == 3 or c == 62 or c == 47 or c == 61 or c == 0:
            break
        key = (key * 67 + c) & _MASK
        i += 1
    w[NAME] = i
    place = key % _SIZE
    while tb[at + place] >= 0:
        if tb[at + place] == key:
            return int(tb[at + _SIZE + place])
        place = (place + 1) % _SIZE
    return 0


@compiled
def read_attributes(src: Any, i: int, n: int, tb: Any, w: Any) -> int:
    """Reads attributes from `i` to after the tag's ">": w[HINTS], the alt and lang values, w[TEX] for TeX scripts."""
    found = 0
    while i < n:
        c = src[i]
        if c == 62:
            i += 1
            break
        if tb[KIND + c] == 3 or c == 47 or c == 61 or c == 0:
            i += 1
            continue
        number = name_number(src, i, ATTRIBUTE_NAMES, tb, w)
        i = w[NAME]
        while i < n and tb[KIND + src[i]] == 3:
            i += 1
        start = end = i
        if i < n and src[i] == 61:
            i += 1
            while i < n and tb[KIND + src[i]] == 3:
                i += 1
            quote = src[i]
            if quote == 34 or quote == 39:
                i += 1
                start = i
                while i < n and src[i] != quote:
                    i += 1
                end = i
                i += 1
            else:
                start = i
                while i < n and src[i] != 62 and tb[KIND + src[i]] != 3:
                    i += 1
                end = i
        if number:
            found |= _attribute(src, number, start, end, tb, w)
    w[HINTS] = found
    return min(i, n)


@compiled
def _tag_of_role(src: Any, start: int, end: int) -> int:
    """The table element that a role names, or 0: row; cell, gridcell, columnheader, rowheader; table, grid."""
    size, first = end - start, src[start]
    if size == 3 and first == 114 and src[start + 1] == 111 and src[start + 2] == 119:
        return _TR
    if (
        (size == 4 and first == 99 and src[start + 1] == 101)
        or (size == 8 and first == 103)
        or (size == 12 and first == 99 and src[start + 1] == 111)
    ):
        return _TD
    if size == 9 and first == 114 and src[start + 3] == 104:
        return _TH
    if (size == 5 and first == 116 and src[start + 1] == 97 and src[start + 2] == 98 and src[start + 3] == 108) or (
        size == 4 and first == 103
    ):
        return _TABLE
    return 0


@compiled
def _attribute(src: Any, number: int, start: int, end: int, tb: Any, w: Any) -> int:
    """Hints of one attribute; keeps where alt, lang and type values are."""
    if number == _CLASS or number == _ID or number == _ROLE or number == _TESTID or number == _COMPONENT:
        bits = hint_bits(src, start, end, tb) & ~h.STYLE_HIDDEN
        if bits & h.NOT_PREFORMATTED:
            bits &= ~h.PREFORMATTED
        if number == _ROLE:
            w[ROLE] = _tag_of_role(src, start, end)
        elif number == _CLASS and end - start == 2 and src[start] == 108 and src[start + 1] == 110:
            bits |= h.GUTTER  # class="ln"
        if number == _ID:
            bits &= ~h.META
        if bits & h.UNHIDDEN:
            bits &= ~h.HIDDEN
        return bits
    if number == _ITEMPROP:
        if end - start == 11 and src[start] == 100:
            return h.LEAD  # itemprop="description"
        return h.BODY if hint_bits(src, start, end, tb) & h.BODY else 0
    if number == _STYLE:
        if end - start < 12:
            return 0
        bits = hint_bits(src, start, end, tb)
        kept = 0 if bits & h.NOT_PREFORMATTED else bits & h.PREFORMATTED
        return kept | h.HIDDEN if bits & h.STYLE_HIDDEN else kept
    if number == _HIDE:
        return h.HIDDEN
    if number == _ARIA:
        return h.HIDDEN if end > start and src[start] | 32 == 116 else 0
    if number == _ALT:
        w[VALUE], w[VALUE_END] = start, end
    elif number == _LANG:
        if w[LANG] < 0:
            w[LANG], w[LANG_END] = start, end
    elif (
        number == _TYPE
        and end - start >= 8
        and src[start + 5] | 32 == 116
        and src[start + 6] | 32 == 101
        and src[start + 7] | 32 == 120
    ):
        w[TEX] = 1  # math/tex
    return 0


@compiled
def is_tex(src: Any, w: Any) -> bool:
    """Whether a picture's alternative text is TeX: within dollars, or with a command."""
    start, end = w[VALUE], w[VALUE_END]
    if end - start > 2 and src[start] == 36 and src[end - 1] == 36:
        return True
    for i in range(start, end - 2):
        if src[i] == 92 and (97 <= src[i + 1] <= 122 or src[i + 1] == 40 or src[i + 1] == 91):
            return True
    return False

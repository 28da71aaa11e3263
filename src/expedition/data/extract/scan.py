"""One pass over the bytes of a page: elements, and paragraphs of visible text with the element each lies in.

The tree is not kept: an element is a row (tag, parent, hints, range of blocks, range of rows below it), a block a row
(range of text, element, linked bytes). Rows are in document order, so that a subtree is a range in both tables. Every
byte is looked at a bounded number of times whatever the markup, the stack is bounded, and nothing recurses.
"""

from __future__ import annotations

from typing import Any

from expedition.data.compiled import compiled
from expedition.data.extract import hints as h
from expedition.data.extract import tags as t
from expedition.data.extract.attributes import BITS, KIND, OWN, TAG_NAMES, is_tex, name_number, read_attributes
from expedition.data.extract.layout import (
    AT_BLOCKS,
    AT_ELEMENTS,
    AT_SPECIAL,
    B_ELEMENT,
    B_END,
    B_IMAGE,
    B_LINKED,
    B_PRE,
    B_SPECIAL,
    B_START,
    B_WIDTH,
    BLOCKS,
    BREAKS,
    CUT,
    DEPTH,
    EL_END,
    EL_FIRST,
    EL_HINTS,
    EL_LAST,
    EL_PARENT,
    EL_SOURCE,
    EL_TAG,
    EL_WIDTH,
    ELEMENTS,
    HINTS,
    IMAGE,
    LINKS,
    LOST,
    MARK,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MUTE,
    NAME,
    OPEN,
    OPENED,
    OUT,
    OVER,
    PRE,
    ROLE,
    SPACE,
    SPECIALS,
    ST_BLOCK,
    ST_ELEMENT,
    ST_MUTE,
    ST_TAG,
    STACK,
    TEX,
    TITLE,
    TITLE_END,
    VALUE,
    VALUE_END,
)

_A, _P, _TR, _TD, _TH, _TABLE = (t.TAG[name] for name in ("a", "p", "tr", "td", "th", "table"))
_UL, _OL, _DL, _DT, _DD, _BR = (t.TAG[name] for name in ("ul", "ol", "dl", "dt", "dd", "br"))
_IMG, _AMP, _PRE, _HTML, _SCRIPT, _TITLE = (
    t.TAG[name] for name in ("img", "amp-img", "pre", "html", "script", "title")
)
_MATH, _BODY, _ARTICLE, _MAIN, _MENU, _HR = (t.TAG[name] for name in ("math", "body", "article", "main", "menu", "hr"))
_THEAD, _TBODY, _CODE = (t.TAG[name] for name in ("thead", "tbody", "code"))


@compiled
def _close_block(text: Any, w: Any) -> None:
    if w[OPEN]:
        number = w[BLOCKS]
        w[w[AT_BLOCKS] + number * B_WIDTH + B_END] = w[OUT]
        w[BLOCKS] = number + 1
        w[OPEN] = 0
    w[SPACE] = 0
    w[BREAKS] = 0


@compiled
def _open_block(text: Any, w: Any) -> None:
    row = w[BLOCKS] * B_WIDTH
    w[w[AT_BLOCKS] + row + B_START] = w[OUT]
    w[w[AT_BLOCKS] + row + B_ELEMENT] = w[STACK + w[DEPTH] * 4 + ST_ELEMENT]
    w[w[AT_BLOCKS] + row + B_LINKED] = 0
    w[w[AT_BLOCKS] + row + B_SPECIAL] = w[SPECIALS]
    w[w[AT_BLOCKS] + row + B_PRE] = 1 if w[PRE] else 2 if w[OPENED + _CODE] else 0
    w[w[AT_BLOCKS] + row + B_IMAGE] = w[IMAGE]
    w[IMAGE] = 0
    w[OPEN] = 1
    w[SPACE] = 0
    w[BREAKS] = 0


@compiled
def _boundary(text: Any, w: Any) -> None:
    """A block-level edge: ends the block, or the line within preformatted text."""
    if w[PRE]:
        if w[OPEN] and w[OUT] > w[w[AT_BLOCKS] + w[BLOCKS] * B_WIDTH + B_START] and text[w[OUT] - 1] != 10:
            text[w[OUT]] = 10
            w[OUT] += 1
    else:
        _close_block(text, w)


@compiled
def _break_line(text: Any, w: Any) -> None:
    """A <br>: a new line; two of them end the paragraph."""
    if not w[OPEN]:
        return
    if w[PRE]:
        text[w[OUT]] = 10
        w[OUT] += 1
        return
    w[BREAKS] += 1
    w[SPACE] = 0
    if w[BREAKS] >= 2:
        _close_block(text, w)


@compiled
def _text(src: Any, i: int, n: int, tb: Any, text: Any, w: Any) -> int:
    """Copies text from `i` to the next "<", blanks made one; returns where that is."""
    out = w[OUT]
    if w[MUTE]:
        while i < n and src[i] != 60:
            i += 1
        return i
    if w[PRE]:
        if not w[OPEN]:
            _open_block(text, w)
        while i < n and src[i] != 60:
            c = src[i]
            if c != 13 and (c >= 32 or c == 10 or c == 9):
                text[out] = c
                out += 1
            i += 1
        w[OUT] = out
        return i
    linked = w[OUT]
    space = w[SPACE]
    while i < n:
        c = src[i]
        if c == 60:
            break
        i += 1
        if c <= 32:
            if tb[KIND + c] == 3:
                space = 1
            continue
        if not w[OPEN]:
            _open_block(text, w)
        elif w[BREAKS]:
            text[out] = 10
            out += 1
            w[BREAKS] = 0
        elif space:
            text[out] = 32
            out += 1
        space = 0
        text[out] = c
        out += 1
    w[OUT] = out
    w[SPACE] = space
    if w[LINKS] and w[OPEN]:
        w[w[AT_BLOCKS] + w[BLOCKS] * B_WIDTH + B_LINKED] += out - linked
    return i


@compiled
def _literal(src: Any, i: int, tb: Any, text: Any, w: Any) -> int:
    """A "<" that opens no tag is text."""
    if w[MUTE]:
        return i + 1
    if not w[OPEN]:
        _open_block(text, w)
    elif w[SPACE]:
        text[w[OUT]] = 32
        w[OUT] += 1
    w[SPACE] = 0
    text[w[OUT]] = 60
    w[OUT] += 1
    return i + 1


@compiled
def _formula(text: Any, w: Any, start: int, end: int, kind: int) -> None:
    """Puts a mark for the formula whose source is [start, end); a picture right after a formula only repeats it."""
    if (
        w[OPEN]
        and w[OUT] > 0
        and text[w[OUT] - 1] == MARK
        and kind != 2
        and w[w[AT_SPECIAL] + w[SPECIALS] * 3 - 1] == 2
    ):
        if kind == 3:
            row = w[SPECIALS] * 3 - 3
            w[w[AT_SPECIAL] + row], w[w[AT_SPECIAL] + row + 1], w[w[AT_SPECIAL] + row + 2] = start, end, kind
        return
    if not w[OPEN]:
        _open_block(text, w)
    elif w[SPACE]:
        text[w[OUT]] = 32
        w[OUT] += 1
    w[SPACE] = 0
    text[w[OUT]] = MARK
    w[OUT] += 1
    row = w[SPECIALS] * 3
    w[w[AT_SPECIAL] + row], w[w[AT_SPECIAL] + row + 1], w[w[AT_SPECIAL] + row + 2] = start, end, kind
    w[SPECIALS] += 1


@compiled
def _pop(text: Any, w: Any, tb: Any) -> None:
    """Ends the innermost element."""
    row = w[DEPTH] * 4
    tag, element = w[STACK + row + ST_TAG], w[STACK + row + ST_ELEMENT]
    w[OPENED + tag] -= 1
    if w[STACK + row + ST_BLOCK]:
        if tag == _PRE or w[w[AT_ELEMENTS] + element * EL_WIDTH + EL_HINTS] & h.PREFORMATTED:
            w[PRE] -= 1
            if not w[PRE]:
                _close_block(text, w)
        _boundary(text, w)
        w[w[AT_ELEMENTS] + element * EL_WIDTH + EL_LAST] = w[BLOCKS] + w[OPEN]
        w[w[AT_ELEMENTS] + element * EL_WIDTH + EL_END] = w[ELEMENTS]
    if tag == _A:
        w[LINKS] -= 1
    w[MUTE] -= w[STACK + row + ST_MUTE]
    w[DEPTH] -= 1


@compiled
def _pop_to(text: Any, w: Any, tb: Any, depth: int) -> None:
    while w[DEPTH] >= depth:
        _pop(text, w, tb)


@compiled
def _open_in_scope(text: Any, w: Any, tb: Any, tag: int, inline_only: bool) -> int:
    """Depth of the innermost open `tag` that an end tag reaches, or 0."""
    if w[OPENED + tag] <= 0:
        return 0
    depth = w[DEPTH]
    while depth > 0:
        other = w[STACK + depth * 4 + ST_TAG]
        if other == tag:
            return int(depth)
        bits = tb[BITS + other]
        if inline_only and bits & t.BLOCK:
            return 0
        if (bits & t.BARRIER and tag != _TABLE and not (tag == _TR or tag == _TBODY or tag == _THEAD)) or (
            other == _TABLE and tag != _TABLE
        ):
            return 0
        depth -= 1
    return 0


@compiled
def _imply(text: Any, w: Any, tb: Any, tag: int, bits: int) -> None:
    """Ends the elements that the start of `tag` ends by itself (HTML: optional end tags)."""
    if bits & t.LISTED:
        other = tag
        if tag == _DT or tag == _DD:
            other = _DD if w[OPENED + _DD] > 0 and _listed_depth(text, w, tb, _DD) else _DT
        depth = _listed_depth(text, w, tb, other)
        if depth:
            _pop_to(text, w, tb, depth)
    elif tag == _TR or bits & t.CELL:
        depth = w[DEPTH]
        target = 0
        while depth > 0:
            open_tag = w[STACK + depth * 4 + ST_TAG]
            if open_tag == _TABLE:
                break
            if open_tag == _TD or open_tag == _TH or (open_tag == _TR and tag == _TR):
                target = depth
            depth -= 1
        if target and depth > 0:
            _pop_to(text, w, tb, target)
    if bits & t.BLOCK and w[OPENED + _P] > 0:
        depth = _open_in_scope(text, w, tb, _P, False)
        if depth:
            _pop_to(text, w, tb, depth)


@compiled
def _listed_depth(text: Any, w: Any, tb: Any, tag: int) -> int:
    """Depth of the list item that a new one ends: none beyond the innermost list."""
    if w[OPENED + tag] <= 0:
        return 0
    depth = w[DEPTH]
    while depth > 0:
        other = w[STACK + depth * 4 + ST_TAG]
        if other == tag:
            return int(depth)
        if other == _UL or other == _OL or other == _DL or other == _TABLE or other == _MENU:
            return 0
        depth -= 1
    return 0


@compiled
def _push(text: Any, w: Any, tag: int, block: bool, mute: bool, at: int) -> None:
    if w[DEPTH] + 1 >= MAX_DEPTH or w[ELEMENTS] >= MAX_ELEMENTS:
        w[OVER] += 1
        w[CUT] = 1
        return
    parent = w[STACK + w[DEPTH] * 4 + ST_ELEMENT]
    w[DEPTH] += 1
    row = w[DEPTH] * 4
    w[STACK + row + ST_TAG] = tag
    w[STACK + row + ST_BLOCK] = 1 if block else 0
    w[STACK + row + ST_MUTE] = 1 if mute else 0
    w[MUTE] += w[STACK + row + ST_MUTE]
    w[OPENED + tag] += 1
    element = parent
    if block:
        element = w[ELEMENTS]
        w[ELEMENTS] = element + 1
        place = element * EL_WIDTH
        w[w[AT_ELEMENTS] + place + EL_TAG] = w[ROLE] if w[ROLE] else tag
        w[w[AT_ELEMENTS] + place + EL_PARENT] = parent
        w[w[AT_ELEMENTS] + place + EL_HINTS] = w[HINTS]
        w[w[AT_ELEMENTS] + place + EL_FIRST] = w[BLOCKS] + w[OPEN]
        w[w[AT_ELEMENTS] + place + EL_SOURCE] = at
        if tag == _PRE or w[HINTS] & h.PREFORMATTED:
            if not w[PRE]:
                _close_block(text, w)
                w[w[AT_ELEMENTS] + place + EL_FIRST] = w[BLOCKS]
            w[PRE] += 1
    if tag == _A:
        w[LINKS] += 1
    w[STACK + row + ST_ELEMENT] = element


@compiled
def _hints(tb: Any, tag: int, bits: int) -> int:
    """Hints of class and tag together, contradictions resolved."""
    if bits & h.NOT_COMMENTS:
        bits &= ~h.COMMENTS
    if bits & h.NOT_SIDE:
        bits &= ~h.SIDE
    if tag == _BODY or tag == _HTML or tag == _MAIN:
        bits &= ~(h.FURNITURE | h.ALWAYS)
    if bits & h.LEAD:
        bits &= ~h.RELATED
    if bits & h.TAB:
        bits &= ~h.HIDDEN
    if tag == _PRE or tag == _CODE or tag == _TABLE or tag == _TBODY or tag == _TR:
        bits &= ~h.GUTTER
    if tag == _ARTICLE:
        bits &= ~(h.META | h.SIDE | h.SIGNUP)
    return int(bits | tb[OWN + tag])


@compiled
def _end_of(src: Any, i: int, n: int, name: int, length: int) -> int:
    """Start of the next end tag whose name is src[name:name + length], any case; -1 if there is none."""
    first = src[name] | 32
    while i < n - 1 - length:
        if src[i] == 60 and src[i + 1] == 47 and src[i + 2] | 32 == first:
            same = True
            for k in range(1, length):
                if src[i + 2 + k] | 32 != src[name + k] | 32:
                    same = False
                    break
            if same:
                return int(i)
        i += 1
    return -1


@compiled
def _passed_over(src: Any, at: int, i: int, n: int, tag: int, tb: Any, text: Any, w: Any) -> int:
    """Passes over the content of an element that shows no text; keeps the title's range and formulas. -1: not passed."""
    length = 1
    while tb[KIND + src[at + 1 + length]] in (1, 2):
        length += 1
    end = -1 if w[LOST + tag] else _end_of(src, i, n, at + 1, length)
    if end < 0:
        w[LOST + tag] = 1
        return n if tag == _SCRIPT else -1
    if tag == _TITLE and w[TITLE] < 0:
        w[TITLE], w[TITLE_END] = i, end
    elif tag == _MATH:
        _formula(text, w, at, end, 2)
    elif tag == _SCRIPT and w[TEX]:
        _formula(text, w, i, end, 3)
    end += 2
    while end < n and src[end] != 62:
        end += 1
    return min(end + 1, n)


@compiled
def _open_tag(src: Any, at: int, n: int, tb: Any, text: Any, w: Any) -> int:
    tag = name_number(src, at + 1, TAG_NAMES, tb, w)
    w[VALUE] = w[VALUE_END] = w[TEX] = w[ROLE] = 0
    i = read_attributes(src, w[NAME], n, tb, w)
    bits = tb[BITS + tag]
    if bits & t.SKIP:
        after = _passed_over(src, at, i, n, tag, tb, text, w)
        if after >= 0:
            return int(after)
    if bits & t.VOID or tag == _AMP:
        if tag == _IMG or tag == _AMP:
            w[IMAGE] = 1
        if tag == _BR:
            _break_line(text, w)
        elif tag == _HR:
            _boundary(text, w)
        elif (tag == _IMG or tag == _AMP) and w[VALUE_END] > w[VALUE] and (w[HINTS] & h.FORMULA or is_tex(src, w)):
            _formula(text, w, w[VALUE], w[VALUE_END], 1)
        return int(i)
    w[HINTS] = _hints(tb, tag, w[HINTS])
    block = bits & t.BLOCK != 0
    if block:
        _imply(text, w, tb, tag, bits)
        _boundary(text, w)
    elif tag == _A and w[LINKS]:
        depth = _open_in_scope(text, w, tb, _A, True)
        if depth:
            _pop_to(text, w, tb, depth)
    mute = w[HINTS] & (h.RENDERED | h.GUTTER) != 0 or (not block and w[HINTS] & h.HIDDEN != 0)
    if not block and not mute and tag != _A and w[HINTS] & h.INLINE and not w[PRE]:
        block = True
        _boundary(text, w)
    _push(text, w, tag, block, mute, at)
    return int(i)


@compiled
def _close_tag(src: Any, at: int, n: int, tb: Any, text: Any, w: Any) -> int:
    tag = name_number(src, at + 2, TAG_NAMES, tb, w)
    i = w[NAME]
    while i < n and src[i] != 62:
        i += 1
    if w[OVER]:
        if not tb[BITS + tag] & t.VOID:
            w[OVER] -= 1
        return int(i + 1)
    inline = tb[BITS + tag] & t.BLOCK == 0
    depth = _open_in_scope(text, w, tb, tag, inline)
    if depth:
        _pop_to(text, w, tb, depth)
    elif tag == _P or tag == _BR:
        _boundary(text, w)
    return int(i + 1)


@compiled
def _declaration(src: Any, at: int, n: int) -> int:
    """Passes over a comment, doctype or processing instruction."""
    i = at + 2
    if src[at + 1] == 33 and src[i] == 45 and src[i + 1] == 45:
        i += 2
        while i < n - 2:
            if src[i] == 45 and src[i + 1] == 45 and src[i + 2] == 62:
                return int(i + 3)
            i += 1
        return int(n)
    while i < n and src[i] != 62:
        i += 1
    return int(i + 1)


@compiled
def scan(src: Any, n: int, tb: Any, text: Any, w: Any) -> None:
    """Fills `text` and `w` from the page in src[:n]; eight zero bytes follow it."""
    i = 0
    while i < n:
        if src[i] != 60:
            i = _text(src, i, n, tb, text, w)
            continue
        c = src[i + 1]
        if tb[KIND + c] == 1:
            i = _open_tag(src, i, n, tb, text, w)
        elif c == 47 and tb[KIND + src[i + 2]] == 1:
            i = _close_tag(src, i, n, tb, text, w)
        elif c == 33 or c == 63 or c == 47:
            i = _declaration(src, i, n)
        else:
            i = _literal(src, i, tb, text, w)
    _pop_to(text, w, tb, 1)
    _close_block(text, w)
    w[w[AT_ELEMENTS] + EL_LAST] = w[BLOCKS]
    w[w[AT_ELEMENTS] + EL_END] = w[ELEMENTS]

"""Which part of a page holds its main text: furniture out, then down to the element that holds most of the prose."""

from __future__ import annotations

from typing import Any, Final

from expedition.data.compiled import compiled
from expedition.data.extract import hints as h
from expedition.data.extract.layout import EL_END, EL_FIRST, EL_HINTS, EL_LAST, EL_PARENT, EL_TAG, EL_WIDTH
from expedition.data.extract.tags import TAG as TAGS
from expedition.data.extract.weigh import WEIGHT, WIDTH

_H1: Final = TAGS["h1"]
_H2: Final = TAGS["h2"]
_ARTICLE: Final = TAGS["article"]
_BODY: Final = TAGS["body"]
_MAIN: Final = TAGS["main"]
_FOOTER: Final = TAGS["footer"]
_NAV: Final = TAGS["nav"]
LITTLE: Final = 150
MOST_STEPS: Final = 8
ENOUGH: Final = 250
"""Characters of prose that make a page worth its strictest reading."""
STRICT: Final = h.FURNITURE | h.HIDDEN
MASKS: Final = (STRICT, STRICT & ~h.COMMENTS, h.NAVIGATION | h.FOOTER | h.CONSENT | h.SHARE | h.ADVERT, 0)


@compiled
def sums(feature: Any, blocks: int, dropped: Any, out: Any) -> int:
    """Running sums of the weight of blocks that are not dropped: out[b] is what lies before block b. Returns all."""
    total = 0
    for b in range(blocks):
        out[b] = total
        if dropped[b] == 0:
            total += feature[b * WIDTH + WEIGHT]
    out[blocks] = total
    return int(total)


@compiled
def anchors(elements: Any, out: Any) -> None:
    """Running counts over elements of signs that the main text is near: h1, article, main, body hints; else any h2."""
    all_elements = len(elements) // EL_WIDTH
    for other in (_H1, _H2):
        count = 0
        for e in range(all_elements):
            out[e] = count
            row = e * EL_WIDTH
            tag = elements[row + EL_TAG]
            if tag == other or tag == _MAIN or tag == _ARTICLE or elements[row + EL_HINTS] & h.BODY:
                count += 1
        out[all_elements] = count
        if count:
            return


@compiled
def drop_furniture(elements: Any, weight: Any, quiet: Any, near: Any, mask: int, dropped: Any) -> None:
    """Marks the blocks of elements that hints call furniture, but for those that wrap the main text.

    `weight` and `quiet` are running sums over all blocks and over those outside comments.
    """
    blocks = len(weight) - 1
    for b in range(blocks):
        dropped[b] = 0
    total = weight[blocks]
    e, count = 0, len(elements) // EL_WIDTH
    while e < count:
        row = e * EL_WIDTH
        found = elements[row + EL_HINTS] & mask
        if (
            found == 0
            or _wraps(elements, row, e, weight, near, total)
            or (found == h.COMMENTS and _is_talk(elements, e, quiet, near))
        ):
            e += 1
            continue
        for b in range(elements[row + EL_FIRST], elements[row + EL_LAST]):
            dropped[b] = 1
        e = max(e + 1, elements[row + EL_END])


@compiled
def _is_talk(elements: Any, e: int, quiet: Any, near: Any) -> bool:
    """Whether comments are what the page is about: around them, up to its heading, there is hardly anything else."""
    own = near[elements[e * EL_WIDTH + EL_END]] - near[e]
    up = e
    while up > 0:
        up = elements[up * EL_WIDTH + EL_PARENT]
        row = up * EL_WIDTH
        if near[elements[row + EL_END]] - near[up] > own:
            return bool(quiet[elements[row + EL_LAST]] - quiet[elements[row + EL_FIRST]] < LITTLE)
    return False


@compiled
def _wraps(elements: Any, row: int, e: int, weight: Any, near: Any, total: int) -> bool:
    """Whether an element with a furniture name holds the main text after all."""
    held = weight[elements[row + EL_LAST]] - weight[elements[row + EL_FIRST]]
    if held * 10 < total * 3:
        return False
    tag = elements[row + EL_TAG]
    if tag == _NAV or tag == _FOOTER:
        return bool(held * 10 > total * 9)
    hints = elements[row + EL_HINTS]
    if hints & h.HIDDEN and not hints & h.BODY:
        return bool(held * 10 > total * 8)
    if hints & h.COMMENTS and not hints & (h.BODY | h.CONTENT):
        return bool(held * 100 > total * 97)
    inside = near[elements[row + EL_END]] - near[e + 1 if e + 1 < elements[row + EL_END] else e]
    return bool(inside > 0 or hints & (h.BODY | h.CONTENT) != 0 or held * 10 > total * 6)


@compiled
def descend(elements: Any, weight: Any, near: Any) -> int:
    """The element that holds the main text: from the root down as long as one child holds nearly all prose."""
    e = 0
    while True:
        row = e * EL_WIDTH
        held = weight[elements[row + EL_LAST]] - weight[elements[row + EL_FIRST]]
        best, most, second = -1, 0, 0
        child = e + 1
        while child < elements[row + EL_END]:
            place = child * EL_WIDTH
            inner = weight[elements[place + EL_LAST]] - weight[elements[place + EL_FIRST]]
            if inner > most:
                best, most, second = child, inner, most
            elif inner > second:
                second = inner
            child = max(child + 1, elements[place + EL_END])
        if best < 0:
            return int(e)
        first = _first_story(elements, row, weight)
        if first > 0:
            e = first
            continue
        if not _leads(elements, row, best, held, most, second, near):
            return int(e)
        e = best


@compiled
def _leads(elements: Any, row: int, best: int, held: int, most: int, second: int, near: Any) -> bool:
    """Whether a child holds the main text of its parent alone: most of the prose, the less the clearer its name is."""
    place = best * EL_WIDTH
    if elements[row + EL_HINTS] & h.BODY and most * 100 < held * 97:
        return False
    hints = elements[place + EL_HINTS]
    need = 50 if hints & h.BODY else 65 if hints & h.CONTENT else 80
    if second * 3 <= most:
        need = min(need, 55 if near[elements[place + EL_END]] - near[best] > 0 else 65)
    return most * 100 >= held * need


@compiled
def _first_story(elements: Any, row: int, weight: Any) -> int:
    """The first of several <article> children of one element if it has a first-rank heading of its own, else 0.

    Pages that load the next stories below the first repeat the whole article; lists of stories have no h1 in each.
    """
    first, count = 0, 0
    child = row // EL_WIDTH + 1
    while child < elements[row + EL_END]:
        place = child * EL_WIDTH
        if elements[place + EL_TAG] == _ARTICLE:
            count += 1
            if first == 0:
                first = child
                if weight[elements[place + EL_LAST]] - weight[elements[place + EL_FIRST]] < ENOUGH:
                    return 0
        child = max(child + 1, elements[place + EL_END])
    if count < 2:
        return 0
    for e in range(first + 1, elements[first * EL_WIDTH + EL_END]):
        if elements[e * EL_WIDTH + EL_TAG] == _H1:
            return int(first)
    return 0


@compiled
def lead_of(elements: Any, weight: Any, e: int) -> int:
    """The first block of what leads in to the element `e`: prose before it under the same article, if it is not much."""
    first = elements[e * EL_WIDTH + EL_FIRST]
    held = weight[elements[e * EL_WIDTH + EL_LAST]] - weight[first]
    start, up = first, e
    for _ in range(MOST_STEPS):
        if up <= 1 or elements[up * EL_WIDTH + EL_TAG] == _ARTICLE:
            break
        up = elements[up * EL_WIDTH + EL_PARENT]
        row = up * EL_WIDTH
        if elements[row + EL_TAG] == _BODY:
            break
        before = weight[first] - weight[elements[row + EL_FIRST]]
        after = weight[elements[row + EL_LAST]] - weight[elements[e * EL_WIDTH + EL_LAST]]
        if before * 4 > held or after > held:
            break
        if elements[row + EL_HINTS] & (h.CONTENT | h.BODY):
            start = elements[row + EL_FIRST]
    return int(start)

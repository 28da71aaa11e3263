"""HTML element and attribute names as small numbers, found by hash in flat tables."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 1
"""Starts and ends a paragraph of its own."""
VOID: Final = 2
"""Has no content and no end tag."""
SKIP: Final = 4
"""Its content is passed over up to its end tag."""
BARRIER: Final = 8
"""End tags of other elements do not reach through it."""
HEADING: Final = 16
CELL: Final = 32
LISTED: Final = 64

_BLOCKS: Final = (
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer form "
    "frameset h1 h2 h3 h4 h5 h6 header hgroup html li legend main menu nav ol p pre section summary table caption tbody "
    "td tfoot th thead tr ul button label head listing xmp search video audio object"
)
_VOIDS: Final = "area base br col embed hr img input link meta param source track wbr frame keygen"
_SKIPPED: Final = (
    "script style textarea iframe noembed noframes svg select template canvas title noscript math map datalist"
)
_BARRIERS: Final = "table td th caption html body object button"
_INLINE: Final = (
    "a abbr b bdi bdo big cite code data del dfn em font i ins kbd mark q s samp small span strike"
    " strong sub sup time tt u var"
)
NAMES: Final = tuple(dict.fromkeys(f"? {_BLOCKS} {_VOIDS} {_SKIPPED} {_INLINE} mjx-container mjx-math amp-img".split()))
TAG: Final = {name: number for number, name in enumerate(NAMES)}
ATTRIBUTES: Final = [
    "?",
    "class",
    "id",
    "role",
    "itemprop",
    "style",
    "hidden",
    "aria-hidden",
    "alt",
    "type",
    "lang",
    "href",
    "data-testid",
    "data-component",
    "data-mathml",
    "rel",
    "name",
    "property",
    "content",
    "aria-label",
    "data-type",
    "alttext",
]
ATTRIBUTE: Final = {name: number for number, name in enumerate(ATTRIBUTES)}
TABLE_SIZE: Final = 1024
HASH_MASK: Final = (1 << 31) - 1


def name_hash(name: str) -> int:
    """Hash of a lower-case name; the scanner computes the same byte by byte."""
    value = 0
    for code in name.encode():
        value = (value * 67 + code) & HASH_MASK
    return value


def tag_bits() -> NDArray[np.int32]:
    """What a scanner must know of each tag, by its number."""
    bits = np.zeros(256, np.int32)
    for names, bit in ((_BLOCKS, BLOCK), (_VOIDS, VOID), (_SKIPPED, SKIP), (_BARRIERS, BARRIER)):
        for name in names.split():
            bits[TAG[name]] |= bit
    for name in ("h1", "h2", "h3", "h4", "h5", "h6"):
        bits[TAG[name]] |= HEADING
    for name in ("td", "th"):
        bits[TAG[name]] |= CELL
    for name in ("li", "dt", "dd"):
        bits[TAG[name]] |= LISTED
    return bits


def lookup(numbers: dict[str, int]) -> NDArray[np.int32]:
    """Open-addressing table: TABLE_SIZE hashes (-1 where empty), then the number of each."""
    keys, values = np.full(TABLE_SIZE, -1, np.int32), np.zeros(TABLE_SIZE, np.int32)
    for name, number in numbers.items():
        if name == "?":
            continue
        key = name_hash(name)
        place = key % TABLE_SIZE
        while keys[place] >= 0:
            place = (place + 1) % TABLE_SIZE
        keys[place], values[place] = key, number
    return np.concatenate([keys, values])

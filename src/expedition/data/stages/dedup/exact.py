"""Exact copies: equal content after case, spaces and punctuation are taken away, media bytes counted in."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from expedition.data.stages.dedup.candidates import NO_PAIRS, Numbers, Pairs

TEXT_KINDS: Final = frozenset({"web", "books", "synthetic"})
"""Kinds whose texts are compared with each other; code is compared with code."""
NO_TOKENS: Final = xxhash.xxh3_128_digest(b"")


def content_key(kind: str, text: str, content: bytes, phash: str | None) -> bytes | None:
    """128-bit hash of what makes a document the same; `content` is the hash of its tokens (`tokens.hashed`).

    What counts is the text, and the fingerprint of its media where it has any. Code keeps its case and punctuation, and
    so does a text without a token. None for a media document without a fingerprint: equal captions are no copy.
    """
    family = "text" if kind in TEXT_KINDS else kind
    if kind == "code":
        content = "\n".join(line.rstrip() for line in text.strip().splitlines()).encode()
    elif family != "text":
        if not phash:
            return None
    elif content == NO_TOKENS:
        content = text.encode()
    return xxhash.xxh3_128_digest(f"{family}\0{phash or ''}\0".encode() + content)


def exact_pairs(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], numbers: Numbers) -> Pairs:
    """Pairs of the documents with one key, every one with the smallest number of its key."""
    if not len(numbers):
        return NO_PAIRS
    order = np.lexsort((numbers, low, high))
    high, low, numbers = high[order], low[order], numbers[order]
    new = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    first = numbers[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return np.stack([first, numbers], axis=-1)[~new]

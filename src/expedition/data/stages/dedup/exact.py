"""Exact copies: equal content after case, spaces and punctuation are taken away, media bytes counted in."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from expedition.data.stages.dedup.candidates import NO_PAIRS, Numbers, Pairs
from expedition.data.stages.dedup.tokens import Hashes, byte_token_hashes, token_pieces

TEXT_KINDS: Final = frozenset({"web", "books", "synthetic"})
"""Kinds whose texts are compared with each other; code is compared with code."""


def content_key(kind: str, text: str, phash: str | None) -> tuple[bytes | None, Hashes]:
    """128-bit hash of what makes a document the same, and its text's token hashes.

    What counts is the text, and the fingerprint of its media where it has any. Code keeps its case and punctuation.
    None for a media document without a fingerprint: equal captions are no copy.
    """
    family = "text" if kind in TEXT_KINDS else kind
    content = xxhash.xxh3_128(f"{family}\0{phash or ''}\0".encode())
    hashes = []
    for piece in token_pieces(text):
        hashes.append(byte_token_hashes(piece))
        if kind != "code":
            content.update(b" ".join(piece))
            content.update(b" ")
    tokens = hashes[0] if len(hashes) == 1 else np.concatenate(hashes)
    if kind == "code":
        content.update("\n".join(line.rstrip() for line in text.strip().splitlines()).encode())
    elif family == "text" and not len(tokens):
        content.update(text.encode())
    elif family != "text" and not phash:
        return None, tokens
    return content.digest(), tokens


def exact_pairs(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], numbers: Numbers) -> Pairs:
    """Pairs of the documents with one key, every one with the smallest number of its key."""
    if not len(numbers):
        return NO_PAIRS
    order = np.lexsort((numbers, low, high))
    high, low, numbers = high[order], low[order], numbers[order]
    new = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    first = numbers[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return np.stack([first, numbers], axis=-1)[~new]

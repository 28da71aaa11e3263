"""The compact variant of a vocabulary: the entries that some data uses, closed under merges, everything else as bytes.

Where all entries of a text's encoding are kept, the compact ids spell the same pieces: an entry's merge path lies
inside the closure, and a subset of the merges in the same order can do nothing that the whole set would not have done
first. Where one is not kept, the text falls into smaller pieces, down to bytes; nothing is ever lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from expedition.data.tokenizer.vocabulary import BYTES, Vocabulary
from expedition.errors import UsageError


def count_ids(
    encoded: Iterable[np.ndarray[Any, np.dtype[np.int32]]], entries: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each id below `entries` occurs, int64 [entries]."""
    counts = np.zeros(entries, np.int64)
    for ids in encoded:
        counts += np.bincount(ids, minlength=entries)
    return counts


def compact(vocabulary: Vocabulary, counts: np.ndarray[Any, np.dtype[np.int64]], entries: int) -> Vocabulary:
    """At most `entries` entries: the 256 bytes, then the most frequent with everything their merges need.

    `counts` is [len(vocabulary)]. Ties go to the lower id, so the result is a function of the counts alone. An entry
    whose closure no longer fits is passed over. Raises UsageError if `entries` is below 256.
    """
    if entries < BYTES:
        raise UsageError(f"compact_entries {entries} has no room for the 256 bytes", fix="give at least 256")
    used = np.flatnonzero(counts)
    order = used[np.lexsort((used, -counts[used]))]
    kept = set(range(BYTES))
    for number in order.tolist():
        if number in kept:
            continue
        needed = _closure(vocabulary, number, kept)
        if len(kept) + len(needed) <= entries:
            kept |= needed
        if len(kept) == entries:
            break
    return subset(vocabulary, kept)


def subset(vocabulary: Vocabulary, kept: set[int]) -> Vocabulary:
    """The entries `kept` in their order; it must hold the bytes and be closed under merges."""
    ordered = sorted(kept)
    renumbered = {number: index for index, number in enumerate(ordered)}
    parts = [
        [renumbered[part] for part in vocabulary.parts[number - BYTES].tolist()]
        for number in ordered
        if number >= BYTES
    ]
    return Vocabulary(tuple(vocabulary.tokens[number] for number in ordered), np.array(parts, np.int32).reshape(-1, 2))


def _closure(vocabulary: Vocabulary, number: int, kept: set[int]) -> set[int]:
    """`number` and the entries that its merges need, without those that are kept already."""
    needed: set[int] = set()
    stack = [number]
    while stack:
        current = stack.pop()
        if current in kept or current in needed:
            continue
        needed.add(current)
        stack.extend(vocabulary.parts[current - BYTES].tolist())
    return needed

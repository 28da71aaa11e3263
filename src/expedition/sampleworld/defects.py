"""Which items of a source get which defect: a pure function of seed, source and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expedition.sampleworld.text.prose import sequences, words_of
from expedition.sampleworld.world import stream

_PAIRED = frozenset({"exact_duplicate", "near_duplicate"})


@dataclass(frozen=True, slots=True)
class Role:
    """The defect of one item; `of` is the number of the original where the item is a copy."""

    kind: str
    number: int
    """Count within its kind, from 0."""
    of: int | None = None


def roles(seed: int, source: str, items: Sequence[int], wanted: Sequence[tuple[str, int]]) -> dict[int, Role]:
    """Defects by item number.

    `wanted` names defects and how many of each. Originals of copies stay whole, each is copied once, and at most half
    of the items are touched: where the source is too small, the later wishes get fewer.
    """
    order = [items[int(i)] for i in stream(seed, "roles", source).permutation(len(items))]
    given: dict[int, Role] = {}
    budget = len(items) // 2
    for kind, count in wanted:
        for number in range(count):
            cost = 2 if kind in _PAIRED else 1
            if budget < cost or len(order) < cost:
                break
            budget -= cost
            of = order.pop() if kind in _PAIRED else None
            given[order.pop()] = Role(kind, number, of)
    return given


def reworded(text: str, edits: int, rng: np.random.Generator) -> str:
    """`text` with `edits` of its words replaced, spacing kept."""
    parts = text.split(" ")
    for position in rng.permutation(len(parts))[:edits]:
        tail = parts[int(position)][-1:] if parts[int(position)][-1:] in ".,;" else ""
        parts[int(position)] = ("really", "quietly", "again", "maybe")[int(rng.integers(4))] + tail
    return " ".join(parts)


def jaccard(first: str, second: str, shingle: int = 5) -> float:
    """Similarity of two texts: shared part of their sets of `shingle` consecutive words, three decimals."""
    one, two = sequences(first, shingle), sequences(second, shingle)
    if not one | two:
        return float(words_of(first) == words_of(second))
    return round(len(one & two) / len(one | two), 3)


def damaged(data: bytes, number: int) -> tuple[bytes, str]:
    """A file that cannot be read as what it should be, and what is wrong with it; the ways come round by `number`."""
    way = number % 3
    if way == 0:
        # A WAV file that is cut later is still a shorter WAV file.
        return data[: 20 if data.startswith(b"RIFF") else len(data) // 3], "truncated"
    if way == 1:
        return b"", "empty"
    return bytes(255 - value for value in data[: len(data) // 2]), "not the format of its name"

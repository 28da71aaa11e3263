"""Which pairs of a group of one band key are compared: all in a small group, a bounded number a row in a large one.

A large group (boilerplate that millions share) is not compared pair by pair. Each row is paired with the group's first
`LEADERS` rows and with the first row that shares its next band as well, so n rows cost at most n (LEADERS + 1) pairs.
Real copies meet in other bands too, where groups are smaller; what the cap leaves out is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
"""Pairs [n, 2] of document numbers, the smaller first."""

ALL_PAIRS: Final = 32
"""Rows of a group up to which all pairs are compared."""
LEADERS: Final = 8
FINE_LEADERS: Final = 1 << 16
"""First rows by next band that are remembered of a group: a bound on memory."""
NO_PAIRS: Final = np.empty((0, 2), np.int64)


@dataclass(slots=True)
class Work:
    """What the cap met."""

    groups: int = 0
    capped_groups: int = 0
    capped_rows: int = 0

    def row(self) -> dict[str, int]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def candidate_pairs(keys: npt.NDArray[np.uint64], numbers: Numbers, fine: npt.NDArray[np.uint32], work: Work) -> Pairs:
    """Pairs of whole groups: rows sorted by key, within a key by number."""
    if not len(keys):
        return NO_PAIRS
    starts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    sizes = np.diff(np.concatenate((starts, [len(keys)])))
    work.groups += int((sizes > 1).sum())
    found = []
    for size in np.unique(sizes[(sizes > 1) & (sizes <= ALL_PAIRS)]).tolist():
        left, right = _all_pairs(size)
        first = starts[sizes == size][:, None]
        found.append(np.stack([numbers[first + left], numbers[first + right]], axis=-1).reshape(-1, 2))
    for place in np.flatnonzero(sizes > ALL_PAIRS).tolist():
        group = LargeGroup(work)
        end = starts[place] + sizes[place]
        found += group.pairs(numbers[starts[place] : end], fine[starts[place] : end])
    return distinct(np.concatenate(found)) if found else NO_PAIRS


def pairs_of_pieces(pieces: Iterator[tuple[Numbers, npt.NDArray[np.uint32]]], work: Work) -> Iterator[Pairs]:
    """Pairs of one group that comes in pieces, memory bounded whatever its size; equal to those of it as a whole."""
    held: list[tuple[Numbers, npt.NDArray[np.uint32]]] = []
    group: LargeGroup | None = None
    for numbers, fine in pieces:
        held.append((numbers, fine))
        if group is None and sum(len(each) for each, _ in held) > ALL_PAIRS:
            group = LargeGroup(work)
            work.groups += 1
        if group is not None:
            for pairs in group.pairs(*_joined(held)):
                yield distinct(pairs)
            held.clear()
    if held:
        numbers, fines = _joined(held)
        yield candidate_pairs(np.zeros(len(numbers), np.uint64), numbers, fines, work)


@dataclass(slots=True)
class LargeGroup:
    """The rows of a large group that the others are paired with."""

    work: Work
    leaders: list[int] = field(default_factory=list)
    fine: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work.capped_groups += 1

    def pairs(self, numbers: Numbers, fine: npt.NDArray[np.uint32]) -> list[Pairs]:
        """Pairs that the next rows of the group bring."""
        self.work.capped_rows += len(numbers)
        for number in numbers[: max(0, LEADERS - len(self.leaders))].tolist():
            self.leaders.append(number)
        found = [_ordered(np.full(len(numbers), leader, np.int64), numbers) for leader in self.leaders]
        values, firsts, places = np.unique(fine, return_index=True, return_inverse=True)
        for place in np.argsort(firsts, kind="stable").tolist():
            if len(self.fine) < FINE_LEADERS:
                self.fine.setdefault(int(values[place]), int(numbers[firsts[place]]))
        known = np.array([self.fine.get(value, -1) for value in values.tolist()], np.int64)[places]
        found.append(_ordered(known[known >= 0], numbers[known >= 0]))
        return found


def distinct(pairs: Pairs) -> Pairs:
    """The different pairs, sorted by second, then first."""
    if not len(pairs):
        return NO_PAIRS
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    new = np.concatenate(([True], (pairs[1:] != pairs[:-1]).any(axis=1)))
    return pairs[new]


def _joined(held: list[tuple[Numbers, npt.NDArray[np.uint32]]]) -> tuple[Numbers, npt.NDArray[np.uint32]]:
    return np.concatenate([each for each, _ in held]), np.concatenate([each for _, each in held])


def _ordered(a: Numbers, b: Numbers) -> Pairs:
    different = a != b
    a, b = a[different], b[different]
    return np.stack([np.minimum(a, b), np.maximum(a, b)], axis=-1)


@lru_cache(maxsize=ALL_PAIRS)
def _all_pairs(size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    left, right = np.triu_indices(size, 1)
    return left, right

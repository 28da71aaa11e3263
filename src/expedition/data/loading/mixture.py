"""Which kind comes at which index, so that every prefix holds every kind's share to within one.

Shares become whole numbers a_k with sum D (the period). In one period the j-th item of kind k may be placed only in the
slots [floor(j·D/a_k), ceil((j+1)·D/a_k)); placing, slot by slot, the allowed item whose interval ends first always
succeeds and keeps |count_k(n) − n·a_k/D| < 1 for every n (proportionate fairness: Baruah et al. 1996, one processor).
The table of one period answers any index in constant time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

MAX_PERIOD = 65_536
"""Longest period. Shares with a larger common denominator are rounded to it (largest remainders)."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of kinds, as whole numbers over their sum. `kinds` and `parts` run together; all parts are positive."""

    kinds: tuple[str, ...]
    parts: tuple[int, ...]

    @classmethod
    def from_weights(cls, weights: Mapping[str, float]) -> Mixture:
        """Exact for decimal weights with a small common denominator; weights of 0 are left out.

        Raises ValueError for negative or non-finite weights, or when none is positive.
        """
        for kind, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(f"weight of {kind} is {weight}; it must be finite and not negative")
        exact = {kind: _fraction(weight) for kind, weight in sorted(weights.items()) if weight > 0}
        if not exact:
            raise ValueError("no kind has a positive weight")
        total = sum(exact.values(), start=Fraction(0))
        shares = {kind: weight / total for kind, weight in exact.items()}
        period = math.lcm(*(share.denominator for share in shares.values()))
        if period > MAX_PERIOD:
            return cls(tuple(shares), _rounded(list(shares.values()), MAX_PERIOD))
        return cls(tuple(shares), tuple(int(share * period) for share in shares.values()))

    @property
    def period(self) -> int:
        """Indices after which the pattern repeats."""
        return sum(self.parts)

    def share(self, kind: str) -> Fraction:
        """Exact share of `kind`; 0 for one that is not in the mix."""
        return Fraction(self.parts[self.kinds.index(kind)], self.period) if kind in self.kinds else Fraction(0)

    def place(self, index: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each index (≥ 0): the kind's number in `kinds`, and how many of that kind came before it."""
        numbers = np.asarray(index, dtype=np.int64)
        slots, ordinals = _period_table(self.parts)
        block, slot = np.divmod(numbers, self.period)
        kind = slots[slot]
        return kind, block * np.asarray(self.parts, dtype=np.int64)[kind] + ordinals[slot]

    def place_one(self, index: int) -> tuple[int, int]:
        """`place` of a single index, in plain integers."""
        slots, ordinals = _period_lists(self.parts)
        block, slot = divmod(index, len(slots))
        kind = slots[slot]
        return kind, block * self.parts[kind] + ordinals[slot]


def _fraction(weight: float) -> Fraction:
    """The weight as written in decimal, or as the simple fraction that it is a rounding of (0.0333… is 1/30)."""
    exact = Fraction(repr(float(weight)))
    simple = exact.limit_denominator(10_000)
    return simple if simple > 0 and abs(simple - exact) <= 1e-15 * max(1.0, float(exact)) else exact


def _rounded(shares: list[Fraction], period: int) -> tuple[int, ...]:
    """Whole parts of `period`, none below 1, by largest remainders."""
    parts = [max(1, math.floor(share * period)) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda number: (parts[number] - shares[number] * period, number))
    for number in range(period - sum(parts)):
        parts[by_remainder[number % len(parts)]] += 1
    while sum(parts) > period:
        parts[parts.index(max(parts))] -= 1
    return tuple(parts)


@lru_cache(maxsize=32)
def _period_table(parts: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    period = sum(parts)
    slots = np.empty(period, dtype=np.int64)
    ordinals = np.empty(period, dtype=np.int64)
    waiting = [(0, kind, 0) for kind in range(len(parts))]
    allowed: list[tuple[int, int, int]] = []
    for slot in range(period):
        while waiting and waiting[0][0] <= slot:
            _, kind, item = heapq.heappop(waiting)
            heapq.heappush(allowed, (-(-(item + 1) * period // parts[kind]), kind, item))
        _, kind, item = heapq.heappop(allowed)
        slots[slot], ordinals[slot] = kind, item
        if item + 1 < parts[kind]:
            heapq.heappush(waiting, ((item + 1) * period // parts[kind], kind, item + 1))
    return slots, ordinals


@lru_cache(maxsize=32)
def _period_lists(parts: tuple[int, ...]) -> tuple[list[int], list[int]]:
    slots, ordinals = _period_table(parts)
    return slots.tolist(), ordinals.tolist()

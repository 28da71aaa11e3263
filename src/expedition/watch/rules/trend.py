"""Robust trend over a span: observations are binned, bins become medians, medians a Theil-Sen slope and a rank test."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

GAUSS = 1.4826
"""A median absolute deviation times this is the standard deviation of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A closed bin: its number on the axis, the median loss in it, and the first step."""

    number: int
    median: float
    first_step: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Trend over a full span."""

    change: float
    """Theil-Sen slope times the span, in the unit of the values: what the span changed, robustly."""
    z: float
    """Mann-Kendall z of the medians: above 0 rising, below 0 falling."""
    standard_error: float
    """Of `change`: robust scatter of the medians about the line times sqrt(12 / n), as for n even points on a line."""
    first_half_change: float
    second_half_change: float
    began_step: int
    newest: float


class TrendWindow:
    """Keeps the bins of the last span. `add` returns a Trend each time a bin closes and the span is covered."""

    def __init__(self, span: float, bins: int) -> None:
        self._width = span / bins
        self._bins = bins
        self._closed: deque[Bin] = deque(maxlen=bins)
        self._open: list[float] = []
        self._open_number = 0
        self._open_step = 0

    def add(self, position: float, step: int, value: float) -> Trend | None:
        """Add a finite value at `position` on the span's axis."""
        number = math.floor(position / self._width)
        closed = False
        if self._open and number != self._open_number:
            self._closed.append(Bin(self._open_number, median(self._open), self._open_step))
            self._open = []
            closed = True
        if not self._open:
            self._open_number, self._open_step = number, step
        self._open.append(value)
        return self._trend() if closed else None

    def _trend(self) -> Trend | None:
        newest = self._closed[-1].number
        kept = [b for b in self._closed if b.number > newest - self._bins]
        covered = newest - kept[0].number + 1
        if covered < self._bins or len(kept) < math.ceil(0.8 * self._bins):
            return None
        at = np.array([b.number for b in kept], dtype=np.float64)
        medians = np.array([b.median for b in kept], dtype=np.float64)
        half = len(kept) // 2
        slope = theil_sen(at, medians)
        residuals = medians - slope * at
        scatter = GAUSS * float(np.median(np.abs(residuals - np.median(residuals))))
        return Trend(
            change=slope * self._bins,
            z=mann_kendall_z(medians),
            standard_error=scatter * math.sqrt(12 / len(kept)),
            first_half_change=theil_sen(at[:half], medians[:half]) * half,
            second_half_change=theil_sen(at[half:], medians[half:]) * (len(kept) - half),
            began_step=kept[0].first_step,
            newest=float(medians[-1]),
        )


def theil_sen(at: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    """Median of the slopes of all pairs (Theil 1950, Sen 1968); breaks down only at 29 % outliers."""
    first, second = np.triu_indices(len(at), 1)
    return float(np.median((values[second] - values[first]) / (at[second] - at[first])))


def mann_kendall_z(values: npt.NDArray[np.float64]) -> float:
    """Normal approximation of the Mann-Kendall trend test (Kendall 1975), without ties in the variance."""
    n = len(values)
    first, second = np.triu_indices(n, 1)
    score = float(np.sign(values[second] - values[first]).sum())
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return (score - math.copysign(1, score)) / deviation if score else 0.0

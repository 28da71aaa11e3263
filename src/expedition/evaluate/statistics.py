"""Exact tests and intervals of evaluation: small, pure, and without any distribution that the data need not have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FLIPS = 100_000
"""Sign patterns that a paired test draws; its p-value is never below 1 / (FLIPS + 1)."""
RESAMPLES = 2_000
"""Resamples of a bootstrap interval."""


def tail(successes: int, chances: Sequence[float]) -> float:
    """P(X ≥ successes) for X a sum of independent yes/no draws with these chances (Poisson binomial), exact.

    With equal chances it is the one-sided exact binomial p-value. Raises ValueError for a chance outside 0..1.
    """
    if any(not 0 <= chance <= 1 for chance in chances):
        raise ValueError("a chance lies outside 0..1")
    mass = np.zeros(len(chances) + 1)
    mass[0] = 1.0
    for number, chance in enumerate(chances, start=1):
        mass[1 : number + 1] = mass[1 : number + 1] * (1 - chance) + mass[:number] * chance
        mass[0] *= 1 - chance
    return 1.0 if successes <= 0 else min(1.0, float(math.fsum(mass[successes:])))


def two_sided(successes: int, n: int, chance: float) -> float:
    """Exact two-sided binomial p-value: the sum over outcomes that are no more likely than the one seen."""
    mass = binomial_mass(n, chance)
    seen = mass[successes] * (1 + 1e-7)
    return min(1.0, math.fsum(p for p in mass if p <= seen))


def binomial_mass(n: int, chance: float) -> list[float]:
    """P(X = k) for k = 0..n."""
    if chance in (0.0, 1.0):
        return [float(k == (n if chance else 0)) for k in range(n + 1)]
    log, log_not = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(n + 1)
    return [
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log + (n - k) * log_not)
        for k in range(n + 1)
    ]


def wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927). n = 0 gives (0, 1)."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    scale = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def exact_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion: covers the truth with at least `confidence`. n = 0 gives (0, 1)."""
    half = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _root(lambda p: tail(successes, [p] * n) - half)
    high = 1.0 if successes == n else _root(lambda p: half - (1 - tail(successes + 1, [p] * n)))
    return low, high


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function on 0..1 crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(44):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected at family-wise `level` by Holm's step-down procedure (Holm 1979)."""
    return [adjusted <= level for adjusted in holm_adjusted(p_values)]


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """p-values that compare to the family-wise level directly."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def sign_flip(difference: Floats, seed: int, flips: int = FLIPS) -> float:
    """One-sided p-value that a mean of paired differences is above zero: P(mean as large | signs are fair coins).

    A permutation test for paired samples (Fisher 1935); it assumes no distribution.
    """
    if difference.size == 0:
        return 1.0
    generator = np.random.Generator(np.random.PCG64(seed))
    found, done, seen = 0, 0, float(difference.sum()) - 1e-9
    while done < flips:
        count = min(10_000, flips - done)
        signs = generator.integers(0, 2, size=(count, difference.size), dtype=np.int8).astype(np.float64) * 2 - 1
        found += int((signs @ difference >= seen).sum())
        done += count
    return (found + 1) / (flips + 1)


def worse_than_before(lost: int, won: int) -> float:
    """One-sided exact McNemar p-value that fewer items are answered now: `lost` and `won` count the changed ones."""
    return tail(lost, [0.5] * (lost + won))


def bootstrap_ratio(above: Floats, below: Floats, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile interval of sum(above) / sum(below) when items are drawn again (Efron 1979)."""
    if above.size == 0:
        return math.nan, math.nan
    generator = np.random.Generator(np.random.PCG64(seed))
    picks = generator.integers(0, above.size, size=(RESAMPLES, above.size))
    ratios = above[picks].sum(1) / below[picks].sum(1)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_mean(values: Floats, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile interval of a mean when items are drawn again."""
    return bootstrap_ratio(values, np.ones_like(values), confidence, seed)

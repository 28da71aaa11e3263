"""Tests and intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from expedition.evaluate import statistics

COUNTS = st.integers(1, 120).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CHANCES = st.floats(0.01, 0.99)


@given(COUNTS, CHANCES)
@settings(max_examples=60, deadline=None)
def test_tail_equals_scipy(counts: tuple[int, int], chance: float) -> None:
    right, n = counts
    expected = stats.binomtest(right, n, chance, alternative="greater").pvalue
    assert statistics.tail(right, [chance] * n) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@given(COUNTS, CHANCES)
@settings(max_examples=60, deadline=None)
def test_two_sided_equals_scipy(counts: tuple[int, int], chance: float) -> None:
    right, n = counts
    assert statistics.two_sided(right, n, chance) == pytest.approx(stats.binomtest(right, n, chance).pvalue, rel=1e-6)


@given(COUNTS, st.sampled_from([0.9, 0.95, 0.999]))
@settings(max_examples=40, deadline=None)
def test_intervals_equal_scipy(counts: tuple[int, int], confidence: float) -> None:
    right, n = counts
    test = stats.binomtest(right, n)
    for ours, method in ((statistics.wilson, "wilson"), (statistics.exact_interval, "exact")):
        expected = test.proportion_ci(confidence, method=method)
        assert ours(right, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-8)


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=7), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_tail_of_unequal_chances_equals_enumeration(chances: list[float], least: int) -> None:
    total = 0.0
    for outcome in range(2 ** len(chances)):
        bits = [(outcome >> place) & 1 for place in range(len(chances))]
        if sum(bits) >= least:
            total += float(np.prod([c if bit else 1 - c for bit, c in zip(bits, chances, strict=True)]))
    assert statistics.tail(least, chances) == pytest.approx(total, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
@settings(max_examples=60, deadline=None)
def test_holm_equals_its_definition(p_values: list[float], level: float) -> None:
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    expected, going = [False] * len(p_values), True
    for rank, place in enumerate(order):
        going = going and min(1.0, p_values[place] * (len(p_values) - rank)) <= level
        expected[place] = going
    assert statistics.holm(p_values, level) == expected


def test_sign_flip_agrees_with_the_exact_permutation_test() -> None:
    difference = np.asarray([0.3, -0.1, 0.7, 0.2, 0.9, -0.4, 0.5, 0.1])
    signs = np.asarray([[1 - 2 * ((number >> place) & 1) for place in range(8)] for number in range(256)])
    exact = float((signs @ difference >= difference.sum() - 1e-9).mean())
    assert statistics.sign_flip(difference, 5) == pytest.approx(exact, abs=0.005)
    assert statistics.sign_flip(np.ones(40), 5) == pytest.approx(1 / (statistics.FLIPS + 1))
    assert statistics.sign_flip(np.zeros(4), 5) == 1.0


def test_bootstrap_interval_covers_the_mean() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)
    low, high = statistics.bootstrap_mean(values, 0.95, 7)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_a_chance_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        statistics.tail(1, [1.5])

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.mixture import MAX_PERIOD, Mixture

weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 60), min_size=1).filter(
    lambda chosen: sum(chosen.values()) > 0
)


@given(weights, st.integers(0, 10**12))
@settings(max_examples=100, deadline=None)
def test_every_prefix_holds_every_share_to_within_one(chosen: dict[str, int], first: int) -> None:
    mixture = Mixture.from_weights(chosen)
    index = first + np.arange(2 * mixture.period)
    kinds, ordinals = mixture.place(index)
    for number, kind in enumerate(mixture.kinds):
        counts = ordinals[kinds == number] + 1
        exact = [Fraction(int(n) + 1) * mixture.share(kind) for n in index[kinds == number]]
        assert all(abs(int(count) - share) < 1 for count, share in zip(counts, exact, strict=True))
        before = [Fraction(int(n)) * mixture.share(kind) for n in index[kinds == number]]
        assert all(abs(int(count) - 1 - share) < 1 for count, share in zip(counts, before, strict=True))


@given(weights)
@settings(max_examples=50, deadline=None)
def test_ordinals_count_each_kind_without_gaps(chosen: dict[str, int]) -> None:
    mixture = Mixture.from_weights(chosen)
    kinds, ordinals = mixture.place(np.arange(3 * mixture.period))
    for number in range(len(mixture.kinds)):
        assert ordinals[kinds == number].tolist() == list(range(3 * mixture.parts[number]))


def test_shares_are_exact_for_decimals_and_simple_fractions() -> None:
    mixture = Mixture.from_weights({"web": 15 / 30, "code": 5 / 30, "books": 2 / 30, "rest": 8 / 30})
    assert mixture.share("books") == Fraction(1, 15)
    assert Mixture.from_weights({"web": 0.7, "code": 0.2, "books": 0.1}).parts == (1, 2, 7)


def test_awkward_weights_are_rounded_to_the_longest_period() -> None:
    mixture = Mixture.from_weights({"a": 0.123456789123, "b": 0.7654321, "c": 1e-9})
    assert mixture.period == MAX_PERIOD
    assert mixture.share("c") == Fraction(1, MAX_PERIOD)


@pytest.mark.parametrize("bad", [{"a": -1.0}, {"a": float("nan")}, {"a": 0.0}, {}])
def test_weights_that_make_no_mix_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Mixture.from_weights(bad)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.assign import CostWeights, assign, balance, in_order
from expedition.plan import load_programme

costs_of_batch = st.lists(st.floats(0, 1e6), min_size=0, max_size=80).map(np.asarray)


@given(costs_of_batch, st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_every_sequence_goes_to_one_rank_once(costs: np.ndarray, world: int, micro: int) -> None:
    parts = assign(costs, world, micro)
    assert [len(rank) for rank in parts] == [micro] * world
    flat = [position for rank in parts for part in rank for position in part]
    assert sorted(flat) == list(range(len(costs)))
    sizes = [len(part) for rank in parts for part in rank]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_parts_differ_by_no_more_than_the_dearest_sequence(rounds: list[float], world: int, micro: int) -> None:
    generator = np.random.default_rng(len(rounds))
    costs = generator.permutation(np.repeat(rounds, world * micro) * generator.random(len(rounds) * world * micro))
    loads = [costs[part].sum() for rank in assign(costs, world, micro) for part in rank]
    assert max(loads) - min(loads) <= costs.max() * (1 + 1e-9)


def test_one_dear_sequence_gets_the_cheap_company() -> None:
    costs = np.asarray([9.0, 1.0, 1.0, 9.0, 5.0, 5.0])
    assert [costs[part].sum() for rank in assign(costs, 2) for part in rank] == [15.0, 15.0]


def test_cost_counts_tokens_patches_and_frames() -> None:
    weights = CostWeights(token=1.0, patch=2.0, mel_frame=3.0)
    assert weights.cost(np.asarray([1]), np.asarray([10]), np.asarray([100])).tolist() == [321.0]


def test_ranks_must_be_positive() -> None:
    with pytest.raises(ValueError, match="world 0"):
        assign(np.ones(4), 0)


@pytest.mark.parametrize("world", [8, 64, 256])
def test_ranks_are_balanced_to_within_five_percent_on_a_mix_of_media(world: int) -> None:
    """4,096 sequences of 4,096 tokens, a third of them with pictures or clips; four micro-batches a rank."""
    generator = np.random.default_rng(world)
    kind = generator.choice(3, 4096, p=[0.65, 0.28, 0.07])
    patches = np.choose(kind, [0, generator.integers(2_000, 12_000, 4096), generator.integers(8_000, 16_000, 4096)])
    squares = generator.lognormal(14, 1, 4096).clip(1e5, 4096**2).astype(np.int64)
    costs = CostWeights().cost(generator.integers(3_900, 4_097, 4096), patches, np.zeros(4096, np.int64), squares)
    even, plain = balance(costs, assign(costs, world, 4)), balance(costs, in_order(4096, world, 4))
    assert even.rank_max_over_mean <= 1.05 and even.step_over_mean <= 1.05
    assert plain.step_over_mean > even.step_over_mean


def test_weights_of_a_model_are_its_multiply_adds() -> None:
    shape = load_programme("w26").models["10b"]
    weights = CostWeights.of_shape(shape, 152_064)
    at_4096 = weights.square * 4096**2 / (weights.token * 4096)
    assert 0.02 < at_4096 < 1, "attention of a whole sequence beside its products"
    assert 0 < weights.mel_frame < 1 and 0 < weights.patch < 2

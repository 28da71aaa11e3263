"""Stochastic rounding: unbiased, reproducible, and what plain bf16 loses."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from benchmarks.train.optimizers import curve_of
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.kernels.rounding import LANES, draw, lane, stochastic_round, stream_key
from expedition.plan.runs import OptimizerPlan
from expedition.train.optimizer import Optimizer

KEY = stream_key(7, "model.norm.weight")
UPDATE = torch.tensor(3)


def bits_of(count: int, number: int = 0) -> torch.Tensor:
    return lane(draw(KEY, UPDATE, torch.arange(count)), number)


@settings(deadline=None, max_examples=60)
@given(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), st.integers(0, 3))
def test_gives_one_of_the_two_neighbours_and_the_value_on_average(value: float, number: int) -> None:
    count = 4096
    rounded = stochastic_round(torch.full((count,), value), bits_of(count, number)).double()
    below = torch.tensor(value).view(torch.int32).bitwise_and(-65536).view(torch.float32).double()
    gap = float((rounded - below).abs().max())
    assert set(rounded.unique().tolist()) <= {float(below), float(below) + math.copysign(gap, value)}
    # Five standard deviations of the mean of `count` draws of a two-valued variable, at most gap / 2 each.
    assert abs(float(rounded.mean()) - value) <= 5 * 0.5 * gap / math.sqrt(count) + 1e-45


def test_values_of_bf16_and_those_that_are_not_finite_stay() -> None:
    exact = torch.randn(1000).bfloat16().float()
    assert torch.equal(stochastic_round(exact, bits_of(1000)).float(), exact)
    special = torch.tensor([math.inf, -math.inf, math.nan, 0.0, -0.0])
    rounded = stochastic_round(special, torch.full((5,), 65535, dtype=torch.int32)).float()
    assert torch.equal(rounded[:2], special[:2])
    assert rounded[2].isnan()
    assert torch.equal(rounded[3:].signbit(), torch.tensor([False, True]))


def test_every_bit_of_every_lane_is_fair_and_lanes_do_not_agree() -> None:
    count = 1 << 16
    lanes = [bits_of(count, number) for number in range(LANES)]
    for number in range(LANES):
        places = lanes[number][:, None] >> torch.arange(16) & 1
        # 64 counts, five standard deviations each: a fair coin fails once in 27,000 runs, and the bits are fixed.
        assert ((places.double().mean(0) - 0.5).abs() < 5 * 0.5 / math.sqrt(count)).all()
    for a in range(LANES):
        for b in range(a):
            same = float((lanes[a] == lanes[b]).double().mean())
            assert same < 5 / math.sqrt(count * 65536) + 1 / 65536


def test_bits_depend_on_place_update_name_and_seed_and_on_nothing_else() -> None:
    whole = draw(KEY, UPDATE, torch.arange(100))
    assert torch.equal(draw(KEY, UPDATE, torch.arange(40, 100)), whole[40:])
    others = [
        draw(KEY, UPDATE + 1, torch.arange(100)),
        draw(stream_key(8, "model.norm.weight"), UPDATE, torch.arange(100)),
        draw(stream_key(7, "model.layers.0.norm.weight"), UPDATE, torch.arange(100)),
        draw(KEY, UPDATE, torch.arange(100) + (1 << 40)),
    ]
    assert all(not (other == whole).any() for other in others)
    # Checkpoints of running runs rely on these bits.
    assert [hex(value & (1 << 64) - 1) for value in whole[:2].tolist()] == GOLDEN


GOLDEN = ["0xf283bad887c8697c", "0xaf953256115ef2f7"]


@pytest.mark.parametrize("elements", [1, 9, 20])
def test_bits_do_not_depend_on_the_rows_that_are_rounded_at_one_time(
    monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    def update() -> torch.Tensor:
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 30).reshape(5, 3, 2).bfloat16())
        optimizer = Optimizer({"w": parameter}, OptimizerPlan(weights="bf16_stochastic", moments="bf16"))
        for number in range(3):
            parameter.grad = torch.sin(parameter.detach() + number)
            optimizer.step(1e-3, torch.tensor(1.0), torch.tensor(True))
        return torch.stack([parameter.detach(), *optimizer.moments.values()])

    whole = update()
    monkeypatch.setattr("expedition.kernels.rounding._BLOCK_ELEMENTS", elements)
    assert torch.equal(update(), whole)


def descend(weights: str, updates: int = 400, seed: int = 0) -> float:
    """A weight at 1 that is pulled to 0 by updates of 2⁻¹¹ each, an eighth of bf16's spacing there."""
    parameter = torch.nn.Parameter(torch.ones(4096, dtype=torch.float32 if weights == "fp32" else torch.bfloat16))
    plan = OptimizerPlan(weights=weights if weights != "bf16" else "bf16_stochastic", weight_decay=0.0)
    optimizer = Optimizer({"w": parameter}, plan, seed)
    for _ in range(updates):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step(2.0**-11, torch.tensor(1.0), torch.tensor(True))
    return float(parameter.detach().float().mean())


def test_small_updates_move_stochastically_rounded_weights_as_they_move_fp32_ones() -> None:
    target = descend("fp32")
    assert target == pytest.approx(1 - 400 * 2.0**-11, abs=1e-3)
    # Each of 400 roundings errs by at most 2⁻⁸ · ½ (below 1) with mean 0, over 4,096 weights.
    bound = 5 * math.sqrt(400 / 4096) * 2.0**-9
    assert descend("bf16_stochastic") == pytest.approx(target, abs=bound)
    stalled = torch.ones(1, dtype=torch.bfloat16)
    for _ in range(400):
        stalled -= 2.0**-11
    assert float(stalled) == 1.0


def test_a_model_of_stochastically_rounded_weights_learns_as_one_of_fp32_and_plain_bf16_does_not() -> None:
    """The whole measurement is benchmarks/train/optimizers.py; this is its beginning."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ends = {
        rounding: statistics.fmean(curve_of(f"AdamW, {rounding}", 90, seed=1)[-20:])
        for rounding in ("fp32", "bf16 weights, stochastic", "bf16 weights, to nearest")
    }
    torch.set_num_threads(threads)
    first = 4.43
    learnt = first - ends["fp32"]
    assert learnt > 1.5
    # Rounding adds 2⁻⁹ of noise to a weight in each step; over seeds the ends differ by about 0.01.
    assert abs(ends["bf16 weights, stochastic"] - ends["fp32"]) < 0.05 * learnt
    assert first - ends["bf16 weights, to nearest"] < 0.9 * learnt

"""The learning rate by step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expedition.plan.runs import RunPlan
from expedition.train.schedule import learning_rate

KINDS = st.sampled_from(["wsd", "inverse_sqrt", "cosine"])
SHAPES = st.sampled_from(["linear", "minus_sqrt", "cosine"])
UNITS = st.sampled_from(["steps", "tokens"])
STEP_TOKENS = 20


def plan(kind: str, total: int, warmup: int, decay: str | None = None, **changes: Any) -> RunPlan:
    rate = {"kind": kind, "peak": 1.0, "floor": 0.1, "warmup": f"{warmup} steps", "decay": decay}
    shape = changes.pop("decay_shape", "linear")
    base = {"length": f"{total} steps", "batch_sequences": 2, "sequence_length": 10}
    return RunPlan(**{**base, **changes}, learning_rate={**rate, "decay_shape": shape})


def rates_of(run: RunPlan) -> list[float]:
    return [learning_rate(run, step) for step in range(run.total_steps)]


@given(KINDS, SHAPES, st.integers(2, 200), st.integers(0, 50), UNITS, UNITS)
def test_rises_to_the_peak_then_never_rises_and_ends_at_the_floor(
    kind: str, shape: str, total: int, warmup: int, length_unit: str, warmup_unit: str
) -> None:
    warmup = min(warmup, total - 2)
    tokens = {"length": f"{total * STEP_TOKENS} tokens"} if length_unit == "tokens" else {}
    run = plan(kind, total, warmup, decay_shape=shape, **tokens)
    if warmup_unit == "tokens":
        rate = run.learning_rate.model_dump() | {"warmup": f"{warmup * STEP_TOKENS} tokens"}
        run = RunPlan(**{**run.model_dump(), "learning_rate": rate})
    rates = rates_of(run)
    top = rates.index(max(rates))
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[top:]))
    assert max(rates) <= 1.0
    if kind == "cosine" or total >= 5:
        assert rates[-1] == pytest.approx(0.1)


def test_wsd_is_flat_between_warm_up_and_decay() -> None:
    rates = rates_of(plan("wsd", 100, 10, "20 steps"))
    assert rates[4] == pytest.approx(0.5)
    assert set(rates[9:80]) == {1.0}
    assert rates[89] == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("shape", "left"), [("linear", 0.5), ("minus_sqrt", 1 - math.sqrt(0.5)), ("cosine", 0.5)], ids=lambda value: value
)
def test_the_decay_has_its_shape_half_way(shape: str, left: float) -> None:
    rates = rates_of(plan("wsd", 100, 10, "20 steps", decay_shape=shape))
    assert rates[89] == pytest.approx(0.1 + 0.9 * left)


def test_inverse_sqrt_falls_with_the_root_of_the_time_and_then_decays() -> None:
    rates = rates_of(plan("inverse_sqrt", 100, 4, "20 steps"))
    assert rates[3] == 1.0
    assert rates[15] == pytest.approx(0.5)
    assert rates[63] == pytest.approx(0.25)
    assert rates[89] == pytest.approx(0.1 + (math.sqrt(4 / 80) - 0.1) / 2)


def test_in_tokens_equals_in_steps_while_the_batch_does_not_change() -> None:
    in_steps = rates_of(plan("wsd", 100, 10, "20 steps"))
    assert rates_of(plan("wsd", 100, 10, "400 tokens")) == in_steps
    assert rates_of(plan("wsd", 100, 10, length="2000 tokens")) == in_steps
    assert rates_of(plan("cosine", 100, 10, length="2000 tokens")) == rates_of(plan("cosine", 100, 10))


@given(KINDS, SHAPES, st.integers(1, 60), st.integers(0, 600), st.integers(1, 1200))
def test_a_schedule_in_tokens_does_not_depend_on_the_batch_ramp(
    kind: str, shape: str, first: int, warmup_tokens: int, decay_tokens: int
) -> None:
    """Two runs of as many tokens in other batches have the same rate where they have trained on as many tokens."""
    rate = {
        "kind": kind,
        "peak": 1.0,
        "floor": 0.1,
        "warmup": f"{warmup_tokens} tokens",
        "decay": f"{decay_tokens} tokens",
        "decay_shape": shape,
    }
    base: dict[str, Any] = {"length": "2400 tokens", "sequence_length": 10, "learning_rate": rate}
    ramp = RunPlan(
        **base,
        batch_sequences=[{"from_step": 0, "sequences": 2}, {"from_step": first, "sequences": 4}],
    )
    plain = RunPlan(**base, batch_sequences=2)
    assume(ramp.tokens_after(ramp.total_steps) == plain.tokens_after(plain.total_steps))
    at_tokens = {plain.tokens_after(step + 1): learning_rate(plain, step) for step in range(plain.total_steps)}
    for step in range(ramp.total_steps):
        seen = ramp.tokens_after(step + 1)
        assert learning_rate(ramp, step) == at_tokens[seen], (step, seen)

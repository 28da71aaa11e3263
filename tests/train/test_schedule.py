"""The learning rate by step."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.plan.runs import RunPlan
from expedition.train.schedule import learning_rate


def plan(kind: str, total: int, warmup: int, decay: str | None = None) -> RunPlan:
    rate = {"kind": kind, "peak": 1.0, "floor": 0.1, "warmup": f"{warmup} steps", "decay": decay}
    return RunPlan(length=f"{total} steps", learning_rate=rate, batch_sequences=2, sequence_length=10)


@given(st.sampled_from(["wsd", "cosine"]), st.integers(2, 200), st.integers(0, 50))
def test_rises_to_the_peak_then_never_rises_and_ends_at_the_floor(kind: str, total: int, warmup: int) -> None:
    run = plan(kind, total, min(warmup, total - 2))
    rates = [learning_rate(run, step) for step in range(total)]
    top = rates.index(max(rates))
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[top:]))
    assert max(rates) <= 1.0
    if kind == "cosine" or total >= 5:
        assert rates[-1] == pytest.approx(0.1)


def test_wsd_is_flat_between_warm_up_and_decay() -> None:
    rates = [learning_rate(plan("wsd", 100, 10, "20 steps"), step) for step in range(100)]
    assert rates[4] == pytest.approx(0.5)
    assert set(rates[9:80]) == {1.0}
    assert rates[89] == pytest.approx(0.55)


def test_a_decay_in_tokens_is_counted_back_from_the_end() -> None:
    in_tokens = plan("wsd", 100, 10, "400 tokens")
    in_steps = plan("wsd", 100, 10, "20 steps")
    assert [learning_rate(in_tokens, s) for s in range(100)] == [learning_rate(in_steps, s) for s in range(100)]

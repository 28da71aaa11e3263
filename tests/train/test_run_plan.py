"""A run plan's arithmetic of steps and tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from expedition.plan.runs import BatchStage, Duration, RunPlan


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    gaps = draw(st.lists(st.integers(1, 20), max_size=3))
    starts = [0]
    for gap in gaps:
        starts.append(starts[-1] + gap)
    stages = tuple(BatchStage(from_step=start, sequences=draw(st.integers(1, 9))) for start in starts)
    return RunPlan(batch_sequences=stages, sequence_length=draw(st.integers(8, 64)))


@given(plans(), st.integers(0, 100))
def test_sequences_before_a_step_are_the_sum_of_the_batches(plan: RunPlan, step: int) -> None:
    assert plan.sequences_before(step) == sum(plan.batch_sequences_at(before) for before in range(step))


@given(plans(), st.integers(0, 50_000))
def test_steps_for_tokens_is_the_first_step_that_covers_them(plan: RunPlan, tokens: int) -> None:
    steps = plan.steps_for(Duration.of_tokens(tokens))
    assert plan.tokens_after(steps) >= tokens
    assert steps == 0 or plan.tokens_after(steps - 1) < tokens


@given(plans(), st.integers(1, 3000), st.integers(1, 60))
def test_intervals_in_tokens_are_crossed_as_often_as_they_fit(plan: RunPlan, tokens: int, steps: int) -> None:
    every = Duration.of_tokens(tokens)
    crossed = sum(plan.crosses(every, step) for step in range(steps))
    assert crossed <= plan.tokens_after(steps) // tokens
    if tokens >= max(stage.sequences for stage in plan.batch_sequences) * plan.sequence_length:
        assert crossed == plan.tokens_after(steps) // tokens


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("400 steps", 400, "steps"), ("1.5T tokens", 1_500_000_000_000, "tokens"), ("500B tokens", 5 * 10**11, "tokens")],
)
def test_a_duration_is_written_as_people_say_it(text: str, value: int, unit: str) -> None:
    duration = Duration.model_validate(text)
    assert (duration.value, duration.unit) == (value, unit)
    assert Duration.model_validate(duration.model_dump()) == duration


@pytest.mark.parametrize("text", ["400", "1.5 steps", "-3 steps", "soon"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match="steps"):
        Duration.model_validate(text)


def test_a_batch_that_does_not_divide_into_ranks_and_micro_batches_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not divide"):
        RunPlan(batch_sequences=6, micro_batches=4)


def test_a_plan_survives_json() -> None:
    plan = RunPlan(batch_sequences=4, inject=({"step": 3, "kind": "loss_spike"},), teacher={"run": "main"})
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan

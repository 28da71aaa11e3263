"""The critical path agrees with an independent longest-path search; float means what it says."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import UsageError
from expedition.plan import load_programme
from expedition.plan.schedule import SchedulePlan, Task, Workstream
from expedition.programme.gantt import svg, terminal
from expedition.programme.schedule import critical_path, data_lead_weeks, spread, times


@st.composite
def plans(draw: st.DrawFn) -> SchedulePlan:
    count = draw(st.integers(1, 9))
    tasks = []
    for number in range(count):
        after = draw(st.lists(st.integers(0, max(number - 1, 0)), max_size=3, unique=True)) if number else []
        tasks.append(
            Task(
                id=f"t{number}", workstream="w", title="T", start_week=draw(st.integers(0, 4)),
                weeks=draw(st.integers(1, 6)), after=tuple(f"t{other}" for other in after),
            )
        )  # fmt: skip
    return SchedulePlan(
        start="2027-01-04", workstreams=(Workstream(id="w", title="W"),), tasks=tuple(tasks), milestones=()
    )  # type: ignore[arg-type]


def longest(plan: SchedulePlan) -> float:
    """Longest chain by plain recursion over all paths: another way to the finish."""
    tasks = {task.id: task for task in plan.tasks}

    def finish(name: str) -> float:
        task = tasks[name]
        return max([task.start_week, *(finish(other) for other in task.after)]) + task.weeks

    return max(finish(name) for name in tasks)


@given(plans())
def test_finish_equals_the_longest_chain(plan: SchedulePlan) -> None:
    found = times(plan)
    assert max(item.early_finish for item in found.values()) == longest(plan)


@given(plans())
def test_critical_path_is_a_chain_that_ends_at_the_finish(plan: SchedulePlan) -> None:
    found, path = times(plan), critical_path(plan)
    assert found[path[-1]].early_finish == longest(plan)
    for before, after in itertools.pairwise(path):
        assert found[before].early_finish == found[after].early_start
    first = next(task for task in plan.tasks if task.id == path[0])
    assert found[path[0]].early_start == first.start_week


@settings(max_examples=40)
@given(plans(), st.data())
def test_total_float_is_exactly_the_slip_that_moves_nothing(plan: SchedulePlan, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([task.id for task in plan.tasks]))
    slack = times(plan)[name].total_float
    finish = longest(plan)
    slipped = times(plan, {name: slack})
    assert math.isclose(max(item.early_finish for item in slipped.values()), finish)
    more = times(plan, {name: slack + 1})
    assert max(item.early_finish for item in more.values()) == finish + 1


def test_the_chapter_schedule() -> None:
    plan = load_programme("w26").schedule
    found = times(plan)
    assert max(item.early_finish for item in found.values()) == 26
    path = critical_path(plan)
    assert path[-3:] == ["main_run", "full_evaluation", "kit"]
    for name in ("pipeline_mvp", "dataset_v0_1", "cluster_and_io", "burn_in", "rehearsal_1b", "main_run"):
        assert found[name].critical, name
    assert found["main_run"].early_start == plan.merge_week == 10
    assert data_lead_weeks(plan) >= 4
    assert data_lead_weeks(plan, {"pipeline_mvp": 0.5}) < 4


def test_spread_is_reproducible_and_ordered() -> None:
    plan = load_programme("w26").schedule
    first, second = spread(plan), spread(plan)
    assert first == second
    assert first.p50 <= first.p80
    assert first.p50 > 26


def test_unknown_slip_names_the_tasks() -> None:
    with pytest.raises(UsageError, match="main_run"):
        times(load_programme("w26").schedule, {"main": 1})


def test_gantt_shows_every_task() -> None:
    plan = load_programme("w26").schedule
    text, picture = terminal(plan, columns=120), svg(plan)
    for task in plan.tasks:
        assert task.title[:27] in text
        assert task.title.replace("&", "&amp;") in picture
    assert "█" in text and "◆" in text
    import xml.etree.ElementTree as ElementTree

    ElementTree.fromstring(picture)

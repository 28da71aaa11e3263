"""The schedule: earliest and latest dates, float, critical path, slips, and the spread of the finish.

Critical path method on the tasks' dependencies. A task starts at its planned week or when its predecessors end,
whichever is later; "ongoing" tasks run alongside and hold nothing. All times are weeks from the programme's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from expedition.errors import UsageError
from expedition.plan.schedule import SchedulePlan, Task

EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """Times of one task, weeks. `total_float` may be used without moving the finish, `free_float` without moving any task."""

    id: str
    early_start: float
    early_finish: float
    late_start: float
    late_finish: float
    total_float: float
    free_float: float
    critical: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """Spread of the finish over Monte-Carlo draws, weeks."""

    p50: float
    p80: float
    draws: int


def times(plan: SchedulePlan, slips: dict[str, float] | None = None) -> dict[str, TaskTimes]:
    """Times of every task; `slips` adds weeks to the durations of named tasks. Raises UsageError for an unknown name."""
    slips = slips or {}
    tasks = {task.id: task for task in plan.tasks}
    for name in slips:
        if name not in tasks:
            raise UsageError(f"no task {name!r}", fix=f"tasks: {', '.join(tasks)}")
    order = _order(tasks)
    durations = {name: tasks[name].weeks + slips.get(name, 0.0) for name in order}
    start, finish = _forward(tasks, order, durations)
    end = max((finish[name] for name in order if not tasks[name].ongoing), default=0.0)
    late_start, late_finish = _backward(tasks, order, durations, end)
    successors = _successors(tasks)
    result = {}
    for name in order:
        total = late_start[name] - start[name]
        following = [start[other] for other in successors[name]]
        free = min(following, default=max(end, finish[name])) - finish[name]
        critical = not tasks[name].ongoing and total <= EPSILON
        result[name] = TaskTimes(
            name, start[name], finish[name], late_start[name], late_finish[name], total, max(free, 0.0), critical
        )
    return result


def critical_path(plan: SchedulePlan, slips: dict[str, float] | None = None) -> list[str]:
    """Ids of one longest chain that ends at the finish: each task starts when the one before it ends, or at its planned week."""
    found = times(plan, slips)
    tasks = {task.id: task for task in plan.tasks}
    current = max((item for item in found.values() if item.critical), key=lambda item: item.early_finish, default=None)
    path: list[str] = []
    while current is not None:
        path.append(current.id)
        start = current.early_start
        before = [
            found[name]
            for name in tasks[current.id].after
            if abs(found[name].early_finish - start) <= EPSILON and not tasks[name].ongoing
        ]
        current = max(before, key=lambda item: (item.critical, -item.early_start, item.id), default=None)
    return path[::-1]


def spread(plan: SchedulePlan, *, draws: int = 2000, seed: int = 7) -> Finish:
    """P50 and P80 of the finish when every duration is drawn from a triangle (optimistic, planned, pessimistic)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    tasks = {task.id: task for task in plan.tasks}
    order = _order(tasks)
    drawn = {name: _draw(generator, tasks[name], draws) for name in order}
    finish: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for name in order:
        start = np.full(draws, tasks[name].start_week)
        for other in tasks[name].after:
            start = np.maximum(start, finish[other])
        finish[name] = start + drawn[name]
    ends = np.max([finish[name] for name in order if not tasks[name].ongoing], axis=0)
    return Finish(float(np.quantile(ends, 0.5)), float(np.quantile(ends, 0.8)), draws)


def day_of(plan: SchedulePlan, week: float) -> date:
    """Calendar day of a point in weeks."""
    return plan.start + timedelta(days=round(week * 7))


def data_lead_weeks(plan: SchedulePlan, slips: dict[str, float] | None = None) -> float:
    """Weeks between the dataset's readiness (with `slips`) and the main run's planned start.

    Readiness is the end of the data MVP and of dataset-v0.1; the planned start is that of the plan without slips.
    """
    found = times(plan, slips)
    ready = max(found[name].early_finish for name in ("pipeline_mvp", "dataset_v0_1") if name in found)
    return times(plan)["main_run"].early_start - ready


def _draw(generator: np.random.Generator, task: Task, draws: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    low = min(task.optimistic_weeks if task.optimistic_weeks is not None else 0.9 * task.weeks, task.weeks)
    high = max(task.pessimistic_weeks if task.pessimistic_weeks is not None else 1.4 * task.weeks, task.weeks)
    if high - low < EPSILON:
        return np.full(draws, task.weeks)
    return generator.triangular(low, task.weeks, high, draws)


def _order(tasks: dict[str, Task]) -> list[str]:
    """Task ids with predecessors first; the plan's validator has excluded cycles."""
    order: list[str] = []
    waiting = dict(tasks)
    while waiting:
        ready = [name for name, task in waiting.items() if all(other in order for other in task.after)]
        order.extend(ready)
        for name in ready:
            del waiting[name]
    return order


def _successors(tasks: dict[str, Task]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for other in task.after:
            result[other].append(name)
    return result


def _forward(
    tasks: dict[str, Task], order: list[str], durations: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    start: dict[str, float] = {}
    finish: dict[str, float] = {}
    for name in order:
        start[name] = max([tasks[name].start_week, *(finish[other] for other in tasks[name].after)])
        finish[name] = start[name] + durations[name]
    return start, finish


def _backward(
    tasks: dict[str, Task], order: list[str], durations: dict[str, float], end: float
) -> tuple[dict[str, float], dict[str, float]]:
    successors = _successors(tasks)
    late_start: dict[str, float] = {}
    late_finish: dict[str, float] = {}
    for name in reversed(order):
        following = [late_start[other] for other in successors[name] if not tasks[other].ongoing]
        last = max(end, 0.0) if not tasks[name].ongoing else float("inf")
        late_finish[name] = min([last, *following])
        if late_finish[name] == float("inf"):
            late_finish[name] = max(end, tasks[name].start_week + durations[name])
        late_start[name] = late_finish[name] - durations[name]
    return late_start, late_finish

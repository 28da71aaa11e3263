"""The schedule section: workstreams, tasks, dependencies, milestones, reviewers, people on duty."""

from __future__ import annotations

from datetime import date

from pydantic import Field, model_validator

from expedition.plan.section import Section


class Workstream(Section):
    """One of the six lines of the Gantt chart."""

    id: str
    """Short name."""
    title: str
    """As shown."""
    owner: str = "unassigned"
    """Who answers for it."""


class Task(Section):
    """A bar of the Gantt chart."""

    id: str
    """Short name; other tasks name it in `after`."""
    workstream: str
    """Id of its workstream."""
    title: str
    """As shown."""
    start_week: float = Field(ge=0)
    """Earliest planned start, weeks from the programme's start."""
    weeks: float = Field(gt=0)
    """Planned duration, weeks."""
    after: tuple[str, ...] = ()
    """Tasks that must end before it starts."""
    ongoing: bool = False
    """Runs alongside without holding the finish: kept out of the critical path."""
    optimistic_weeks: float | None = Field(default=None, gt=0)
    """Shortest believable duration, for the Monte-Carlo finish; None: 0.9 × weeks."""
    pessimistic_weeks: float | None = Field(default=None, gt=0)
    """Longest believable duration; None: 1.4 × weeks."""


class Milestone(Section):
    """A delivery with its gate."""

    id: str
    """Gate name: W2, W3, W6, …"""
    title: str
    """As shown."""
    week: float = Field(ge=0)
    """Due, weeks from the start."""
    focus: str = ""
    """Whose focus the phase has."""
    deliverables: tuple[str, ...] = ()
    """What is handed over."""
    after: tuple[str, ...] = ()
    """Tasks that must be finished."""
    guards: tuple[str, ...] = ()
    """Tasks that may not start before this gate is passed."""


class SchedulePlan(Section):
    """Time: all in weeks from `start`."""

    start: date
    """First day of W0."""
    weeks: int = Field(default=26, ge=1)
    """Length of the programme."""
    workstreams: tuple[Workstream, ...]
    """The lines of the chart."""
    tasks: tuple[Task, ...]
    """The bars."""
    milestones: tuple[Milestone, ...]
    """The gates in time."""
    merge_week: float = 10
    """Where data and infrastructure must be ready: the merge point."""
    data_lead_weeks: float = Field(default=4, ge=0)
    """Least time between data readiness and the main run."""
    reviewers: tuple[str, ...] = ()
    """Who must sign the design document and the launch manual."""
    oncall: tuple[str, ...] = ()
    """People of the 7×24 roster."""

    @model_validator(mode="after")
    def _names(self) -> SchedulePlan:
        streams = {stream.id for stream in self.workstreams}
        tasks = [task.id for task in self.tasks]
        for name in tasks:
            if tasks.count(name) > 1:
                raise ValueError(f"task {name!r} is there twice")
        for task in self.tasks:
            if task.workstream not in streams:
                raise ValueError(f"task {task.id!r}: unknown workstream {task.workstream!r}; known: {sorted(streams)}")
            for other in task.after:
                if other not in tasks:
                    raise ValueError(f"task {task.id!r} waits for {other!r}, which is no task")
        for milestone in self.milestones:
            for other in (*milestone.after, *milestone.guards):
                if other not in tasks:
                    raise ValueError(f"milestone {milestone.id!r} names {other!r}, which is no task")
        _no_cycle({task.id: task.after for task in self.tasks})
        return self


def _no_cycle(after: dict[str, tuple[str, ...]]) -> None:
    done: set[str] = set()
    for start in after:
        path: list[str] = []

        def visit(name: str, path: list[str] = path) -> None:
            if name in path:
                raise ValueError("tasks wait for each other: " + " → ".join([*path[path.index(name) :], name]))
            if name in done:
                return
            path.append(name)
            for other in after[name]:
                visit(other)
            path.pop()
            done.add(name)

        visit(start)

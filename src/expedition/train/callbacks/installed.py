"""Callbacks of other packages: entry points of the group `expedition.callbacks` that a run's plan names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points

from expedition.errors import ProgrammeError
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Callback
from expedition.workspace import Workspace

ENTRY_POINTS = "expedition.callbacks"
"""Group of callbacks of other packages: name → a callable that makes the Callback from a `Situation`, on every rank."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a callback of another package is made from."""

    ws: Workspace
    run: str
    plan: RunPlan
    ranks: Ranks
    step: int
    """Steps done when this attempt begins."""


def installed_callbacks(situation: Situation) -> list[Callback]:
    """The plan's callbacks, in its order. Raises ProgrammeError for one that is not installed, cannot be made or is none."""
    return [_make(name, situation) for name in situation.plan.callbacks]


def _make(name: str, situation: Situation) -> Callback:
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    where = f"runs.{situation.run}.callbacks"
    if name not in points:
        raise ProgrammeError(
            f"no callback {name!r} is installed",
            where=where,
            fix=f"installed: {', '.join(sorted(points)) or 'none'}; docs/training.md says how to add one",
        )
    try:
        callback: Callback = points[name].load()(situation)
    except Exception as error:  # another package's code: whatever it raises is its user's to know
        raise ProgrammeError(
            f"callback {name!r} of {points[name].value} cannot be made: {type(error).__name__}: {error}",
            where=where,
            fix="mend or uninstall the package, or take the callback out of the plan",
        ) from error
    if not all(callable(getattr(callback, method, None)) for method in ("after_step", "at_end")):
        raise ProgrammeError(
            f"{points[name].value} is no callback: it needs after_step(done) and at_end(ending)",
            where=where,
            fix="examples/custom_callback.py shows one",
        )
    return callback

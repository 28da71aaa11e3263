"""How one run begins with what another has learnt: the link between the phases of a programme."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from expedition.plan.section import Section

if TYPE_CHECKING:
    from expedition.plan.runs import RunPlan

__all__ = ["StartPlan", "chain_problem"]


class StartPlan(Section):
    """The checkpoint that a run starts from. Steps, schedule, data order and metrics begin anew at step 0.

    Which one it was is recorded at the first start (runs/<run>/lineage.json) and never changes afterwards.
    """

    run: str
    """Run that it comes from."""
    checkpoint: str | None = None
    """Name of the checkpoint; None: the newest that is intact when this run starts for the first time."""
    state: Literal["weights", "optimizer"] = "weights"
    """weights: fresh moments; optimizer: the moments and update counts of the other run too (the same optimiser)."""


def chain_problem(runs: Mapping[str, RunPlan], phases: tuple[str, ...]) -> str | None:
    """What is wrong with the links between runs, in one sentence; None where nothing is. Pure."""
    known = f"known runs: {', '.join(sorted(runs))}"
    for name, run in runs.items():
        if run.start_from is not None and run.start_from.run not in runs:
            return f"runs.{name}.start_from.run is {run.start_from.run!r}; {known}"
        seen = [name]
        while (start := runs[seen[-1]].start_from) is not None and start.run in runs:
            if start.run in seen:
                return f"runs.{name}.start_from leads back to itself: {' ← '.join([*seen, start.run])}"
            seen.append(start.run)
    for number, name in enumerate(phases):
        if name not in runs:
            return f"phases[{number}] is {name!r}; {known}"
        if name in phases[:number]:
            return f"phases names {name!r} twice"
    for before, after in pairwise(phases):
        start = runs[after].start_from
        if start is None or start.run != before:
            found = "starts from nothing" if start is None else f"starts from {start.run!r}"
            return f"phases: {after!r} follows {before!r} and {found}; set runs.{after}.start_from: {{run: {before}}}"
    return None

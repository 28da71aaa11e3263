"""Plans of runs that the programme file does not name: a fork's, recorded in the workspace when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.workspace import layout

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "plan.run/1"


def plan_key(run: str) -> str:
    """Where a fork's plan is recorded."""
    return f"{layout.run(run)}/plan.json"


def record_plan(ws: Workspace, run: str, plan: RunPlan) -> None:
    """Record the plan of a run that the programme file does not name."""
    ws.write_json(plan_key(run), {"plan": plan.model_dump(mode="json")}, schema=SCHEMA)


def with_recorded(ws: Workspace, programme: Programme) -> Programme:
    """The programme with the recorded runs of a workspace beside its own; a run that it names itself stays its own."""
    found = {
        name: RunPlan.model_validate(ws.read_json(plan_key(name))["plan"])
        for name in ws.store.folders("runs")
        if name not in programme.runs and ws.store.exists(plan_key(name))
    }
    return programme.model_copy(update={"runs": {**programme.runs, **found}}) if found else programme

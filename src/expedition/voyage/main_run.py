"""A run to its end, through one kill -9; after an incident, from the decision on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expedition.cluster import DrillPlan, run_drill, train_command
from expedition.errors import CheckFailed
from expedition.plan.models import Programme
from expedition.voyage.incident import latest_incident
from expedition.workspace import Workspace, layout


def go_on(ws: Workspace, programme: Programme, run: str, kill_after_step: int) -> dict[str, Any]:
    """Finish a run: decide on its resolved incident if one paused it, kill it once on the way, resume it.

    A finished run is left as it is. Raises CheckFailed if the run does not come back from the kill.
    """
    if _finished(ws, run):
        return {"run": run, "finished": True}
    command = train_command(run, ws.place)
    if programme.runs[run].inject:
        command += ["--after-incident", str(latest_incident(ws, run)["id"])]
    plan = DrillPlan(run=run, command=command, after_step=kill_after_step, bound_s=programme.cluster.drill_bound_s)
    try:
        result = run_drill(ws, plan)
    except CheckFailed:
        if _finished(ws, run):  # an earlier attempt had come so far that the run ended before it could be broken
            return {"run": run, "finished": True}
        raise
    if not result.ok:
        raise CheckFailed(f"run {run} did not come back from the kill: {result.problem}", where="reports/drill.json")
    return asdict(result)


def _finished(ws: Workspace, run: str) -> bool:
    key = layout.run_summary(run)
    return ws.store.exists(key) and bool(ws.read_json(key)["finished"])

"""The main run's second part: on after the handled incident, through a kill -9, to its end."""

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
    if ws.store.exists(layout.run_summary(run)) and ws.read_json(layout.run_summary(run))["finished"]:
        return {"run": run, "finished": True}
    command = train_command(run, ws.place)
    if programme.runs[run].inject:
        command += ["--after-incident", str(latest_incident(ws, run)["id"])]
    plan = DrillPlan(run=run, command=command, after_step=kill_after_step, bound_s=programme.cluster.drill_bound_s)
    result = run_drill(ws, plan)
    if not result.ok:
        raise CheckFailed(f"run {run} did not come back from the kill: {result.problem}", where="reports/drill.json")
    return asdict(result)

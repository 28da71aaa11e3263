"""What the on-call engineer does in the rehearsal: look at the evidence, write the post-mortem, let the run go on.

Every sentence is made from the incident's own record and the programme; a planted fault is called planted.
"""

from __future__ import annotations

import getpass
from typing import Any

from expedition.errors import UsageError
from expedition.plan.models import Programme
from expedition.programme import freeze_approval
from expedition.watch import PostMortem, acknowledge, list_incidents, resolve_incident
from expedition.workspace import Workspace


def latest_incident(ws: Workspace, run: str) -> dict[str, Any]:
    """The newest incident of a run. Raises UsageError if it has none."""
    mine = [incident for incident in list_incidents(ws) if incident["run"] == run]
    if not mine:
        raise UsageError(f"run {run} has no incident", fix=f"expedition train run --run {run}")
    return max(mine, key=lambda incident: str(incident["opened"]))


def handle_incident(ws: Workspace, programme: Programme, run: str) -> dict[str, Any]:
    """Acknowledge and resolve the run's newest incident with a post-mortem from its evidence; safe to repeat."""
    incident = latest_incident(ws, run)
    who = getpass.getuser()
    if incident["status"] == "open":
        incident = acknowledge(ws, incident["id"], who)
    if incident["status"] != "resolved":
        incident = resolve_incident(ws, incident["id"], _postmortem(programme, run, incident), who)
        freeze_approval(ws, who, f"incident {incident['id']} resolved", f"resume after {incident['id']}")
    wanted = ("id", "severity", "rule", "step", "status", "resolve_s", "lost_gpu_hours", "cost_usd")
    return {key: incident.get(key) for key in wanted}


def _postmortem(programme: Programme, run: str, incident: dict[str, Any]) -> PostMortem:
    step = incident.get("step") or 0
    planted = [fault for fault in programme.runs[run].inject if fault.step <= step]
    if planted:
        fault = planted[-1]
        cause = (
            f"Planted for the rehearsal: {fault.kind} from step {fault.step} for {fault.steps} steps. "
            f"The rule {incident.get('rule')} saw it at step {step}."
        )
        fix = "The fault is cleared; the run goes back to the last checkpoint before the symptom began."
    else:
        cause = f"Not known yet: the rule {incident.get('rule')} fired at step {step}; see the diagnosis attached."
        fix = "The run goes back to the last checkpoint before the symptom began."
    prevention = f"The rule {incident.get('rule')} stays armed; its replay on known curves is in reports/replay.json."
    return PostMortem(root_cause=cause, fix=fix, prevention=prevention)

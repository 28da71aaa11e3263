"""Where runs stand, from the workspace alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expedition.plan.models import Programme
from expedition.train.checkpoint import checkpoints, verify
from expedition.train.control import read_request, standing_pause
from expedition.train.decisions import decisions, open_pause
from expedition.train.lineage import read_parent
from expedition.watch.segments import attempts as metric_attempts
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout


def train_status(
    ws: Workspace, programme: Programme, name: str, *, check: bool = False, attempts: bool = False
) -> dict[str, Any]:
    """Who trains a run, its steps, last loss, pause, request, decisions and checkpoints. Reads only.

    `check` hashes every checkpoint; `attempts` adds every process's part of the metrics, also what was done again.
    """
    run = programme.runs.get(name)
    columns = read_metrics(ws, name, ["loss"])
    steps = int(columns["step"][-1]) + 1 if columns["step"].size else 0
    pause, request, parent = open_pause(ws, name), read_request(ws, name), read_parent(ws, name)
    held = standing_pause(ws, name)
    holder = ws.lease(layout.run(name)).live_holder()
    found = []
    for info in checkpoints(ws, name):
        entry: dict[str, Any] = {"name": info.name, "step": info.step, "permanent": info.permanent}
        found.append({**entry, "problem": verify(ws, info)} if check else entry)
    status: dict[str, Any] = {
        "run": name,
        "state": _state(pause, held, holder, steps, run.total_steps if run else None),
        "trained_by": None if holder is None else f"process {holder['pid']} on {holder['host']}",
        "steps": steps,
        "total_steps": run.total_steps if run else None,
        "loss": float(columns["loss"][-1]) if steps else None,
        "paused": pause["incident"] if pause else None,
        "held": None if held is None else {"by": held.by, "why": held.why, "time": held.time},
        "request": None if request is None or holder is None else asdict(request),
        "parent": None if parent is None else asdict(parent),
        "goes_on_at": max((entry["step"] for entry in found), default=0),
        "decisions": [_decision(asdict(decision)) for decision in decisions(ws, name)],
        "checkpoints": found,
    }
    if attempts:
        status["attempts"] = [asdict(attempt) for attempt in metric_attempts(ws, name)]
    return status


def _state(pause: Any, held: Any, holder: Any, steps: int, total: int | None) -> str:
    """One word for a list; a process that has not yet obeyed a request still trains."""
    if holder is not None:
        return "training"
    if pause is not None or held is not None:
        return "paused"
    if steps == total:
        return "finished"
    return "stopped" if steps else "not begun"


def _decision(fields: dict[str, Any]) -> dict[str, Any]:
    """A decision without its list of hashes."""
    return {**fields, "abandoned": list(fields["abandoned"])}

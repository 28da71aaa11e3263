"""Where runs stand, from the workspace alone."""

from __future__ import annotations

from typing import Any

from expedition.plan.models import Programme
from expedition.train.checkpoint import checkpoints, verify
from expedition.train.decisions import open_pause
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace


def train_status(ws: Workspace, programme: Programme, name: str, *, check: bool = False) -> dict[str, Any]:
    """Steps, last loss, pause and checkpoints of a run; `check` hashes every checkpoint."""
    run = programme.runs.get(name)
    columns = read_metrics(ws, name, ["loss"])
    steps = int(columns["step"][-1]) + 1 if columns["step"].size else 0
    pause = open_pause(ws, name)
    found = []
    for info in checkpoints(ws, name):
        entry: dict[str, Any] = {"name": info.name, "step": info.step, "permanent": info.permanent}
        found.append({**entry, "problem": verify(ws, info)} if check else entry)
    return {
        "run": name,
        "steps": steps,
        "total_steps": run.total_steps if run else None,
        "loss": float(columns["loss"][-1]) if steps else None,
        "paused": pause["incident"] if pause else None,
        "checkpoints": found,
    }

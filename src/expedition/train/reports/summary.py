"""`runs/<run>/summary.json`: what a run has done, from its metrics, checkpoints and events alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from expedition.plan.models import Programme
from expedition.plan.precision import Fp8Plan
from expedition.train.checkpoint import checkpoints
from expedition.train.fp8.policy import Machine, is_emulated
from expedition.train.reports.rate import MFU_DEFINITION
from expedition.train.stopwatch import PARTS
from expedition.watch.segments import Columns, read_metrics
from expedition.workspace import Workspace, layout

SCHEMA = "train.summary/1"
EDGE_STEPS = 10
"""loss_first and loss_last are means over so many recorded steps at the two ends."""


def write_summary(
    ws: Workspace,
    programme: Programme,
    name: str,
    incident: str | None,
    device: torch.device,
    world: int,
    read: dict[str, Any],
) -> dict[str, Any]:
    """Write and return the summary. `incident` is what paused the run, None if nothing did; `read` what its steps have
    read, by kind and source."""
    run = programme.runs[name]
    columns = read_metrics(ws, name)
    done = int(columns["step"][-1]) + 1 if columns["step"].size else 0
    loss = series(columns, "loss")
    summary = {
        "run": name,
        "model": run.model,
        "steps": done,
        "tokens": run.tokens_after(done),
        "real_tokens": _sum(series(columns, "real_tokens"), run.metrics_every),
        "wall_s": float(columns["time_s"][-1]) if done else 0.0,
        "device": device_name(device),
        "world_size": world,
        "loss_first": _mean(loss[:EDGE_STEPS]),
        "loss_last": _mean(loss[-EDGE_STEPS:]),
        "nonfinite_steps": int(np.nansum(series(columns, "nonfinite"))),
        "skipped_steps": int(np.nansum(series(columns, "skipped"))),
        "mfu": _mean(series(columns, "mfu")),
        "mfu_definition": MFU_DEFINITION,
        "top10_expert_share": _mean(series(columns, "top10_expert_share")[-100:]),
        "tokens_per_s": _mean(series(columns, "tokens_per_s")),
        "checkpoints": [
            {"name": info.name, "tokens": info.tokens, "step": info.step, "permanent": info.permanent}
            for info in checkpoints(ws, name)
        ],
        "segments": [segment.model_dump() for segment in run.segments],
        "paused": incident,
        "finished": incident is None and done == run.total_steps,
        "step_time_s": step_times(columns),
        "starved_share": starved_share(columns),
        "read": read,
        "conditions": conditions(device, run.precision.fp8),
    }
    ws.write_json(layout.run_summary(name), summary, schema=SCHEMA)
    return summary


def conditions(device: torch.device, fp8: Fp8Plan) -> list[str]:
    """What must be said beside every figure of this run."""
    found = [] if device.type == "cuda" else ["cpu"]
    return [*found, "emulated fp8"] if is_emulated(fp8, Machine.of(device)) else found


def device_name(device: torch.device) -> str:
    """The accelerator's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def step_times(columns: Columns) -> dict[str, float | None]:
    """Mean seconds of the parts of a step by short name, and `total`; the first step (set-up) is left out."""
    times = {part.removesuffix("_s"): _mean(series(columns, part)[1:]) for part in PARTS}
    return {**times, "total": _mean(series(columns, "step_s")[1:])}


def starved_share(columns: Columns) -> float | None:
    """Share of the steps' time that went to waiting for data; the first step (set-up) is left out."""
    waited, spent = series(columns, "data_s")[1:], series(columns, "step_s")[1:]
    return float(np.nansum(waited) / np.nansum(spent)) if waited.size and np.nansum(spent) > 0 else None


def series(columns: Columns, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A metric's column, empty if the run never wrote it."""
    return np.asarray(columns.get(name, np.zeros(0)), dtype=np.float64)


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Mean over finite values, None without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _sum(values: np.ndarray[Any, np.dtype[np.float64]], every: int) -> int:
    """Sum over steps from rows that were written every `every` steps."""
    total = float(np.nansum(values)) * every
    return int(total) if math.isfinite(total) else 0

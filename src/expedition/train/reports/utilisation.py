"""How well a run has used its devices over its whole life: every attempt, what was done twice, what was lost between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from expedition.plan.runs import RunPlan
from expedition.watch.segments import Attempt, Columns, attempts, read_metrics
from expedition.workspace import Workspace
from expedition.workspace.events import Event

POINTS = 60
"""Most points of the curve of one attempt."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What turns positions into utilisation."""

    flops_per_position: float | None
    """Model FLOPs, forward and backward; None while no checkpoint says which model it is."""
    peak_flops: float | None
    """Of all ranks together; None where the device's peak is not known."""

    def mfu(self, positions: float, seconds: float) -> float | None:
        """None where it is not known."""
        if self.flops_per_position is None or self.peak_flops is None or seconds <= 0:
            return None
        return positions * self.flops_per_position / (seconds * self.peak_flops)


def utilisation(ws: Workspace, run: RunPlan, name: str, machine: Machine) -> dict[str, Any]:
    """attempts (one row each), curve (hours since the first start, by attempt), and over the whole life: wall_s, its parts,
    and MFU of what was kept over that time.

    Kept is what no later attempt has done again. `training_s` is the time of kept steps, `repeated_s` of those that were
    done again, `setup_s` from the start of a process to its first step, `down_s` between a process's last recorded step and
    the next start. Reads metrics and events only.
    """
    rows, curve = [], []
    starts = _starts(ws, name)
    found = attempts(ws, name)
    begun = _matched(found, starts)
    totals = dict.fromkeys(("training_s", "repeated_s", "setup_s", "down_s"), 0.0)
    first = last_end = None
    kept_positions = 0.0
    for attempt, event in zip(found, begun, strict=True):
        columns = read_metrics(ws, name, ["step_s"], attempt=attempt.number)
        seconds = np.nan_to_num(columns["step_s"]) * run.metrics_every
        positions = _positions(run, columns)
        kept = int(attempt.kept_rows)
        at = None if event is None else _seconds(event.time)
        setup = 0.0 if event is None else float(event.fields.get("setup_s") or 0.0)
        down = max(0.0, at - setup - last_end) if at is not None and last_end is not None else 0.0
        first = at - setup if first is None and at is not None else first
        totals["training_s"] += float(seconds[:kept].sum())
        totals["repeated_s"] += float(seconds[kept:].sum())
        totals["setup_s"] += setup
        totals["down_s"] += down
        kept_positions += float(positions[:kept].sum())
        rows.append(_row(attempt, event, machine, seconds, positions, setup, down))
        if at is not None and first is not None:
            curve += _curve(attempt, at - first, machine, seconds, positions)
            last_end = at + float(seconds.sum())
    wall_s = sum(totals.values())
    return {
        "attempts": rows,
        "restarts": max(0, len(found) - 1),
        "curve": curve,
        **totals,
        "wall_s": wall_s,
        "positions_per_s": kept_positions / wall_s if wall_s else None,
        "mfu": machine.mfu(kept_positions, wall_s),
    }


def _row(
    attempt: Attempt,
    event: Event | None,
    machine: Machine,
    seconds: np.ndarray[Any, np.dtype[np.float64]],
    positions: np.ndarray[Any, np.dtype[np.float64]],
    setup_s: float,
    down_s: float,
) -> dict[str, Any]:
    spent = float(seconds[1:].sum())
    steady = float(positions[1:].sum())
    return {
        "attempt": attempt.number,
        "started": None if event is None else event.time,
        "from_step": attempt.from_step,
        "last_step": attempt.last_step,
        "rows": attempt.rows,
        "kept_rows": attempt.kept_rows,
        "setup_s": setup_s,
        "down_before_s": down_s,
        "positions_per_s": steady / spent if spent else None,
        "mfu": machine.mfu(steady, spent),
    }


def _curve(
    attempt: Attempt,
    begin_s: float,
    machine: Machine,
    seconds: np.ndarray[Any, np.dtype[np.float64]],
    positions: np.ndarray[Any, np.dtype[np.float64]],
) -> list[dict[str, Any]]:
    """Means over equal spans of an attempt's rows."""
    ends = begin_s + np.cumsum(seconds)
    points = []
    for span in np.array_split(np.arange(len(seconds)), min(POINTS, len(seconds))):
        spent, worked = float(seconds[span].sum()), float(positions[span].sum())
        points.append(
            {
                "hours": float(ends[span[-1]]) / 3600,
                "attempt": attempt.number,
                "kept": bool(span[-1] < attempt.kept_rows),
                "positions_per_s": worked / spent if spent else None,
                "mfu": machine.mfu(worked, spent),
            }
        )
    return points


def _positions(run: RunPlan, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positions of the steps that each row stands for."""
    steps = columns["step"]
    return np.asarray([run.batch_tokens_at(int(step)) for step in steps], dtype=np.float64) * run.metrics_every


def _starts(ws: Workspace, name: str) -> list[Event]:
    return [event for event in ws.events_all("train.started") if event.fields.get("run") == name]


def _matched(found: Sequence[Attempt], starts: Sequence[Event]) -> list[Event | None]:
    """The start of each attempt: the latest one at its first step that no later attempt has. A process that died before its
    first row has a start and no attempt."""
    left = list(starts)
    matched: list[Event | None] = []
    for attempt in reversed(found):
        number = next(
            (n for n in range(len(left) - 1, -1, -1) if left[n].fields.get("step") == attempt.from_step), None
        )
        matched.append(None if number is None else left[number])
        if number is not None:
            left = left[:number]
    return matched[::-1]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

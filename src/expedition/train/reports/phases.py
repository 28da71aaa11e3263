"""The phases of a programme: runs that follow one another, each from the checkpoint of the one before it."""

from __future__ import annotations

from typing import Any

from expedition.errors import ProgrammeError
from expedition.plan.models import Programme
from expedition.train.callbacks.progress import Listener
from expedition.train.checkpoint import checkpoints
from expedition.train.lineage import read_parent
from expedition.train.reports.status import train_status
from expedition.train.run import train_run
from expedition.train.starting import inherited_positions
from expedition.workspace import Workspace


def train_phases(ws: Workspace, programme: Programme, progress: Listener | None = None) -> list[dict[str, Any]]:
    """Train every phase that is not finished, in order, and return `describe_phases`. Blocking; goes on after a kill.

    Raises what `train_run` raises: a phase that pauses or is interrupted ends the verb there.
    """
    for name in _named(programme):
        if _state(ws, programme, name) != "finished":
            train_run(ws, programme, name, progress)
    return describe_phases(ws, programme)


def describe_phases(ws: Workspace, programme: Programme) -> list[dict[str, Any]]:
    """One row a phase, in order: what is planned, what is done, and which checkpoint it began from. Reads only."""
    rows = []
    for name in _named(programme):
        run, status = programme.runs[name], train_status(ws, programme, name)
        parent, start = read_parent(ws, name), run.start_from
        shape, rope = programme.models[run.model], run.rope
        if rope is None and start is not None:
            rope = inherited_positions(ws, start)
        shape = shape if rope is None else shape.with_positions(rope)
        rows.append(
            {
                "phase": name,
                "state": _state(ws, programme, name),
                "steps": status["steps"],
                "total_steps": run.total_steps,
                "total_tokens": run.tokens_after(run.total_steps),
                "loss": status["loss"],
                "sequence_length": run.sequence_length,
                "max_positions": shape.max_positions,
                "mix": " ".join(f"{kind} {share:g}" for kind, share in run.mix.items()) or "the data plan's",
                "learn": run.learn,
                "learning_rate": f"{run.learning_rate.kind} {run.learning_rate.peak:g} → {run.learning_rate.floor:g}",
                "starts_from": None if start is None else f"{start.run} ({start.state})",
                "started_from": None if parent is None else f"{parent.run} {parent.checkpoint}",
                "parent_sha256": None if parent is None else parent.manifest_sha256,
            }
        )
    return rows


def _named(programme: Programme) -> tuple[str, ...]:
    if not programme.phases:
        raise ProgrammeError(
            "the programme names no phases", where="phases", fix="write for example phases: [main, anneal, sft]"
        )
    return programme.phases


def _state(ws: Workspace, programme: Programme, name: str) -> str:
    status = train_status(ws, programme, name)
    if status["paused"]:
        return "paused"
    done = max((info.step for info in checkpoints(ws, name)), default=0)
    if done >= programme.runs[name].total_steps:
        return "finished"
    return "under way" if status["steps"] else "not begun"

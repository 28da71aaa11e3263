"""Decisions that people take about a run after an incident, recorded as events and obeyed ever after.

A decision lets the run go on from a checkpoint before the symptom began: either the fault is cleared (`skip_steps` 0),
or the data that the fault was seen on is skipped, as PaLM did (arXiv:2204.02311, section 5.1). The data order stays a
pure function of the step and these decisions, so a later kill and resume reads the same data again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expedition.errors import UsageError
from expedition.plan.runs import Injection
from expedition.train.checkpoint import checkpoints, delete_checkpoint
from expedition.workspace import Workspace

KIND, PAUSED = "train.decision", "train.paused"


@dataclass(frozen=True, slots=True)
class Decision:
    """One recorded decision."""

    run: str
    incident: str
    resume_step: int
    """Steps that the checkpoint had done; training goes on with this step."""
    paused_step: int
    """Last step that was done before the pause."""
    skip_steps: int
    """How many steps of data are left out from `resume_step` on; 0 trains on the same data again."""
    abandoned: dict[str, str]
    """Checkpoints after the symptom began, removed by this decision: hash of the manifest by name."""


def decisions(ws: Workspace, run: str) -> list[Decision]:
    """All decisions on a run, oldest first."""
    return [
        Decision(**event.fields) for event in ws.events_all(KIND) if event.kind == KIND and event.fields["run"] == run
    ]


def data_step(step: int, taken: Sequence[Decision]) -> int:
    """Place in the data order that `step` reads."""
    return step + sum(decision.skip_steps for decision in taken if step >= decision.resume_step)


def active(injections: Sequence[Injection], taken: Sequence[Decision]) -> tuple[Injection, ...]:
    """Injections that still act: a fault that began before a decided pause is cleared by the decision."""
    return tuple(fault for fault in injections if not any(fault.step <= decision.paused_step for decision in taken))


def open_pause(ws: Workspace, run: str) -> dict[str, Any] | None:
    """Fields of the pause that nobody has decided on yet (`incident`, `step`, `began_step` …); None if the run may go
    on."""
    pause: dict[str, Any] | None = None
    for event in ws.events_all("train."):
        if event.fields.get("run") != run:
            continue
        if event.kind == PAUSED:
            pause = event.fields
        elif event.kind == KIND and pause is not None and event.fields["incident"] == pause["incident"]:
            pause = None
    return pause


def decide(ws: Workspace, run: str, incident: str, *, skip_data: bool) -> Decision:
    """Record that a paused run goes on from its last checkpoint before the symptom began. Idempotent.

    Checkpoints from the symptom on are removed; the event names them with their hashes. With `skip_data` the data from
    the resumed step to the pause is left out. Raises UsageError if the incident does not pause this run.
    """
    pause = open_pause(ws, run)
    if pause is None or pause["incident"] != incident:
        taken = [decision for decision in decisions(ws, run) if decision.incident == incident]
        if pause is None and taken:
            _abandon(ws, run, taken[-1])
            return taken[-1]
        raise UsageError(
            f"incident {incident!r} does not pause run {run!r}",
            fix=f"it is paused by {pause['incident']}" if pause else f"expedition train run --run {run}",
        )
    known = checkpoints(ws, run)
    good = max((info.step for info in known if info.step <= pause["began_step"]), default=0)
    decision = Decision(
        run=run,
        incident=incident,
        resume_step=good,
        paused_step=pause["step"],
        skip_steps=pause["step"] + 1 - good if skip_data else 0,
        abandoned={info.name: info.manifest_sha256 for info in known if info.step > good},
    )
    ws.events("train").append(KIND, **asdict(decision))
    _abandon(ws, run, decision)
    return decision


def _abandon(ws: Workspace, run: str, decision: Decision) -> None:
    """Remove what the decision removes. By hash: a checkpoint that the run wrote anew under the same name stays."""
    for info in checkpoints(ws, run):
        if decision.abandoned.get(info.name) == info.manifest_sha256:
            delete_checkpoint(ws, run, info.name)

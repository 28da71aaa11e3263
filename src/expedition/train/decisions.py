"""Decisions that people take about a run, recorded as events and obeyed ever after: where it goes on, without which data.

After an incident a run goes on from a checkpoint before the symptom began: either the fault is cleared, or the data that
the fault was seen on is left out, as PaLM did (arXiv:2204.02311, section 5.1). A rewind does the same from any checkpoint
that is kept, leaving out any ranges of data. The data order stays a pure function of the step and these decisions, so a
later kill and resume reads the same data again.

A *place* is a position in the data order: the batch that step n reads is the one at place n until a decision leaves
places out. What is left out once stays left out, whatever is decided later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expedition.errors import InputError, UsageError
from expedition.plan.models import Programme
from expedition.plan.runs import Injection
from expedition.train.checkpoint import CheckpointInfo, checkpoints, delete_checkpoint
from expedition.train.control import Said
from expedition.train.setup import find_run
from expedition.workspace import Workspace, layout

NOBODY = Said()
KIND, PAUSED, STARTED = "train.decision", "train.paused", "train.started"

Places = tuple[int, int]
"""A range of places: the first, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One recorded decision."""

    run: str
    incident: str | None
    """The incident that it answers; None for a rewind."""
    resume_step: int
    """Steps that the checkpoint had done; training goes on with this step."""
    paused_step: int | None
    """Last step that was done before the incident's pause; None for a rewind."""
    skip: tuple[Places, ...]
    """Data that is left out from `resume_step` on; none trains on the same data again."""
    abandoned: dict[str, str]
    """Checkpoints after `resume_step`, removed by this decision: hash of the manifest by name."""
    by: str = ""
    """Who decided."""
    why: str = ""


def decisions(ws: Workspace, run: str) -> list[Decision]:
    """All decisions on a run, oldest first."""
    return [
        _decision(event.fields) for event in ws.events_all(KIND) if event.kind == KIND and event.fields["run"] == run
    ]


def _decision(fields: dict[str, Any]) -> Decision:
    if "skip" not in fields:
        raise InputError(
            f"a decision on run {fields['run']} was recorded by an earlier version, which counted steps, not places",
            where="events",
            fix="finish this workspace with that version, or begin a new one",
        )
    return Decision(**{**fields, "skip": tuple((first, end) for first, end in fields["skip"])})


def data_step(step: int, taken: Sequence[Decision]) -> int:
    """Place in the data order that `step` reads.

    From a decision's step on, places go on where they were and leave out every range of it and of the decisions before.
    """
    ruling = next((number for number in range(len(taken) - 1, -1, -1) if taken[number].resume_step <= step), None)
    if ruling is None:
        return step
    start = data_step(taken[ruling].resume_step, taken[:ruling])
    place = start + step - taken[ruling].resume_step
    for first, end in merged([places for decision in taken[: ruling + 1] for places in decision.skip]):
        first = max(first, start)
        if first < end and first <= place:
            place += end - first
    return place


def merged(ranges: Sequence[Places]) -> list[Places]:
    """The same places as disjoint ranges, rising."""
    found: list[Places] = []
    for first, end in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((first, end))
    return found


def active(injections: Sequence[Injection], taken: Sequence[Decision]) -> tuple[Injection, ...]:
    """Injections that still act: a fault that began before a decided pause is cleared by the decision."""
    pauses = [decision.paused_step for decision in taken if decision.paused_step is not None]
    return tuple(fault for fault in injections if not any(fault.step <= paused for paused in pauses))


def open_pause(ws: Workspace, run: str) -> dict[str, Any] | None:
    """Fields of the incident's pause that nobody has decided on yet (`incident`, `step`, `began_step` …); None if there
    is none."""
    pause: dict[str, Any] | None = None
    for event in ws.events_all("train."):
        if event.fields.get("run") != run:
            continue
        if event.kind == PAUSED:
            pause = event.fields
        elif event.kind == KIND and pause is not None and event.fields["incident"] in (pause["incident"], None):
            pause = None
    return pause


def decide(ws: Workspace, run: str, incident: str, *, skip_data: bool, said: Said = NOBODY) -> Decision:
    """Record that a paused run goes on from its last checkpoint before the symptom began. Idempotent.

    Checkpoints from the symptom on are removed; the event names them with their hashes. With `skip_data` the data from
    the resumed step to the pause is left out. Raises UsageError if the incident does not pause this run.
    """
    pause = open_pause(ws, run)
    if pause is None or pause["incident"] != incident:
        taken = [decision for decision in decisions(ws, run) if decision.incident == incident]
        if pause is None and taken:
            finish_decision(ws, run)
            return taken[-1]
        raise UsageError(
            f"incident {incident!r} does not pause run {run!r}",
            fix=f"it is paused by {pause['incident']}" if pause else f"expedition train run --run {run}",
        )
    good = max((info.step for info in checkpoints(ws, run) if info.step <= pause["began_step"]), default=0)
    skip = _places([(good, int(pause["step"]) + 1)], decisions(ws, run)) if skip_data else ()
    return _record(ws, run, good, skip, incident=incident, paused_step=int(pause["step"]), said=said)


@dataclass(frozen=True, slots=True)
class Skip:
    """Data that a rewind leaves out: what ranges of steps have read as they were counted until now, and places."""

    steps: tuple[Places, ...] = ()
    """(first, the one after the last)."""
    places: tuple[Places, ...] = ()

    @classmethod
    def from_text(cls, programme: Programme, run: str, steps: Sequence[str], samples: Sequence[str]) -> Skip:
        """From FIRST-LAST, both included; ranges of samples (indices of sequences) become the whole steps that hold them.

        Raises UsageError for what is no range.
        """
        plan = find_run(programme, run)
        indices = [_range(text) for text in samples]
        places = tuple((plan.step_of(first), plan.step_of(end - 1) + 1) for first, end in indices)
        return cls(tuple(_range(text) for text in steps), places)


def _range(text: str) -> Places:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first)):
        raise UsageError(f"{text!r} is no range", fix="write FIRST-LAST, for example 1200-1250, or one number")
    return int(first), int(last or first) + 1


def rewind_run(
    ws: Workspace, run: str, to: str, skip: Skip | None = None, said: Said = NOBODY, *, abandon: bool = False
) -> Decision:
    """Record that a run goes on from checkpoint `to` (its name or its step), without the data of `skip`.

    The checkpoints after `to` are removed; permanent ones only with `abandon`. It answers an incident that pauses the
    run, too. Idempotent until the run is started again. Raises UsageError for a checkpoint that is not kept, steps
    before it, or permanent checkpoints without `abandon`; WorkspaceBusy while a process trains the run.
    """
    with ws.lease(layout.run(run)):
        return _rewind(ws, run, to, skip or Skip(), said, abandon)


def _rewind(ws: Workspace, run: str, to: str, skip: Skip, said: Said, abandon: bool) -> Decision:
    target = find_checkpoint(ws, run, to)
    taken = decisions(ws, run)
    early = [first for first, _ in skip.steps if first < target.step]
    if early:
        raise UsageError(
            f"step {early[0]} lies before the checkpoint's step {target.step}: its data is in the weights",
            fix="rewind to a checkpoint before it",
        )
    if taken and _is_unfinished(ws, run):
        places = tuple(merged([*_places(skip.steps, taken[:-1]), *skip.places]))
        if (taken[-1].incident, taken[-1].resume_step, taken[-1].skip) == (None, target.step, places):
            finish_decision(ws, run)
            return taken[-1]
    later = [info.name for info in checkpoints(ws, run) if info.step > target.step and info.permanent]
    if later and not abandon:
        raise UsageError(
            f"{len(later)} permanent checkpoints lie after step {target.step} and would be removed: {', '.join(later)}",
            fix="say so with --abandon, or leave this run as it is: expedition train fork --from-run RUN --run NEW",
        )
    places = tuple(merged([*_places(skip.steps, taken), *skip.places]))
    return _record(ws, run, target.step, places, incident=None, paused_step=None, said=said)


def find_checkpoint(ws: Workspace, run: str, to: str) -> CheckpointInfo:
    """A kept checkpoint by its name or its step. Raises UsageError with those that are kept."""
    known = checkpoints(ws, run)
    found = [info for info in known if to in (info.name, str(info.step))]
    if not found:
        kept = ", ".join(f"{info.name} (step {info.step})" for info in known) or "none"
        raise UsageError(f"run {run} keeps no checkpoint {to!r}", fix=f"kept: {kept}")
    return found[0]


def finish_decision(ws: Workspace, run: str) -> None:
    """Remove what the last decision removes, if the run has not been started since: a kill may have come between.

    By hash, and never after a start: what the run wrote anew under the same name stays.
    """
    if _is_unfinished(ws, run):
        abandoned = decisions(ws, run)[-1].abandoned
        for info in checkpoints(ws, run):
            if abandoned.get(info.name) == info.manifest_sha256:
                delete_checkpoint(ws, run, info.name)


def inherit_decisions(ws: Workspace, fork: str, inherited: Sequence[Decision]) -> None:
    """Give a fork the decisions that its past was read by. Idempotent."""
    for decision in inherited[len(decisions(ws, fork)) :]:
        fields = {**asdict(decision), "run": fork, "abandoned": {}}
        ws.events("train").append(KIND, **fields)


def _places(steps: Sequence[Places], taken: Sequence[Decision]) -> tuple[Places, ...]:
    """The places that ranges of steps have read, as the decisions so far have it."""
    return tuple((data_step(first, taken), data_step(end - 1, taken) + 1) for first, end in merged(steps))


def _is_unfinished(ws: Workspace, run: str) -> bool:
    last = ""
    for event in ws.events_all("train."):
        if event.kind in (KIND, STARTED) and event.fields["run"] == run:
            last = event.kind
    return last == KIND


def _record(
    ws: Workspace,
    run: str,
    step: int,
    skip: Sequence[Places],
    *,
    incident: str | None,
    paused_step: int | None,
    said: Said,
) -> Decision:
    decision = Decision(
        run=run,
        incident=incident,
        resume_step=step,
        paused_step=paused_step,
        skip=tuple(skip),
        abandoned={info.name: info.manifest_sha256 for info in checkpoints(ws, run) if info.step > step},
        by=said.by,
        why=said.why,
    )
    ws.events("train").append(KIND, **asdict(decision))
    finish_decision(ws, run)
    return decision

"""The short list that decides a run's order: which data, mix and seed hold from which index on; grown by decisions.

`runs/<run>/segments.json` holds the list. A run's first segment is recorded when its data is opened for the first time;
what the programme plans for later joins as soon as its dataset version exists; anything else (a new version, a
revocation, a quarantine, another mix, annealing) by `add_segment`, which is an event with its reason and its maker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from expedition.data.loading.mixture import Mixture
from expedition.data.records import KINDS
from expedition.errors import InputError, ProgrammeError, UsageError, WorkspaceBusy
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json
from expedition.workspace.schema import checked_schema

SCHEMA_NAME, SCHEMA_NUMBER = "data.segments", 1
EVENT = "loader.segment.added"
WINDOW_SHARDS = 16
"""Shards of a kind that are mixed with each other at a time."""
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Segment:
    """From global index `first_index` on, sequences come from this data, in this mix, in the order of this seed."""

    first_index: int
    dataset: str
    version: str
    manifest_hash: str
    mix: dict[str, float]
    seed: int
    window_shards: int = WINDOW_SHARDS
    excluded: tuple[str, ...] = ()
    """Sources and document ids that are left out: revoked, or in quarantine."""
    reason: str = field(default="", compare=False)
    decided_by: str = field(default="", compare=False)

    @property
    def fingerprint(self) -> str:
        """Hash of all that the order depends on; reason and maker are left out."""
        parts = asdict(self)
        del parts["reason"], parts["decided_by"]
        return sha256_json(parts)


@dataclass(frozen=True, slots=True)
class Decision:
    """What `add_segment` is asked for. None keeps what the segment before has (the mix: what the run plans)."""

    version: str
    from_step: int
    reason: str
    decided_by: str
    mix: Mapping[str, float] | None = None
    seed: int | None = None
    excluded: tuple[str, ...] = ()
    trained_steps: int = 0
    """Steps that are done: a decision may not change what was trained on."""


def segments_key(run: str) -> str:
    """Where a run's segments are recorded."""
    return f"{layout.run(run)}/segments.json"


def run_plan(programme: Programme, run: str) -> RunPlan:
    """The run's plan. Raises UsageError with the known names."""
    if run not in programme.runs:
        raise UsageError(f"no run {run!r} in the programme", fix=f"known runs: {', '.join(sorted(programme.runs))}")
    return programme.runs[run]


def read_segments(ws: Workspace, run: str) -> list[Segment]:
    """The recorded segments in order; none for a run that has not begun. Raises InputError if the record is damaged."""
    key = segments_key(run)
    if not ws.store.exists(key):
        return []
    document = ws.read_json(key)
    checked_schema(document, SCHEMA_NAME, SCHEMA_NUMBER, key)
    try:
        segments = [Segment(**{**raw, "excluded": tuple(raw["excluded"])}) for raw in document["segments"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"the record of segments is damaged: {error}", where=key) from error
    starts = [segment.first_index for segment in segments]
    if not starts or starts[0] != 0 or starts != sorted(set(starts)):
        raise InputError(f"segments must begin at index 0 and rise, they begin at {starts}", where=key)
    return segments


def manifest_hash(ws: Workspace, dataset: str, version: str) -> str:
    """Content hash in the manifest of a dataset version. Raises InputError if there is no such version."""
    key = layout.manifest(version, dataset)
    if not ws.store.exists(key):
        raise InputError(
            f"there is no {dataset} {version}", where=key, fix=f"build it: expedition data build --version {version}"
        )
    return str(ws.read_json(key)["content_hash"])


def planned_mix(programme: Programme, plan: RunPlan) -> dict[str, float]:
    """The run's own mix, or the data plan's."""
    return dict(plan.mix) if plan.mix else dict(programme.data.mix.weights())


def open_segments(ws: Workspace, programme: Programme, run: str) -> list[Segment]:
    """The recorded segments, after recording what the programme plans and is there. Idempotent; safe for many ranks.

    Raises InputError if the run's first dataset version does not exist.
    """
    plan = run_plan(programme, run)
    deadline = time.monotonic() + WAIT_S
    while True:
        recorded = read_segments(ws, run)
        missing = _planned_and_there(ws, programme, plan, recorded)
        if not missing:
            return recorded
        try:
            with ws.lease(f"runs/{run}/segments"):
                if read_segments(ws, run) == recorded:
                    for segment in missing:
                        recorded = _record(ws, run, recorded, segment)
        except WorkspaceBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def add_segment(ws: Workspace, programme: Programme, run: str, decision: Decision) -> Segment:
    """Record that from `decision.from_step` on the run reads other data, mix or seed: segments.json and an event.

    Raises UsageError if the step is not after the last segment's start or was trained already, InputError if the
    version does not exist, ProgrammeError for a mix that cannot be.
    """
    plan = run_plan(programme, run)
    recorded = open_segments(ws, programme, run)
    last = recorded[-1]
    first_index = plan.sequences_before(decision.from_step)
    if first_index <= last.first_index:
        raise UsageError(
            f"a segment from step {decision.from_step} (index {first_index}) is not after the last one",
            where=segments_key(run),
            fix=f"give a step whose first index is above {last.first_index}",
        )
    if decision.from_step < decision.trained_steps:
        raise UsageError(
            f"step {decision.from_step} is trained already ({decision.trained_steps} steps are done)",
            where=segments_key(run),
            fix=f"give --from-step {decision.trained_steps} or later",
        )
    segment = Segment(
        first_index=first_index,
        dataset=plan.dataset,
        version=decision.version,
        manifest_hash=manifest_hash(ws, plan.dataset, decision.version),
        mix=checked_mix(decision.mix if decision.mix is not None else planned_mix(programme, plan)),
        seed=plan.seed + len(recorded) if decision.seed is None else decision.seed,
        window_shards=last.window_shards,
        excluded=tuple(sorted({*last.excluded, *decision.excluded})),
        reason=decision.reason,
        decided_by=decision.decided_by,
    )
    with ws.lease(f"runs/{run}/segments"):
        if read_segments(ws, run) != recorded:
            raise WorkspaceBusy("another decision was recorded just now", where=segments_key(run), fix="run it again")
        _record(ws, run, recorded, segment)
    return segment


def checked_mix(weights: Mapping[str, float]) -> dict[str, float]:
    """`weights` with known kinds only. Raises ProgrammeError for another kind or weights that make no mix."""
    for kind in weights:
        if kind not in KINDS:
            raise ProgrammeError(f"{kind!r} is no kind of document", where="mix", fix=f"known: {', '.join(KINDS)}")
    try:
        Mixture.from_weights(weights)
    except ValueError as error:
        raise ProgrammeError(str(error), where="mix") from error
    return {kind: float(weight) for kind, weight in sorted(weights.items())}


def segment_of(segments: list[Segment], index: int) -> int:
    """Number of the segment that holds global `index`. Pure."""
    return max(number for number, segment in enumerate(segments) if segment.first_index <= index)


def _planned_and_there(ws: Workspace, programme: Programme, plan: RunPlan, recorded: list[Segment]) -> list[Segment]:
    known = {segment.version for segment in recorded}
    reached = recorded[-1].first_index if recorded else -1
    found: list[Segment] = []
    for number, planned in enumerate(plan.segments):
        first_index = plan.sequences_before(planned.from_step)
        if planned.version in known or first_index <= reached:
            continue
        if first_index > 0 and not ws.store.exists(layout.manifest(planned.version, plan.dataset)):
            break
        found.append(
            Segment(
                first_index=first_index,
                dataset=plan.dataset,
                version=planned.version,
                manifest_hash=manifest_hash(ws, plan.dataset, planned.version),
                mix=checked_mix(planned_mix(programme, plan)),
                seed=plan.seed + number,
                reason="planned in the programme",
                decided_by="programme",
            )
        )
    return found


def _record(ws: Workspace, run: str, recorded: list[Segment], segment: Segment) -> list[Segment]:
    segments = [*recorded, segment]
    body: dict[str, Any] = {"run": run, "segments": [asdict(entry) for entry in segments]}
    ws.write_json(segments_key(run), body, schema=f"{SCHEMA_NAME}/{SCHEMA_NUMBER}")
    ws.events("loader").append(EVENT, run=run, fingerprint=segment.fingerprint, **asdict(segment))
    return segments

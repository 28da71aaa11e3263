"""The short list that decides a run's order: which data, mix and seed hold from which index on; grown by decisions.

`runs/<run>/segments.json` holds the list. A run's first segment is recorded when its data is opened for the first time;
what the programme plans for later joins as soon as its dataset version exists; anything else (a new version, a
revocation, a quarantine, another mix, annealing) by `add_segment`, which is an event with its reason and its maker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from expedition.data.loading.mixture import Mixture
from expedition.data.records import KINDS
from expedition.errors import InputError, ProgrammeError, UsageError, WorkspaceBusy
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json
from expedition.workspace.schema import checked_schema

if TYPE_CHECKING:
    from expedition.data.versions.mixture import Cell, ScaledMix

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
    """Sources, shards (paths) and document ids that are left out: revoked, or in quarantine."""
    weights: dict[str, float] = field(default_factory=dict)
    """Passes over a cell (kind/source/language) within one pass over its kind; 1 where none is given."""
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
    """What `add_segment` is asked for.

    None for `version`: the last segment's. None for `mix`: the last segment's, too; for another version what the run
    plans is scaled to it again, unless the last mix was decided by itself. None for `seed`: one that no segment had.
    `excluded` is added to what is left out already.
    """

    version: str | None
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


def mix_of(
    ws: Workspace,
    programme: Programme,
    plan: RunPlan,
    version: str,
    decided: Mapping[str, float] | None = None,
    excluded: tuple[str, ...] = (),
) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of kinds and weights of cells with which a run reads a version: the planned mix scaled to what is there.

    `decided` shares of kinds are kept as they are. Without caps, weights and temperature in the programme nothing is
    scaled: the planned shares, and no weights. Scaled shares are of tokens; they become shares of sequences by what a
    kind's sequences hold (its pack plan, made here if it is missing). Raises ProgrammeError for a mix that cannot be.
    """
    from expedition.data.versions.mixture import scales

    planned = checked_mix(planned_mix(programme, plan) if decided is None else decided)
    if not scales(programme.data):
        return planned, {}
    found = scaled_to(ws, programme, plan, version, planned)
    if decided is not None:
        return planned, found.weights
    from expedition.data.loading.packs import PackRule, open_pack

    rule = PackRule(plan.sequence_length, programme.media, excluded, found.weights)
    pack = open_pack(ws, version, plan.dataset, manifest_hash(ws, plan.dataset, version), rule)
    sequences = {
        kind: found.shares[kind] * pack.count(kind) / pack.counts[kind].packed_tokens
        for kind in pack.kinds()
        if kind in found.shares
    }
    total = sum(sequences.values())
    # Rounded: a share is then short to read, and the mixture's period holds it to within 1/65536.
    return {kind: float(f"{share / total:.6g}") for kind, share in sorted(sequences.items())}, found.weights


def _mix_after(
    ws: Workspace,
    programme: Programme,
    plan: RunPlan,
    last: Segment,
    version: str,
    decision: Decision,
) -> tuple[dict[str, float], dict[str, float]]:
    """Mix and weights of the segment after `last`."""
    decided = decision.mix
    if decided is None and version == last.version:
        return last.mix, last.weights
    if decided is None and last.mix != mix_of(ws, programme, plan, last.version, excluded=last.excluded)[0]:
        decided = last.mix
    return mix_of(ws, programme, plan, version, decided, (*last.excluded, *decision.excluded))


def scaled_to(
    ws: Workspace, programme: Programme, plan: RunPlan, version: str, planned: Mapping[str, float]
) -> ScaledMix:
    """`planned` scaled to a version, over all tokens of the run.

    The whole run, also for a version that joins later: a document's passes over its segments then stay below its cap,
    each segment taking its part of them. Raises ProgrammeError if the mix and the version have nothing in common.
    """
    from expedition.data.versions.mixture import scaled

    try:
        return scaled(
            programme.data, planned, version_cells(ws, plan.dataset, version), plan.tokens_after(plan.total_steps)
        )
    except ValueError as error:
        raise ProgrammeError(str(error), where=f"data.mix, {plan.dataset} {version}") from error


def version_cells(ws: Workspace, dataset: str, version: str) -> list[Cell]:
    """What a version holds, by kind, source and language."""
    import pyarrow.parquet as pq

    from expedition.data.versions.mixture import cells_of

    key = f"{layout.dataset(version, dataset)}/statistics.parquet"
    return cells_of(pq.read_table(ws.store.local(key)).to_pylist())


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

    Raises UsageError if the step is not after the last segment's start or was trained already, or if an excluded name
    is nothing of the version; InputError if the version does not exist, ProgrammeError for a mix that cannot be.
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
    version = last.version if decision.version is None else decision.version
    content_hash = manifest_hash(ws, plan.dataset, version)
    _refuse_unknown(ws, plan.dataset, version, decision.excluded)
    mix, weights = _mix_after(ws, programme, plan, last, version, decision)
    segment = Segment(
        first_index=first_index,
        dataset=plan.dataset,
        version=version,
        manifest_hash=content_hash,
        mix=mix,
        weights=weights,
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
        if first_index <= reached or (planned.version in known and not planned.mix):
            continue
        if first_index > 0 and not ws.store.exists(layout.manifest(planned.version, plan.dataset)):
            break
        content_hash = manifest_hash(ws, plan.dataset, planned.version)
        excluded = recorded[-1].excluded if recorded else ()
        mix, weights = mix_of(ws, programme, plan, planned.version, planned.mix or None, excluded)
        found.append(
            Segment(
                first_index=first_index,
                dataset=plan.dataset,
                version=planned.version,
                manifest_hash=content_hash,
                mix=mix,
                weights=weights,
                seed=plan.seed + number,
                excluded=excluded,
                reason="planned in the programme",
                decided_by="programme",
            )
        )
    return found


def _refuse_unknown(ws: Workspace, dataset: str, version: str, excluded: tuple[str, ...]) -> None:
    """Raise UsageError for a name that is no source, shard or document of the version: it would exclude nothing."""
    if not excluded:
        return
    from expedition.data.loading.index import open_index

    index = open_index(ws, version, dataset)
    left = set(excluded) - set(index.shards)
    for part in index.parts():
        left -= set(part.sources)
        left -= left.intersection(part.ids) if left else set()
        if not left:
            return
    if left:
        raise UsageError(
            f"{dataset} {version} has no source, shard or document {', '.join(map(repr, sorted(left)[:5]))}",
            fix="sources and shards: expedition data show VERSION; documents: expedition data order explain",
        )


def _record(ws: Workspace, run: str, recorded: list[Segment], segment: Segment) -> list[Segment]:
    segments = [*recorded, segment]
    body: dict[str, Any] = {"run": run, "segments": [asdict(entry) for entry in segments]}
    ws.write_json(segments_key(run), body, schema=f"{SCHEMA_NAME}/{SCHEMA_NUMBER}")
    ws.events("loader").append(EVENT, run=run, fingerprint=segment.fingerprint, **asdict(segment))
    return segments

"""Where a source is: the versions, shards, run segments and checkpoints that contain it, read from what they left.

A checkpoint contains a source when a segment that reads it began before the checkpoint's last sequence. Which of its
documents a given step really read is what `expedition data trace --run` answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.parquet as pq

from expedition.workspace import Workspace, layout

INDEX = "index/documents.parquet"


@dataclass(frozen=True, slots=True)
class ShardUse:
    """A shard that holds documents of the source."""

    path: str
    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class VersionUse:
    """A dataset version that holds documents of the source."""

    dataset: str
    version: str
    approval_id: str | None
    documents: int
    tokens: int
    kinds: tuple[str, ...]
    shards: tuple[ShardUse, ...]


@dataclass(frozen=True, slots=True)
class SegmentUse:
    """A segment of a run's order that reads the source."""

    run: str
    segment: int
    dataset: str
    version: str
    first_index: int
    end_index: int | None
    """First index that is no longer its own; None: it is the last."""


@dataclass(frozen=True, slots=True)
class CheckpointUse:
    """A checkpoint that was trained on the source."""

    run: str
    name: str
    step: int
    tokens: int
    sequences: int
    """Sequences that it was trained on."""


@dataclass(frozen=True, slots=True)
class Uses:
    """Everything that contains a source."""

    source: str
    versions: tuple[VersionUse, ...]
    segments: tuple[SegmentUse, ...]
    checkpoints: tuple[CheckpointUse, ...]

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def uses_of(ws: Workspace, source: str) -> Uses:
    """Find a source in everything that was built and trained. Streams the indices of the versions that name it."""
    versions = tuple(found for key in _manifests(ws) if (found := _version_use(ws, key, source)) is not None)
    held = {(use.dataset, use.version): use for use in versions}
    segments: list[SegmentUse] = []
    checkpoints: list[CheckpointUse] = []
    for run in _runs(ws):
        record = ws.read_json(f"{layout.run(run)}/segments.json")
        mine = segment_uses(run, record["segments"], held, source)
        segments += mine
        checkpoints += [
            CheckpointUse(run, name, int(state["step"]), int(state["tokens"]), sequences)
            for name, state in _checkpoints(ws, run)
            if (sequences := sequences_before(state["run"]["batch_sequences"], int(state["step"])))
            > min((use.first_index for use in mine), default=sequences)
        ]
    return Uses(source, versions, tuple(segments), tuple(checkpoints))


def segment_uses(
    run: str,
    segments: Sequence[Mapping[str, Any]],
    held: Mapping[tuple[str, str], VersionUse],
    source: str,
) -> list[SegmentUse]:
    """The segments that read `source`: its version holds it, it is not excluded, and the mix asks for its kinds."""
    found = []
    for number, segment in enumerate(segments):
        use = held.get((segment["dataset"], segment["version"]))
        if use is None or source in segment["excluded"]:
            continue
        if not any(segment["mix"].get(kind, 0) > 0 for kind in use.kinds):
            continue
        end = segments[number + 1]["first_index"] if number + 1 < len(segments) else None
        found.append(SegmentUse(run, number, segment["dataset"], segment["version"], int(segment["first_index"]), end))
    return found


def sequences_before(ramp: Sequence[Mapping[str, int]], step: int) -> int:
    """Sequences of the steps before `step`, by a plan's batch ramp ({from_step, sequences} in order)."""
    starts = [entry["from_step"] for entry in ramp[1:]]
    total = 0
    for entry, end in zip(ramp, [*starts, step], strict=True):
        total += max(0, min(end, step) - entry["from_step"]) * entry["sequences"]
    return total


def _manifests(ws: Workspace) -> list[str]:
    return [
        f"data/{dataset}/{version}/manifest.json"
        for dataset in ws.store.folders("data")
        for version in ws.store.folders(f"data/{dataset}")
        if ws.store.exists(f"data/{dataset}/{version}/manifest.json")
    ]


def _runs(ws: Workspace) -> list[str]:
    return [run for run in ws.store.folders("runs") if ws.store.exists(f"{layout.run(run)}/segments.json")]


def _checkpoints(ws: Workspace, run: str) -> list[tuple[str, dict[str, Any]]]:
    folder = layout.checkpoints(run)
    names = [name for name in ws.store.folders(folder) if ws.store.exists(f"{folder}/{name}/COMPLETE")]
    return [(name, ws.read_json(f"{folder}/{name}/state.json")) for name in names]


def _version_use(ws: Workspace, key: str, source: str) -> VersionUse | None:
    manifest = ws.read_json(key)
    row = next((row for row in manifest["sources"] if row["name"] == source), None)
    if row is None:
        return None
    shards: dict[str, list[int]] = {}
    kinds: set[str] = set()
    table = pq.ParquetFile(ws.store.local(f"{key.removesuffix('/manifest.json')}/{INDEX}"))
    for batch in table.iter_batches(columns=["shard", "source", "kind", "tokens"]):
        columns = [batch.column(name).to_pylist() for name in ("shard", "source", "kind", "tokens")]
        for shard, name, kind, tokens in zip(*columns, strict=True):
            if name == source:
                counts = shards.setdefault(shard, [0, 0])
                counts[0] += 1
                counts[1] += tokens
                kinds.add(kind)
    if not shards:
        return None
    uses = tuple(ShardUse(path, *counts) for path, counts in sorted(shards.items()))
    return VersionUse(
        dataset=manifest["dataset"],
        version=manifest["version"],
        approval_id=row.get("approval_id"),
        documents=sum(use.documents for use in uses),
        tokens=sum(use.tokens for use in uses),
        kinds=tuple(sorted(kinds)),
        shards=uses,
    )

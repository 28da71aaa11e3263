"""Which checkpoint of another run a run descends from: `runs/<run>/lineage.json`, written once and never changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from expedition.errors import UsageError
from expedition.workspace import AlreadyExists, Workspace, layout
from expedition.workspace.workspace import json_artefact

SCHEMA = "train.lineage/1"


@dataclass(frozen=True, slots=True)
class Parent:
    """The checkpoint that a run began with."""

    run: str
    checkpoint: str
    manifest_sha256: str
    """Hash of its manifest, and so of every byte in it."""
    step: int
    """Steps that it had done."""
    kind: Literal["fork", "start_from"]
    """fork: goes on at that step, with optimiser and data order; start_from: another phase, from step 0."""


def lineage_key(run: str) -> str:
    """Where a run's parent is recorded."""
    return f"{layout.run(run)}/lineage.json"


def read_parent(ws: Workspace, run: str) -> Parent | None:
    """The recorded parent; None for a run that began with fresh weights."""
    key = lineage_key(run)
    if not ws.store.exists(key):
        return None
    record = ws.read_json(key)
    return Parent(**{name: value for name, value in record.items() if name != "schema"})


def record_parent(ws: Workspace, run: str, parent: Parent) -> None:
    """Record the parent before the run's first step. Idempotent. Raises UsageError if it has another one."""
    try:
        ws.store.create(lineage_key(run), json_artefact(asdict(parent), SCHEMA))
    except AlreadyExists:
        known = read_parent(ws, run)
        if known != parent:
            raise UsageError(
                f"run {run} began with {known.run if known else '?'}/{known.checkpoint if known else '?'}, "
                f"not with {parent.run}/{parent.checkpoint}",
                where=lineage_key(run),
                fix="give the run another name, or the start that it had",
            ) from None
        return
    ws.events("train").append("train.lineage", run=run, parent=asdict(parent))


def described(parent: Parent | None) -> dict[str, Any]:
    """The parent as config.yaml and every checkpoint say it; nothing for a run without one."""
    return {} if parent is None else {"lineage": asdict(parent)}

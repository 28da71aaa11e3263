"""A fork: a new run that goes on from a checkpoint of another, with its weights, moments and place in the data order.

The checkpoint is copied byte for byte, `COMPLETE` last, so a fork needs nothing of its parent any more and begins as a
plain resume does; its manifest keeps its hash, which `runs/<fork>/lineage.json` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from expedition.errors import InputError, UsageError
from expedition.plan.load import override, validate
from expedition.plan.models import Programme
from expedition.plan.recorded import plan_key, record_plan, with_recorded
from expedition.plan.runs import RunPlan
from expedition.plan.yaml_lines import Lines
from expedition.train.checkpoint import COMPLETE, CheckpointInfo, checkpoints, newest_intact, verify
from expedition.train.decisions import decisions, find_checkpoint, inherit_decisions
from expedition.train.lineage import Parent, read_parent, record_parent
from expedition.train.setup import find_run
from expedition.workspace import Workspace, layout
from expedition.workspace.store import FolderStore


def fork_run(
    ws: Workspace,
    programme: Programme,
    new: str,
    parent: str,
    checkpoint: str | None = None,
    changes: Sequence[str] = (),
) -> dict[str, Any]:
    """Make run `new` from a checkpoint (name or step; None: the newest intact) of run `parent`. Idempotent.

    Its plan is the programme's run of that name, else the parent's with `changes` (`learning_rate.peak=1e-4`), recorded
    in the workspace. Raises UsageError if `new` has begun otherwise, or does not train the same tokens up to that step;
    ProgrammeError for changes that are none; InputError for a damaged checkpoint.
    """
    programme = with_recorded(ws, programme)
    plan = _plan(ws, programme, new, parent, changes)
    info = _checkpoint(ws, parent, checkpoint)
    _require_same_past(find_run(programme, parent), plan, info, new)
    with ws.lease(layout.run(new)):
        descent = Parent(parent, info.name, info.manifest_sha256, info.step, "fork")
        if read_parent(ws, new) is None and (checkpoints(ws, new) or ws.store.exists(f"{layout.run(new)}/config.yaml")):
            raise UsageError(f"run {new} has begun already", where=layout.run(new), fix="give the fork another name")
        record_parent(ws, new, descent)
        if new not in programme.runs:
            record_plan(ws, new, plan)
        _copy(ws, f"{layout.run(parent)}/segments.json", f"{layout.run(new)}/segments.json")
        inherit_decisions(ws, new, [one for one in decisions(ws, parent) if one.resume_step <= info.step])
        _copy_checkpoint(ws, info, new)
    return {"run": new, **asdict(descent), "plan": plan_key(new) if ws.store.exists(plan_key(new)) else "programme"}


def _plan(ws: Workspace, programme: Programme, new: str, parent: str, changes: Sequence[str]) -> RunPlan:
    """Forking again with the same changes gives the recorded plan; with others it is refused."""
    base = find_run(programme, parent)
    recorded = ws.store.exists(plan_key(new))
    if new in programme.runs and not recorded:
        if changes:
            raise UsageError(f"run {new} is in the programme", fix=f"change it there: --set runs.{new}.…")
        return programme.runs[new]
    tree = programme.model_dump(mode="json")
    tree["runs"][new] = base.model_dump(mode="json")
    for change in changes:
        override(tree, f"runs.{new}.{change}")
    plan = validate(tree, Lines({}, {}), "--change").runs[new]
    if recorded and plan != programme.runs[new]:
        raise UsageError(
            f"run {new} was forked with another plan", where=plan_key(new), fix="give the fork another name"
        )
    return plan


def _checkpoint(ws: Workspace, parent: str, checkpoint: str | None) -> CheckpointInfo:
    if checkpoint is None:
        info, _ = newest_intact(ws, parent)
        if info is None:
            raise UsageError(f"run {parent} has no complete checkpoint", fix=f"expedition train run --run {parent}")
        return info
    info = find_checkpoint(ws, parent, checkpoint)
    if (problem := verify(ws, info)) is not None:
        raise InputError(problem, where=info.folder, fix=f"expedition train status --run {parent} --check")
    return info


def _require_same_past(parent: RunPlan, plan: RunPlan, info: CheckpointInfo, new: str) -> None:
    """A fork has done the parent's steps, so its plan must count them as the parent's does."""
    differs = [
        field
        for field in ("model", "dataset", "sequence_length", "seed")
        if getattr(parent, field) != getattr(plan, field)
    ]
    if plan.tokens_after(info.step) != info.tokens:
        differs.append("batch_sequences")
    if differs:
        raise UsageError(
            f"the plan of {new} differs from its parent's before step {info.step}: {', '.join(differs)}",
            where=f"runs.{new}",
            fix=f"keep them up to that step, or begin another phase: runs.{new}.start_from",
        )


def _copy_checkpoint(ws: Workspace, info: CheckpointInfo, new: str) -> None:
    target = layout.checkpoint(new, info.name)
    keys = sorted(ws.store.list(info.folder), key=lambda key: key.endswith(f"/{COMPLETE}"))
    if ws.store.exists(f"{target}/{COMPLETE}"):
        return
    for key in keys:
        _copy(ws, key, f"{target}/{key.removeprefix(f'{info.folder}/')}")
    if isinstance(ws.store, FolderStore):
        for key in ws.store.list(target):
            ws.path(key).chmod(0o444)


def _copy(ws: Workspace, source: str, target: str) -> None:
    if ws.store.exists(source):
        ws.store.upload(target, ws.store.local(source), keep=True)

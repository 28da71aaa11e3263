"""A run that starts from another run's checkpoint: find it once, record it, fill the state at step 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml
from torch import Tensor

from expedition.errors import InputError, UsageError
from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks
from expedition.plan.phases import StartPlan
from expedition.plan.positions import RopePlan, RopeScaling
from expedition.train.checkpoint import (
    MODEL,
    OPTIMIZER,
    CheckpointInfo,
    load_state,
    load_tensors,
    newest_intact,
    read_info,
    verify,
)
from expedition.train.lineage import Parent, lineage_key, read_parent, record_parent
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.reader import TensorReader
from expedition.train.step import TrainState
from expedition.workspace import NotFound, Workspace, layout

_POSITIONS = ("rope_theta", "rope_scaling", "max_positions")
"""Fields of a shape that a phase may change: they hold no parameters."""


def begin_from(
    ws: Workspace,
    name: str,
    start: StartPlan,
    config: OmniConfig,
    state: TrainState,
    ranks: Ranks,
    tokenizer: str | None = None,
) -> Parent:
    """Fill `state` at step 0 from the checkpoint that run `name` starts from, and return what is on record about it.

    `tokenizer` is the fingerprint of this run's, where it is known.

    The first rank decides which one that is, at the run's first start; later starts take the same. Raises UsageError
    if there is none, InputError if it is damaged, gone, or of another model.
    """
    agreement = Agreement.join(ranks.rank, ranks.world)
    parent = Parent(**agreement.first(lambda: asdict(read_parent(ws, name) or _choose(ws, start))))
    _require_planned(name, parent, start)
    info = _as_recorded(ws, parent)
    written = load_state(ws, info)
    require_same_tokenizer(written.get("tokenizer"), tokenizer, info.folder)
    require_same_model(written["model"], config.to_json(), info.folder, positions=False)
    agreement.all(lambda: _require_intact(ws, info, (ranks.rank, ranks.world)))
    agreement.all(lambda: _fill(load_tensors(ws, info, MODEL), dict(state.optimizer.parameters), info.folder))
    if start.state == "optimizer":
        wanted = dict(state.optimizer.state())
        agreement.all(lambda: _fill(load_tensors(ws, info, OPTIMIZER), wanted, info.folder))
    agreement.first(lambda: record_parent(ws, name, parent))
    return parent


def _require_planned(name: str, parent: Parent, start: StartPlan) -> None:
    """The plan may not name another start than the one on record."""
    if parent.run != start.run or start.checkpoint not in (None, parent.checkpoint):
        raise UsageError(
            f"run {name!r} began from {parent.run} {parent.checkpoint}, the plan says "
            f"{start.run} {start.checkpoint or '(its newest)'}",
            where=lineage_key(name),
            fix=f"restore runs.{name}.start_from, or train into another run name",
        )


def _choose(ws: Workspace, start: StartPlan) -> Parent:
    """The named checkpoint, or the newest one that is intact."""
    if start.checkpoint is None:
        info, _ = newest_intact(ws, start.run)
        if info is None:
            raise UsageError(
                f"run {start.run!r} has no complete checkpoint to start from",
                where="runs.*.start_from",
                fix=f"train it first: expedition train run --run {start.run}",
            )
    else:
        info = named_checkpoint(ws, start.run, start.checkpoint)
    return Parent(start.run, info.name, info.manifest_sha256, info.step, "start_from")


def named_checkpoint(ws: Workspace, run: str, name: str) -> CheckpointInfo:
    """A complete checkpoint by its name. Raises UsageError with the names that there are."""
    from expedition.train.checkpoint import checkpoints

    known = checkpoints(ws, run)
    for info in known:
        if info.name == name:
            return info
    raise UsageError(
        f"run {run!r} has no complete checkpoint {name!r}",
        where=layout.checkpoints(run),
        fix=f"known: {', '.join(info.name for info in known)}" if known else f"expedition train run --run {run}",
    )


def _as_recorded(ws: Workspace, parent: Parent) -> CheckpointInfo:
    """The recorded checkpoint, if it is still what it was."""
    folder = layout.checkpoint(parent.run, parent.checkpoint)
    try:
        info = read_info(ws, parent.run, parent.checkpoint)
    except NotFound as error:
        raise InputError(
            "the checkpoint that this run started from is gone",
            where=folder,
            fix="restore it, or train into another run name",
        ) from error
    if info.manifest_sha256 != parent.manifest_sha256:
        raise InputError(
            "the checkpoint that this run started from is another one now",
            where=folder,
            fix="restore it, or train into another run name",
        )
    return info


def _require_intact(ws: Workspace, info: CheckpointInfo, share: tuple[int, int]) -> None:
    if (problem := verify(ws, info, share)) is not None:
        raise InputError(
            problem, where=info.folder, fix="restore it from a copy, or name another checkpoint in start_from"
        )


def require_same_tokenizer(theirs: str | None, ours: str | None, where: str) -> None:
    """Raise InputError where both fingerprints are known and differ: equal ids would be other texts."""
    if theirs is not None and ours is not None and theirs != ours:
        raise InputError(
            f"the checkpoint is of another tokenizer: its fingerprint is {theirs[:16]}… there and {ours[:16]}… here",
            where=where,
            fix="give the run a dataset version with the checkpoint's tokenizer (expedition data build --parent VERSION)",
        )


def require_same_model(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str, *, positions: bool = True
) -> None:
    """Raise InputError, the first difference named, unless two model configs (`OmniConfig.to_json`) are the same.

    `positions` False: rotary positions may differ, which hold no parameters.
    """
    for path, found, wanted in _differences(theirs, ours, ()):
        if not positions and path[-1] in _POSITIONS and path[:-1] == ("shape",):
            continue
        raise InputError(
            f"the checkpoint is of another model: {'.'.join(path)} is {found!r} there and {wanted!r} here",
            where=where,
            fix="give the run the model, media rule and tokenizer of the checkpoint, or train into another run name",
        )


def _differences(theirs: Any, ours: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping) and path[-1:] != ("rope_scaling",):
        names = sorted({*theirs, *ours})
        return [found for name in names for found in _differences(theirs.get(name), ours.get(name), (*path, name))]
    return [] if theirs == ours else [(path, theirs, ours)]


def _fill(values: TensorReader, targets: dict[str, Tensor], where: str) -> None:
    """Copy by name; what the checkpoint holds besides is left. Raises InputError for the first tensor that differs."""
    missing = sorted(targets.keys() - values.keys())
    if missing:
        raise InputError(
            f"the checkpoint has no {missing[0]} ({len(missing)} tensors of this run are not in it)",
            where=where,
            fix="start from a checkpoint of the same model, and of the same optimiser with start_from.state: optimizer",
        )
    try:
        values.fill(targets, convert=True)
    except ValueError as error:
        raise InputError(f"the checkpoint does not fit: {error}", where=where) from error


def inherited_positions(ws: Workspace, start: StartPlan) -> RopePlan | None:
    """The rotary positions of the run that is started from, by its config.yaml; None if it has not begun yet."""
    key = f"{layout.run(start.run)}/config.yaml"
    if not ws.store.exists(key):
        return None
    shape = yaml.safe_load(ws.store.read(key))["model"]["shape"]
    scaling = shape.get("rope_scaling")
    return RopePlan(
        theta=shape["rope_theta"],
        scaling=RopeScaling(**scaling) if scaling else None,
        max_positions=shape["max_positions"],
    )

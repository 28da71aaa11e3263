"""Where a run goes on: the newest checkpoint whose hashes match, on any number of ranks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expedition.errors import InputError
from expedition.parallel.mesh import Ranks
from expedition.train.batches import BatchSource
from expedition.train.checkpoint import (
    MODEL,
    OPTIMIZER,
    Corrupt,
    delete_checkpoint,
    load_state,
    load_tensors,
    newest_intact,
)
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.snapshot import restore
from expedition.train.starting import require_same_model
from expedition.train.step import TrainState
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace

_log = logging.getLogger("expedition.train")


@dataclass(frozen=True, slots=True)
class Start:
    """Where an attempt begins."""

    step: int
    checkpoint: str | None
    recomputed_steps: int
    """Recorded steps of earlier attempts that are done again."""
    restore_s: float
    """Seconds of finding, checking and reading the checkpoint."""


def resume(
    ws: Workspace,
    run: str,
    state: TrainState,
    source: BatchSource,
    ranks: Ranks,
    description: Mapping[str, Any] | None = None,
) -> Start:
    """Fill `state` from the newest intact checkpoint; leave it at step 0 if there is none. A collective.

    Corrupt checkpoints that are passed over become events and a line of the log, and are taken away, so that the run
    can write them again. `description` is what this run's checkpoints say of themselves (model, tokenizer).
    Raises InputError if the data before that step is other data, or, with the first difference named, if the
    checkpoint is of another model, tokenizer or optimiser.
    """
    begin = time.monotonic()
    agreement = Agreement.join(ranks.rank, ranks.world)
    info, corrupt = newest_intact(ws, run, agreement)
    agreement.first(lambda: _take_away(ws, run, corrupt))
    steps = read_metrics(ws, run, [])["step"]
    reached = int(steps.max()) + 1 if steps.size else 0
    if info is None:
        return Start(0, None, reached, 0.0)
    written = load_state(ws, info)
    require_same_run(written, description or {}, info.folder)
    source.require_same(info.step, written["data"]["fingerprint"])
    try:
        restore(state, load_tensors(ws, info, MODEL), load_tensors(ws, info, OPTIMIZER), info.step, agreement)
    except ValueError as error:
        raise InputError(
            f"this is the checkpoint of another model or optimiser: {error}",
            where=info.folder,
            fix="go on with the plan that wrote it, or train into another run name",
        ) from error
    return Start(info.step, info.name, max(0, reached - info.step), time.monotonic() - begin)


def require_same_run(written: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> None:
    """Raise InputError, the first difference named, unless a checkpoint's state has this run's tokenizer and model.

    What one of the two does not say is not compared.
    """
    theirs, mine = written.get("tokenizer"), ours.get("tokenizer")
    if theirs is not None and mine is not None and theirs != mine:
        raise InputError(
            f"the checkpoint is of another tokenizer: its fingerprint is {theirs[:16]}… there and {mine[:16]}… here",
            where=where,
            fix="give the run a dataset version with the tokenizer that it began with, or train into another run name",
        )
    if "model" in written and "model" in ours:
        require_same_model(written["model"], ours["model"], where)


def _take_away(ws: Workspace, run: str, corrupt: list[Corrupt]) -> None:
    for found in corrupt:
        _log.warning("run %s: checkpoint %s is damaged and is passed over: %s", run, found.name, found.problem)
        ws.events("train").append("train.corrupt_checkpoint", run=run, checkpoint=found.name, problem=found.problem)
        delete_checkpoint(ws, run, found.name)

"""Where a run goes on: the newest checkpoint whose hashes match."""

from __future__ import annotations

import time
from dataclasses import dataclass

from expedition.errors import InputError
from expedition.parallel.mesh import Ranks
from expedition.train.batches import BatchSource
from expedition.train.checkpoint import (
    MODEL,
    OPTIMIZER,
    delete_checkpoint,
    load_state,
    load_tensors,
    newest_intact,
)
from expedition.train.saving.snapshot import restore
from expedition.train.step import TrainState
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Start:
    """Where an attempt begins."""

    step: int
    checkpoint: str | None
    recomputed_steps: int
    """Recorded steps of earlier attempts that are done again."""
    restore_s: float
    """Seconds of finding, checking and reading the checkpoint."""


def resume(ws: Workspace, run: str, state: TrainState, source: BatchSource, ranks: Ranks) -> Start:
    """Fill `state` from the newest intact checkpoint; leave it at step 0 if there is none.

    Corrupt checkpoints that are passed over become events and are taken away, so that the run can write them again.
    Raises InputError if the data before that step is other data, or the checkpoint is another model's.
    """
    begin = time.monotonic()
    info, corrupt = newest_intact(ws, run)
    ranks.barrier()
    if ranks.is_first:
        for found in corrupt:
            ws.events("train").append("train.corrupt_checkpoint", run=run, checkpoint=found.name, problem=found.problem)
            delete_checkpoint(ws, run, found.name)
    steps = read_metrics(ws, run, [])["step"]
    reached = int(steps.max()) + 1 if steps.size else 0
    if info is None:
        return Start(0, None, reached, 0.0)
    source.require_same(info.step, load_state(ws, info)["data"]["fingerprint"])
    try:
        restore(state, load_tensors(ws, info, MODEL), load_tensors(ws, info, OPTIMIZER), info.step)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"this is the checkpoint of another model: {error}", where=info.folder, fix="use another run name"
        ) from error
    return Start(info.step, info.name, max(0, reached - info.step), time.monotonic() - begin)

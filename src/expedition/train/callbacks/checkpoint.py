"""Saves when the plan says so, at the last step, and when somebody asks for it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from expedition.errors import StorageError
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan, WallTime
from expedition.train.batches import BatchSource
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics
from expedition.train.control import Ask
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.commit import Snapshot
from expedition.train.saving.name import checkpoint_name
from expedition.train.saving.snapshot import state_tensors
from expedition.train.saving.writer import CheckpointWriter, Unwritten, Written
from expedition.workspace import AlreadyExists, Lease, Workspace

_log = logging.getLogger("expedition.train")


class Checkpoints:
    """Every rank writes its shards; the first rank decides what the clock decides, and tells the event log.

    Metric rows are made durable before a checkpoint is begun: a restart repeats exactly the rows after it.
    """

    def __init__(
        self,
        run: RunPlan,
        ranks: Ranks,
        source: BatchSource,
        metrics: Metrics,
        writer: CheckpointWriter,
        description: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`description` goes into each checkpoint's state; `clock` counts seconds."""
        self._run, self._ranks, self._source, self._metrics = run, ranks, source, metrics
        self._writer, self._description, self._clock = writer, description, clock
        self._saved_at = clock()
        self._answered = (-1, False)

    def due(self, step: int) -> bool:
        """Whether the plan wants a checkpoint after `step`; asked again for the same step, the same answer. A collective
        where the clock decides."""
        if self._answered[0] != step:
            self._answered = (step, self._permanent(step) or self._ephemeral_due(step))
        return self._answered[1]

    def after_step(self, done: Done) -> str | None:
        """Take a snapshot if one is due; never pauses a run."""
        step = done.result.step
        if self.due(step) or done.ask >= Ask.SAVE or done.last:
            self._save(done, done.last or self._permanent(step))
        return None

    def at_end(self, ending: Ending) -> None:
        """Wait until the last one is complete. Raises StorageError if the storage refused it."""
        if ending == "failed":
            with contextlib.suppress(Exception):  # what failed says more than what follows from it
                self._writer.finish()
        else:
            self._writer.finish()

    def _permanent(self, step: int) -> bool:
        return self._run.crosses(self._run.checkpoint.permanent_every, step)

    def _ephemeral_due(self, step: int) -> bool:
        every = self._run.checkpoint.ephemeral_every
        if every is None:
            return False
        if isinstance(every, WallTime):
            return self._ranks.any(self._ranks.is_first and self._clock() - self._saved_at >= every.seconds)
        return self._run.crosses(every, step)

    def _save(self, done: Done, permanent: bool) -> None:
        self._writer.wait()
        self._saved_at = self._clock()
        steps = done.state.step
        tokens = self._run.tokens_after(steps)
        name = checkpoint_name(tokens, self._run.smallest_step_tokens)
        try:
            self._writer.agreement.first(self._metrics.flush)
        except AlreadyExists:
            raise
        except (StorageError, OSError) as error:
            self._writer.refuse(Unwritten(name, steps, error))
            return
        model, optimizer = state_tensors(done.state)
        snapshot = Snapshot(
            name=name,
            step=steps,
            tokens=tokens,
            permanent=permanent,
            model=model,
            optimizer=optimizer,
            state={**self._description, "data": {"fingerprint": self._source.fingerprint_at(steps)}},
        )
        self._writer.save(snapshot, asynchronous=self._run.checkpoint.asynchronous and not done.interrupted)


def open_writer(ws: Workspace, name: str, run: RunPlan, ranks: Ranks, lease: Lease | None) -> CheckpointWriter:
    """The writer of a run's checkpoints on this rank, told to the event log. A collective; `lease` of the first rank."""
    agreement = Agreement.join(ranks.rank, ranks.world)
    return CheckpointWriter(ws, name, run.checkpoint.keep_ephemeral, lease, agreement, Told(ws, name, ranks.is_first))


class Told:
    """Says on the first rank what became of each checkpoint: an event, and a line of the log for one that failed."""

    def __init__(self, ws: Workspace, run: str, is_first: bool) -> None:
        self._append = partial(ws.events("train").append, run=run) if is_first else None
        self._run = run

    def written(self, result: Written) -> None:
        if self._append is None:
            return
        info = result.info
        with contextlib.suppress(StorageError):  # the checkpoint is complete, whether or not it can be told
            self._append(
                "train.checkpoint.complete",
                checkpoint=info.name,
                step=info.step,
                tokens=info.tokens,
                permanent=info.permanent,
                manifest_sha256=info.manifest_sha256,
                retired=result.retired,
                staging_s=result.staging_s,
                write_s=result.write_s,
                staging_bytes=result.staging_bytes,
            )

    def unwritten(self, result: Unwritten) -> None:
        if self._append is None:
            return
        problem = str(result.error).splitlines()[0] if str(result.error) else type(result.error).__name__
        _log.error(
            "run %s: checkpoint %s could not be written, training goes on with the one before it: %s",
            self._run,
            result.name,
            problem,
        )
        with contextlib.suppress(StorageError):  # the same disk may hold the event log
            self._append("train.checkpoint.failed", checkpoint=result.name, step=result.step, problem=problem)

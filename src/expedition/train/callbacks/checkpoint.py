"""Saves when the plan says so, at the last step, and when somebody asks the process to stop."""

from __future__ import annotations

from typing import Any

from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.train.batches import BatchSource
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics
from expedition.train.checkpoint import Snapshot
from expedition.train.saving.name import checkpoint_name
from expedition.train.saving.snapshot import snapshot_tensors
from expedition.train.saving.writer import CheckpointWriter


class Checkpoints:
    """Every rank gathers; the first rank's `writer` writes, the others have None.

    Metric rows are made durable before a checkpoint is begun: a restart repeats exactly the rows after it.
    """

    def __init__(
        self,
        run: RunPlan,
        ranks: Ranks,
        source: BatchSource,
        metrics: Metrics,
        writer: CheckpointWriter | None,
        description: dict[str, Any],
    ) -> None:
        self._run, self._ranks, self._source, self._metrics = run, ranks, source, metrics
        self._writer, self._description = writer, description

    def after_step(self, done: Done) -> str | None:
        """Take a snapshot if one is due; never pauses a run."""
        plan, step = self._run.checkpoint, done.result.step
        permanent = done.last or self._run.crosses(plan.permanent_every, step)
        ephemeral = plan.ephemeral_every is not None and self._run.crosses(plan.ephemeral_every, step)
        if permanent or ephemeral or done.interrupted:
            self._save(done, permanent)
        return None

    def at_end(self, ending: Ending) -> None:
        """Wait until the last one is complete."""
        if self._writer is not None:
            self._writer.wait()
        self._ranks.barrier()

    def _save(self, done: Done, permanent: bool) -> None:
        self._metrics.flush()
        model, optimizer = snapshot_tensors(done.state)
        if self._writer is None:
            return
        steps = done.state.step
        tokens = self._run.tokens_after(steps)
        state = {**self._description, "data": {"fingerprint": self._source.fingerprint_at(steps)}}
        snapshot = Snapshot(
            name=checkpoint_name(tokens, self._run.smallest_step_tokens),
            step=steps,
            tokens=tokens,
            permanent=permanent,
            model=model,
            optimizer=optimizer,
            state=state,
        )
        self._writer.save(snapshot, asynchronous=self._run.checkpoint.asynchronous and not done.interrupted)

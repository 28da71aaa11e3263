"""Keeps what a dropped step was: its samples, by which it can be looked at and made again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from expedition.parallel.mesh import Ranks
from expedition.plan.runs import Duration, RunPlan
from expedition.train.bad_step import Verdict
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics
from expedition.train.control import Ask
from expedition.workspace import Workspace

DROPPED = "train.step_dropped"


@dataclass(frozen=True, slots=True)
class _Pending:
    """A step whose verdict may still be on its way."""

    step: int
    verdict: Verdict
    loss: Tensor
    gradient_norm: Tensor
    sample_ids: tuple[int, ...]


class DroppedSteps:
    """An event `train.step_dropped` for each step whose update was dropped, from each rank that reads samples of its
    own: step, rank, reason (`not finite` or `spike`), loss, gradient_norm, sample_ids.

    A verdict is read where the step's figures have been read anyhow, else a step later, so no step waits for it; and
    before a checkpoint that the plan foresees, since a restart does not repeat what lies before one.
    """

    def __init__(self, ws: Workspace, name: str, run: RunPlan, ranks: Ranks, metrics: Metrics) -> None:
        self._ws, self._name, self._run, self._metrics = ws, name, run, metrics
        self._rank = ranks.data_rank
        self._reads = all(ranks.place(axis) == 0 for axis in ("pp", "cp", "tp"))
        self._pending: list[_Pending] = []

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        if not self._reads:
            return None
        result = done.result
        now = self._metrics.latest is not None or done.last or done.ask >= Ask.SAVE or self._saves_at(result.step)
        if not now:
            self._write()
        self._pending.append(_Pending(result.step, result.verdict, result.loss, result.gradient_norm, done.sample_ids))
        if now:
            self._write()
        return None

    def at_end(self, ending: Ending) -> None:
        if ending != "failed":
            self._write()

    def _saves_at(self, step: int) -> bool:
        plan = self._run.checkpoint
        return any(
            isinstance(every, Duration) and self._run.crosses(every, step)
            for every in (plan.permanent_every, plan.ephemeral_every)
        )

    def _write(self) -> None:
        for found in self._pending:
            if bool(found.verdict.keep):
                continue
            self._ws.events("train").append(
                DROPPED,
                run=self._name,
                step=found.step,
                rank=self._rank,
                reason="spike" if bool(found.verdict.finite) else "not finite",
                loss=_number(found.loss),
                gradient_norm=_number(found.gradient_norm),
                sample_ids=sorted(found.sample_ids),
            )
        self._pending.clear()


def _number(value: Tensor) -> float | str:
    """A number that JSON has; others by name."""
    number = float(value)
    return number if abs(number) < float("inf") else str(number)

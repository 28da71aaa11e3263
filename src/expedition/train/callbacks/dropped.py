"""Keeps what a dropped step was: its samples, by which it can be looked at and made again."""

from __future__ import annotations

from torch import Tensor

from expedition.parallel.mesh import Ranks
from expedition.train.callbacks.callback import Done, Ending
from expedition.workspace import Workspace

DROPPED = "train.step_dropped"


class DroppedSteps:
    """An event `train.step_dropped` for each step whose update was dropped, from each rank that reads samples of its
    own: step, rank, reason (`not finite` or `spike`), loss, gradient_norm, sample_ids."""

    def __init__(self, ws: Workspace, name: str, ranks: Ranks) -> None:
        self._ws, self._name, self._rank = ws, name, ranks.data_rank
        self._reads = all(ranks.place(axis) == 0 for axis in ("pp", "cp", "tp"))

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        for seen in done.seen if self._reads else ():
            result = seen.result
            if bool(result.verdict.keep):
                continue
            self._ws.events("train").append(
                DROPPED,
                run=self._name,
                step=result.step,
                rank=self._rank,
                reason="spike" if bool(result.verdict.finite) else "not finite",
                loss=_number(result.loss),
                gradient_norm=_number(result.gradient_norm),
                sample_ids=sorted(seen.sample_ids),
            )
        return None

    def at_end(self, ending: Ending) -> None:
        """Nothing is left to tell."""


def _number(value: Tensor) -> float | str:
    """A number that JSON has; others by name."""
    number = float(value)
    return number if abs(number) < float("inf") else str(number)

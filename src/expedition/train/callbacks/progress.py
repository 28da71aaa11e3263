"""Tells whoever started the run how far it is."""

from __future__ import annotations

import math
from typing import Protocol

from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics


class Listener(Protocol):
    """Called with steps done, steps in all and a line of text."""

    def __call__(self, done: int, total: int, text: str) -> None: ...


class Progress:
    """Speaks after every recorded row."""

    def __init__(self, run: RunPlan, metrics: Metrics, listener: Listener) -> None:
        self._run, self._metrics, self._listener = run, metrics, listener

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        row = self._metrics.latest
        if row is not None:
            loss = row.values.get("loss", math.nan)
            text = f"loss {loss:.3f}  lr {row.values['learning_rate']:.2e}  {row.values['step_s']:.2f} s a step"
            self._listener(row.step + 1, self._run.total_steps, text)
        return None

    def at_end(self, ending: Ending) -> None:
        """Nothing to do."""

"""Tells whoever started the run how far it is and how it does."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics

RECENT_STEPS = 20
"""The time that is left comes from the mean of so many steps."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A run after a recorded step. Unknown figures are None."""

    done: int
    """Steps done."""
    total: int
    """Steps in all."""
    figures: dict[str, float]
    """The step's metrics by their names in the catalogue."""
    left_s: float
    """Seconds to the last step at the rate of the last steps."""
    memory_bytes: int | None
    """Most that the accelerator's allocator held in the step on this rank; without one, what the process holds now."""
    starved_share: float
    """Share of this attempt's time that went to waiting for data."""
    checkpoint: str | None
    """The last one that this attempt has completed."""
    incident: str | None
    """The last alarm of a rule in this attempt."""

    @property
    def losses(self) -> dict[str, float]:
        """Loss by kind of data, nats."""
        return {name.removeprefix("loss/"): v for name, v in self.figures.items() if name.startswith("loss/")}


class Listener(Protocol):
    """Called on the first rank after every recorded step."""

    def __call__(self, moment: Moment) -> None: ...


Name = Callable[[], str | None]
"""A name that may change from step to step; None while there is none."""


class Progress:
    """Speaks after every recorded row."""

    def __init__(self, run: RunPlan, metrics: Metrics, listener: Listener, checkpoint: Name, incident: Name) -> None:
        """`checkpoint` tells the last complete one, `incident` the last alarm."""
        self._run, self._metrics, self._listener = run, metrics, listener
        self._checkpoint, self._incident = checkpoint, incident
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._waited_s = self._spent_s = 0.0

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        for seen in done.seen:
            self._recent.append(seen.times["step_s"])
            self._waited_s += seen.times["data_s"]
            self._spent_s += seen.times["step_s"]
        for row in self._metrics.rows:
            steps, total = row.step + 1, self._run.total_steps
            moment = Moment(
                done=steps,
                total=total,
                figures=dict(row.values),
                left_s=(total - steps) * sum(self._recent) / len(self._recent),
                memory_bytes=int(row.values["peak_memory_bytes"])
                if "peak_memory_bytes" in row.values
                else resident_bytes(),
                starved_share=self._waited_s / max(self._spent_s, 1e-9),
                checkpoint=self._checkpoint(),
                incident=self._incident(),
            )
            self._listener(moment)
        return None

    def at_end(self, ending: Ending) -> None:
        """Nothing to do."""


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")

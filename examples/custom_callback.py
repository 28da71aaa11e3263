"""A callback of one's own: an event whenever the gradient norm is ten times what it was lately.

    python examples/custom_callback.py

A callback sees every step on every rank and changes nothing that is trained. In a package of your own, name it as an
entry point, install the package beside Expedition, and name the callback in the plan (`runs.main.callbacks: [jumps]`):

    [project.entry-points."expedition.callbacks"]
    jumps = "your_package.jumps:Jumps"
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expedition.train.callbacks.callback import Done, Ending
    from expedition.train.callbacks.installed import Situation


class Jumps:
    """Tells the event log of gradient norms far above the median of the last 50 steps."""

    factor = 10.0

    def __init__(self, situation: Situation) -> None:
        self.run, self.is_first = situation.run, situation.ranks.is_first
        self.events = situation.ws.events("jumps") if self.is_first else None
        self.lately: deque[float] = deque(maxlen=50)

    def after_step(self, done: Done) -> str | None:
        for seen in done.seen:  # figures that are on the host already: an accelerator does not wait for them
            norm = float(seen.result.gradient_norm)
            usual = sorted(self.lately)[len(self.lately) // 2] if self.lately else norm
            if self.events is not None and math.isfinite(norm) and norm > self.factor * usual:
                self.events.append("jumps.found", run=self.run, step=seen.result.step, norm=norm, usual=usual)
            self.lately.append(norm)
        return None  # the id of an incident would pause the run, on all ranks

    def at_end(self, ending: Ending) -> None:
        """Nothing to close."""


if __name__ == "__main__":
    from tempfile import TemporaryDirectory
    from types import SimpleNamespace as Made

    from expedition.workspace import Workspace

    with TemporaryDirectory() as folder:
        ws = Workspace.open(folder, create=True)
        jumps = Jumps(Made(run="main", ranks=Made(is_first=True), ws=ws))
        for step, norm in enumerate([1.0, 1.1, 0.9, 25.0, 1.0]):
            jumps.after_step(Made(seen=[Made(result=Made(step=step, gradient_norm=norm))]))
        print([event.fields for event in ws.events_all("jumps")])

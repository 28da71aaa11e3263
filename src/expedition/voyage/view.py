"""What a person sees while it sails: week, step, time, the newest line of progress, what was produced."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.status import Status

from expedition.voyage.runner import StepRecord
from expedition.voyage.step import Step
from expedition.workspace.printable import printable


class View:
    """Prints to stderr: one line a finished step, and on a terminal a live line of the current one."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._total = total
        self._number = 0
        self._begun = time.monotonic()
        self._status: Status | None = None

    def __call__(self, what: str, step: Step, record: StepRecord | None, line: str | None) -> None:
        """A listener of `runner.sail`."""
        if self._quiet:
            return
        if what == "start" and self._live:
            self._status = self._console.status(self._title(step), spinner="dots")
            self._status.start()
        elif what == "line" and self._status is not None and line:
            self._status.update(f"{self._title(step)}  [dim]{printable(line)[-90:]}[/dim]")
        elif what == "done" and record is not None:
            self.close()
            self._number += 1
            self._done(step, record)

    def close(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _title(self, step: Step) -> str:
        return f"{step.weeks:<9} {step.title}"

    def _done(self, step: Step, record: StepRecord) -> None:
        spent = "as before" if record.reused else f"{record.wall_s:6.1f} s"
        made = f"  → {', '.join(step.produces)}" if step.produces else ""
        self._console.print(
            f"[{self._number:2}/{self._total}] {step.weeks:<9} {spent:>9}  {step.title}{made}",
            markup=False,
            soft_wrap=True,
        )

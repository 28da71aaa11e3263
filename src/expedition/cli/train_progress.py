"""How far a run is, on stderr: a live table for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from expedition.cli.progress import size_words, time_words
from expedition.workspace.printable import printable

if TYPE_CHECKING:
    from expedition.train.callbacks.progress import Moment

LINE_S = 1.0
"""Lines of a log are at least so far apart; the last step always has one."""


class TrainProgress:
    """Shows a run; a context manager that is called with each moment."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._live: Any = None
        self._line_at = float("-inf")

    def __enter__(self) -> TrainProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, moment: Moment) -> None:
        """Draw a moment, or print it if it is time for a line."""
        if self._live is not None:
            self._live.update(_table(self._run, moment))
            return
        now = time.monotonic()
        if now - self._line_at >= LINE_S or moment.done == moment.total:
            self._line_at = now
            sys.stderr.write(printable(f"step {moment.done}/{moment.total}  {line(moment)}") + "\n")
            sys.stderr.flush()


def line(moment: Moment) -> str:
    """A moment's figures on one line; what is not known is left out."""
    return "  ".join(f"{name} {value}" for name, value in figures(moment).items())


def figures(moment: Moment) -> dict[str, str]:
    """A moment's figures in words, by their names, in the order in which they are shown."""
    row = moment.figures
    found = {"loss": f"{row['loss']:.3f}"} if "loss" in row else {}
    if moment.losses:
        found["by kind"] = " ".join(f"{kind} {loss:.2f}" for kind, loss in moment.losses.items())
    if "learning_rate" in row:
        found["lr"] = f"{row['learning_rate']:.2e}"
    if "tokens_per_s" in row:
        found["tokens/s"] = f"{row['tokens_per_s']:,.0f}"
    if "mfu" in row:
        found["MFU"] = f"{row['mfu']:.1%}"
    found["step"] = f"{row['step_s']:.2f} s"
    found["left"] = time_words(moment.left_s)
    if moment.memory_bytes is not None:
        found["memory"] = size_words(moment.memory_bytes)
    found["waits for data"] = f"{moment.starved_share:.1%}"
    if moment.checkpoint is not None:
        found["saved"] = moment.checkpoint
    if moment.incident is not None:
        found["alarm"] = moment.incident
    return found


def _table(run: str, moment: Moment) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row(Text(f"{run} {moment.done}/{moment.total}", style="bold"), ProgressBar(moment.total, moment.done, 40))
    for name, value in figures(moment).items():
        style = "red" if name == "alarm" else ""
        table.add_row(Text(name, style="dim"), Text(printable(value), style=style))
    if "mfu" in moment.figures:
        from expedition.train.reports.rate import MFU_DEFINITION

        table.add_row(Text("MFU is", style="dim"), Text(MFU_DEFINITION, style="dim"))
    return table

"""How far a build is, on stderr: a live bar for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from expedition.workspace.printable import printable

if TYPE_CHECKING:
    from expedition.data.engine import PhaseState

_LINE_S = 10.0
_REASONS = 3


class BuildProgress:
    """Shows the phases of one build; a context manager whose `show` is told each state."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._phase = ""
        self._said: tuple[str, str, bool] = ("", "", False)
        self._line_at = float("-inf")
        self._given_up = 0

    def __enter__(self) -> BuildProgress:
        if sys.stderr.isatty():
            self._start_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, state: PhaseState) -> None:
        """Draw a state, or print it if it is time for a line."""
        if state.phase != self._phase:
            self._phase, self._given_up = state.phase, 0
        for item in state.quarantined[self._given_up :]:
            self._say(f"{state.phase}: {item.key} given up: {item.reason}")
        self._given_up = len(state.quarantined)
        if self._bar is not None:
            total = state.total or None
            self._bar.update(
                self._task, description=title(state), completed=state.done, total=total, told=figures(state)
            )
            return
        now, ended = time.monotonic(), state.total > 0 and state.done == state.total
        place = (state.phase, state.step, ended)
        if place != self._said or (not ended and now - self._line_at >= _LINE_S):
            self._said, self._line_at = place, now
            count = f" {state.done}/{state.total}" if state.total else ""
            self._say(f"{title(state)}:{count}  {figures(state)}".rstrip(": "))

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn(
                "{task.fields[told]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
        self._task = self._bar.add_task("start", total=None, told="")
        self._bar.start()

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(printable(line), markup=False, highlight=False)
        else:
            sys.stderr.write(printable(line) + "\n")
            sys.stderr.flush()


def title(state: PhaseState) -> str:
    """The phase, and the step within it where the two differ."""
    return state.phase if state.step in ("", state.phase) else f"{state.phase} · {state.step}"


def figures(state: PhaseState) -> str:
    """Rates, time left and the most frequent reasons of rejects, on one line."""
    parts = []
    if state.records_per_s is not None:
        parts.append(f"{state.records_per_s:,.0f} records/s")
    if state.read_bytes_per_s:
        parts.append(f"{size_words(state.read_bytes_per_s)}/s")
    if state.remaining_s:
        parts.append(f"{time_words(state.remaining_s)} left")
    if state.rejects:
        parts.append(f"{sum(state.rejects.values()):,} rejected ({_most(state.rejects)})")
    if state.quarantined:
        parts.append(f"{len(state.quarantined)} given up")
    return "  ".join(parts)


def size_words(count: float) -> str:
    """Bytes in the unit that fits: 3.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def time_words(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _most(rejects: Mapping[str, int]) -> str:
    ordered = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    more = ["…"] if len(ordered) > _REASONS else []
    return ", ".join([f"{reason} {count:,}" for reason, count in ordered[:_REASONS]] + more)

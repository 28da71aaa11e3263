"""Tells the event log where the time went, a few steps at a time: what goodput is counted from."""

from __future__ import annotations

from expedition.errors import StorageError
from expedition.train.callbacks.callback import Done, Ending
from expedition.workspace import AlreadyExists, Workspace

WINDOW_S = 5.0


class Windows:
    """An event `train.step_window` after every `WINDOW_S` seconds of steps and at the end. On the first rank only."""

    def __init__(self, ws: Workspace, run: str) -> None:
        self._ws, self._run = ws, run
        self._steps: list[int] = []
        self._dropped = 0
        self._seconds = {"wall_s": 0.0, "data_s": 0.0, "overhead_s": 0.0}

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        for seen in done.seen:
            self._steps.append(seen.result.step)
            self._dropped += int(~seen.result.verdict.keep)
            self._seconds["wall_s"] += seen.times["step_s"]
            self._seconds["data_s"] += seen.times["data_s"]
            self._seconds["overhead_s"] += seen.times["other_s"]
        if self._seconds["wall_s"] >= WINDOW_S:
            self._write()
        return None

    def at_end(self, ending: Ending) -> None:
        self._write()

    def _write(self) -> None:
        if not self._steps:
            return
        try:
            self._ws.events("train").append(
                "train.step_window",
                run=self._run,
                first_step=self._steps[0],
                last_step=self._steps[-1],
                skipped=self._dropped,
                **self._seconds,
            )
        except AlreadyExists:
            raise
        except StorageError:
            return  # a full disk does not end a run: the window grows until it can be written
        self._steps, self._dropped = [], 0
        self._seconds = dict.fromkeys(self._seconds, 0.0)

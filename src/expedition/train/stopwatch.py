"""Seconds of the parts of a step, by one clock: the parts of a step add up to the step."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import torch

PARTS = ("data_s", "forward_backward_s", "optimizer_s", "other_s")

Times = Callable[[], dict[str, float]]
"""The parts and `step_s` of a step. On an accelerator only once the device has done the step."""


class Stopwatch:
    """`lap(name)` gives the time since the last lap to `name`, and never waits.

    The clock is the host's; on an accelerator it is the device's, by events in its queue. So a part there is how long the
    device needed for it, and `data_s` and `other_s` are what the device was idle for: waiting that is hidden behind its
    work costs nothing.

    A step lasts from the end of the update before it to the end of its own: `other_s` is what lies between an update
    and the next wait for data (callbacks, snapshots).
    """

    def __init__(self, device: torch.device) -> None:
        self._now: Callable[[], float | torch.cuda.Event] = _record if device.type == "cuda" else time.perf_counter
        self._laps: list[tuple[str, float | torch.cuda.Event]] = [("begin", self._now())]

    def lap(self, name: str) -> None:
        """Close a part."""
        self._laps.append((name, self._now()))

    def step_times(self) -> Times:
        """The parts since the call before, to be asked for later; starts the next step."""
        laps = self._laps
        self._laps = [("begin", laps[-1][1])]
        return lambda: _parts(laps)


def _record() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _parts(laps: list[tuple[str, float | torch.cuda.Event]]) -> dict[str, float]:
    parts = dict.fromkeys(PARTS, 0.0)
    for (_, begin), (name, end) in pairwise(laps):
        parts[name] += _between(begin, end)
    return {**parts, "step_s": sum(parts.values())}


def _between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        return float(begin.elapsed_time(end)) / 1e3
    assert isinstance(begin, float) and isinstance(end, float)
    return end - begin

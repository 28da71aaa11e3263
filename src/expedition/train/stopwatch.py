"""Seconds of the parts of a step, by one clock: the parts of a step add up to the step."""

from __future__ import annotations

import time

import torch

PARTS = ("data_s", "forward_backward_s", "optimizer_s", "other_s")


class Stopwatch:
    """`lap(name)` gives the time since the last lap to `name`. On an accelerator it waits for the device first, so
    that a part holds its own work.

    A step lasts from the end of the update before it to the end of its own: `other_s` is what lies between an update
    and the next wait for data (callbacks, snapshots).
    """

    def __init__(self, device: torch.device) -> None:
        self._sync = device.type == "cuda"
        self._last = self._begin = time.perf_counter()
        self._parts = dict.fromkeys(PARTS, 0.0)

    def lap(self, name: str) -> None:
        """Close a part."""
        if self._sync:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._parts[name] += now - self._last
        self._last = now

    def step_times(self) -> dict[str, float]:
        """The parts and `step_s` since the call before; starts the next step."""
        now = time.perf_counter()
        times = {**self._parts, "step_s": now - self._begin}
        self._begin = now
        self._parts = dict.fromkeys(PARTS, 0.0)
        return times

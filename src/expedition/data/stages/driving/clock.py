"""Timestamps of several cameras against each other."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """Bounds of the clock check. `min_cameras` 6 accepts complete rigs only."""

    max_skew_s: float = 0.05
    """Largest difference between cameras' times of the same frame; half a frame at 10 Hz."""
    max_frame_difference: int = 1
    """Largest difference in the number of frames."""
    min_cameras: int = 6
    max_gap_ratio: float = 4.0
    """Largest gap between frames of a camera, over the median of the rig's gaps."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What was found: cameras, largest skew in seconds, and the reason to drop, if any."""

    cameras: int
    skew_s: float
    reason: str | None


def judge_clocks(timestamps_s: Mapping[str, Sequence[float]], limits: ClockLimits | None = None) -> Clocks:
    """Judge a rig: camera name → times of its frames, in seconds on a shared clock."""
    bounds = limits or ClockLimits()
    cameras = len(timestamps_s)
    counts = [len(times) for times in timestamps_s.values()]
    if not counts or min(counts) == 0:
        return Clocks(cameras, 0.0, "camera without frames")
    for times in timestamps_s.values():
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            return Clocks(cameras, 0.0, "camera clock runs backwards")
    gaps = [later - earlier for times in timestamps_s.values() for earlier, later in itertools.pairwise(times)]
    if gaps and max(gaps) > bounds.max_gap_ratio * statistics.median(gaps):
        return Clocks(cameras, 0.0, "camera stands still")
    frames = min(counts)
    skew = max(
        max(times[frame] for times in timestamps_s.values()) - min(times[frame] for times in timestamps_s.values())
        for frame in range(frames)
    )
    if cameras < bounds.min_cameras:
        return Clocks(cameras, skew, "cameras missing")
    if max(counts) - frames > bounds.max_frame_difference:
        return Clocks(cameras, skew, "cameras differ in frames")
    if skew > bounds.max_skew_s:
        return Clocks(cameras, skew, "cameras out of step")
    return Clocks(cameras, skew, None)

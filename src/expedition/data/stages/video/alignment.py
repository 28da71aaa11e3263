"""Cues against the clip: do they lie in it, and do they begin where something happens?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Cue = tuple[float, float]
"""Start and end, seconds from the beginning of the clip."""

EDGES_S: Final = (-10.0, -5.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Edges of the histogram's cells, seconds; the outer cells are open."""


@dataclass(frozen=True, slots=True)
class AlignLimits:
    """Bounds of the alignment check."""

    max_outside_share: float = 0.2
    """Largest share of cues outside the clip."""
    end_tolerance_s: float = 0.5
    """How far a cue may last past the clip's end."""
    max_offset_s: float = 0.75
    """Largest estimated shift between cues and events."""
    search_s: float = 10.0
    """Shifts looked for, both ways."""
    tolerance_s: float = 0.2
    """How near a cue's start must be to an event to count as explained by it."""
    min_events: int = 3
    """Fewer events or cue starts than this do not allow an estimate."""
    min_explained: float = 0.8
    """Share of cue starts that a shift must bring onto events."""
    min_gain: float = 0.5
    """Share of cue starts that a shift must explain more than no shift does."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was found: share of cues outside, the difference in seconds (subtitle minus picture or sound; None where
    nothing can be said), and the reason to drop, if any."""

    outside_share: float
    difference_s: float | None
    reason: str | None


def judge_alignment(
    cues: Sequence[Cue], duration_s: float, events_s: Sequence[float], limits: AlignLimits | None = None
) -> Alignment:
    """Judge one subtitle track. `events_s` are times at which picture or sound changes markedly, sorted."""
    bounds = limits or AlignLimits()
    if not cues:
        return Alignment(0.0, None, None)
    outside = [_outside_s(cue, duration_s, bounds) for cue in cues]
    share = sum(distance != 0 for distance in outside) / len(cues)
    if share > bounds.max_outside_share:
        largest = max(outside, key=abs)
        return Alignment(share, largest, "misaligned: subtitles outside the clip")
    # The clip's beginning is an event like any other: the first cue usually belongs to it.
    events = np.array([0.0, *events_s])
    offset = _shift(np.array([start for start, _ in cues]), events, bounds)
    if offset is not None and abs(offset) > bounds.max_offset_s:
        return Alignment(share, offset, "misaligned: subtitles shifted")
    return Alignment(share, _difference(cues, events_s) if offset is None else offset, None)


def _outside_s(cue: Cue, duration_s: float, limits: AlignLimits) -> float:
    """How far a cue lies outside: positive after the end, negative before the start, 0 inside."""
    start, end = cue
    if start >= duration_s - 0.01:
        return max(start - duration_s, 0.01)
    if end > duration_s + limits.end_tolerance_s:
        return end - duration_s
    return min(end, 0.0) if end <= 0 else 0.0


def _shift(starts: npt.NDArray[np.float64], events: npt.NDArray[np.float64], limits: AlignLimits) -> float | None:
    """Shift of all cues that brings most starts onto events; None where none explains clearly more than the others."""
    if len(starts) < limits.min_events or len(events) < limits.min_events:
        return None
    candidates = (starts[:, None] - events[None, :]).reshape(-1)
    candidates = np.unique(np.round(candidates[np.abs(candidates) <= limits.search_s], 2))
    if not len(candidates):
        return None
    explained = np.array([_explained(starts - shift, events, limits) for shift in candidates])
    at_zero = _explained(starts, events, limits)
    best = explained.max()
    if best < max(limits.min_explained, at_zero + limits.min_gain):
        # No shift is clearly better than none: the residual is the ordinary distance to events.
        return None
    return float(np.median(candidates[explained >= best - 1e-9]))


def _explained(starts: npt.NDArray[np.float64], events: npt.NDArray[np.float64], limits: AlignLimits) -> float:
    return float((np.abs(starts[:, None] - events[None, :]).min(axis=1) <= limits.tolerance_s).mean())


def _difference(cues: Sequence[Cue], events_s: Sequence[float]) -> float | None:
    """Median distance of cue starts inside the clip to their nearest events; 0 where all cues begin with the clip."""
    starts = [start for start, _ in cues if start > 0.05]
    if not starts:
        return 0.0
    if not events_s:
        return None
    nearest = [min((start - event for event in events_s), key=abs) for start in starts]
    return float(np.median(nearest))


def histogram_cell(difference_s: float) -> str:
    """Name of the histogram cell "alignment_s:low:high" that a difference falls into."""
    for low, high in itertools.pairwise((-np.inf, *EDGES_S, np.inf)):
        if difference_s < high or high == np.inf:
            return f"alignment_s:{low:g}:{high:g}"
    raise AssertionError("unreachable: the last cell is open")

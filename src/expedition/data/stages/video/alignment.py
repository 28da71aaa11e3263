"""Cues against the clip: do they lie in it, and are they there when somebody speaks or the picture changes?

Two ways to a difference. Where voice activity is known: the shift at which cues and voice agree best, by the correlation
of their masks over shifts of up to 10 s (as ffsubsync does), and for each cue its start against the nearest onset of voice.
Where only events are known (changes of picture): the shift that brings most starts onto events.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Cue = tuple[float, float]
"""Start and end, seconds from the beginning of the clip."""
Spans = Sequence[tuple[float, float]]

EDGES_S: Final = (-10.0, -5.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Edges of the histogram's cells, seconds; the outer cells are open."""
_STEP_S: Final = 0.02
_MARGIN_S: Final = 1.0


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
    min_correlation: float = 0.5
    """Of the masks of cues and voice at the best shift, for it to be believed."""
    min_correlation_gain: float = 0.15
    """By which it must exceed that at no shift."""
    min_pause_share: float = 0.05
    """Cues and voice that leave less of the clip silent (or silent but for less) fit every shift."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was found: share of cues outside, the difference in seconds (subtitle minus picture or sound; None where
    nothing can be said), the reason to drop, if any, and for each cue inside its own difference, where voice is
    known."""

    outside_share: float
    difference_s: float | None
    reason: str | None
    by_cue_s: tuple[float, ...] = ()


def judge_alignment(
    cues: Sequence[Cue],
    duration_s: float,
    events_s: Sequence[float],
    limits: AlignLimits | None = None,
    voice: Spans | None = None,
) -> Alignment:
    """Judge one subtitle track. `events_s` are times at which picture or sound changes markedly, sorted; `voice` are
    spans in which somebody speaks, None where the sound is not known."""
    bounds = limits or AlignLimits()
    if not cues:
        return Alignment(0.0, None, None)
    outside = [_outside_s(cue, duration_s, bounds) for cue in cues]
    share = sum(distance != 0 for distance in outside) / len(cues)
    if share > bounds.max_outside_share:
        largest = max(outside, key=abs)
        return Alignment(share, largest, "misaligned: subtitles outside the clip")
    if voice:
        return _by_voice(cues, duration_s, voice, bounds, share)
    # The clip's beginning is an event like any other: the first cue usually belongs to it.
    events = np.array([0.0, *events_s])
    offset = _shift(np.array([start for start, _ in cues]), events, bounds)
    if offset is not None and abs(offset) > bounds.max_offset_s:
        return Alignment(share, offset, "misaligned: subtitles shifted")
    return Alignment(share, _difference(cues, events_s) if offset is None else offset, None)


def voice_shift(cues: Sequence[Cue], voice: Spans, duration_s: float, limits: AlignLimits) -> float | None:
    """Seconds by which all cues come late (negative: early) against the voice; None where no shift stands out."""
    count = int(duration_s / _STEP_S) + 1
    masks = [_mask(spans, count) for spans in (cues, voice)]
    shares = [float(mask.mean()) for mask in masks]
    if any(not limits.min_pause_share <= share <= 1 - limits.min_pause_share for share in shares):
        return None
    reach = min(round(limits.search_s / _STEP_S), count - 1)
    pairs = np.fft.irfft(np.fft.rfft(masks[0], 2 * count) * np.conj(np.fft.rfft(masks[1], 2 * count)), 2 * count)
    shifts = np.arange(-reach, reach + 1)
    products = pairs[shifts]
    # Correlation over the stretch that has cues, as far as the voice of that stretch is known at this shift.
    told_from, told_to = min(start for start, _ in cues) - _MARGIN_S, max(end for _, end in cues) + _MARGIN_S
    bounds = [min(max(round(at / _STEP_S), 0), count) for at in (told_from, told_to)]
    first = np.minimum(np.maximum(bounds[0], shifts), count + shifts)
    last = np.maximum(np.minimum(bounds[1], count + shifts), first)
    overlap = (last - first).astype(np.float64)
    sums = [np.concatenate(([0.0], np.cumsum(mask))) for mask in masks]
    spoken, told = sums[1][last - shifts] - sums[1][first - shifts], sums[0][last] - sums[0][first]
    spread = np.sqrt(np.maximum(told * (overlap - told) * spoken * (overlap - spoken), 1e-9))
    scores = np.where(overlap >= 0.5 * (bounds[1] - bounds[0]), (products * overlap - told * spoken) / spread, -1.0)
    best, at_zero = int(scores.argmax()), float(scores[reach])
    if scores[best] < limits.min_correlation:
        return None
    if abs(shifts[best]) * _STEP_S > limits.max_offset_s and scores[best] < at_zero + limits.min_correlation_gain:
        return None
    return float(shifts[best] * _STEP_S)


def _by_voice(cues: Sequence[Cue], duration_s: float, voice: Spans, limits: AlignLimits, share: float) -> Alignment:
    onsets = np.array([start for start, _ in voice])
    starts = np.array([start for start, _ in cues])
    places = np.abs(starts[:, None] - onsets[None, :]).argmin(axis=1)
    by_cue = tuple(float(value) for value in starts - onsets[places] if abs(value) <= limits.search_s)
    offset = voice_shift(cues, voice, duration_s, limits)
    if offset is not None and abs(offset) > limits.max_offset_s and len(cues) >= limits.min_events:
        return Alignment(share, offset, "misaligned: subtitles shifted", by_cue)
    if offset is None and by_cue:
        offset = float(np.median(by_cue))
    return Alignment(share, offset, None, by_cue)


def _mask(spans: Spans, count: int) -> npt.NDArray[np.float64]:
    mask = np.zeros(count)
    for start, end in spans:
        mask[max(0, round(start / _STEP_S)) : max(0, round(end / _STEP_S))] = 1.0
    return mask


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


def histogram_cell(difference_s: float, name: str = "alignment_s") -> str:
    """Name of the histogram cell "alignment_s:low:high" that a difference falls into."""
    for low, high in itertools.pairwise((-np.inf, *EDGES_S, np.inf)):
        if difference_s < high or high == np.inf:
            return f"{name}:{low:g}:{high:g}"
    raise AssertionError("unreachable: the last cell is open")

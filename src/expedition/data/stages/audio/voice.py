"""Where somebody speaks: energy over the noise of the sound itself, in the band of the voice."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfilt

Samples = npt.NDArray[np.float32]
Spans = list[tuple[float, float]]
"""Starts and ends, seconds, in order, not touching."""

FRAME_S: Final = 0.02
_LOW_HZ: Final = 120.0
_HIGH_HZ: Final = 3400.0
_OVER_NOISE_DB: Final = 9.0
_UNDER_PEAK_DB: Final = 38.0
_NOISE_WINDOW_S: Final = 4.0
_HANG_S: Final = 0.2
_SHORTEST_S: Final = 0.1


def voiced_spans(samples: Samples, sample_rate: int) -> Spans:
    """Spans of activity in mono samples: 9 dB over the quietest of the neighbourhood, within 38 dB of the loudest.

    Gaps under 0.2 s are closed and spans under 0.1 s are left out. Music is taken for speech: this tells sound from
    pause, not speaker from singer. A sound without pauses is one span.
    """
    levels = frame_levels(samples, sample_rate)
    if not len(levels) or float(levels.max()) < -65.0:
        return []
    window = max(1, round(_NOISE_WINDOW_S / FRAME_S))
    noise = uniform_filter1d(minimum_filter1d(levels, window, mode="nearest"), window, mode="nearest")
    # Where nothing is quiet the neighbourhood's least is speech itself: the whole sound's counts then.
    noise = np.minimum(noise, float(np.percentile(levels, 10)) + 6.0)
    bound = np.maximum(noise + _OVER_NOISE_DB, float(np.percentile(levels, 98)) - _UNDER_PEAK_DB)
    spans = joined(_runs(levels > np.minimum(bound, float(levels.max()) - 3.0)), _HANG_S)
    return [(start, end) for start, end in spans if end - start >= _SHORTEST_S]


def frame_levels(samples: Samples, sample_rate: int) -> npt.NDArray[np.float64]:
    """Level in the band of the voice, dB under full scale, a frame of 20 ms."""
    frame = max(round(sample_rate * FRAME_S), 1)
    count = len(samples) // frame
    if not count:
        return np.empty(0)
    passed = sosfilt(_band(sample_rate), samples[: count * frame])
    energy = (np.asarray(passed).reshape(count, frame) ** 2).mean(axis=1)
    result: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(energy, 1e-10))
    return result


@lru_cache(maxsize=16)
def _band(sample_rate: int) -> npt.NDArray[np.float64]:
    high = min(_HIGH_HZ, 0.45 * sample_rate)
    return np.asarray(butter(2, [_LOW_HZ, high], "bandpass", fs=sample_rate, output="sos"))


def joined(spans: Spans, gap_s: float) -> Spans:
    """Spans with gaps under `gap_s` closed."""
    result: Spans = []
    for start, end in spans:
        if result and start - result[-1][1] < gap_s:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def quietest(samples: Samples, sample_rate: int, from_s: float, to_s: float) -> float:
    """The middle of the quietest 60 ms between two times, seconds: where to cut."""
    levels = frame_levels(samples, sample_rate)
    first = max(0, int(from_s / FRAME_S))
    part = levels[first : max(first + 1, int(to_s / FRAME_S))]
    if not len(part):
        return (from_s + to_s) / 2
    place = int(np.argmin(uniform_filter1d(part, min(3, len(part)), mode="nearest")))
    return min(max((first + place + 0.5) * FRAME_S, from_s), to_s)


def _runs(active: npt.NDArray[np.bool_]) -> Spans:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False])).astype(np.int8)))
    return [(round(start * FRAME_S, 2), round(end * FRAME_S, 2)) for start, end in edges.reshape(-1, 2).tolist()]

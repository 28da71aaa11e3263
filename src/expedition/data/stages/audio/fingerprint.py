"""A fingerprint of a sound that survives coding, gain, resampling and trimming, and the distance of two of them.

Bits: after J. Haitsma and T. Kalker (A Highly Robust Audio Fingerprinting System, ISMIR 2002), 32 a frame: whether the
step between neighbouring bands, 300 to 3,000 Hz, is above its mean over the sound (theirs is against the frame before;
against the mean, a tenth to a third fewer bits change under MP3). Frames of 256 ms, 32 ms apart. Distance: share of
bits that differ at the best shift. Wave: a word said twice by one voice differs in no more bits than its MP3 does, so
sounds under two seconds are told apart by the signal itself below 1 kHz, whose correlation codecs keep. Anchors: sounds
that may be near meet by the shape of the spectrogram around its loudest moments, which lie at the same sounds whatever
was cut off before them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.signal import correlate, resample_poly

from expedition.data.stages.image.likeness import probes

Samples = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint32]
Spectrum = npt.NDArray[np.float64]

RATE: Final = 16_000
"""Samples a second that fingerprints are made at."""
_WINDOW: Final = 4096
_HOP: Final = 512
_BANDS: Final = 33
_LOW_HZ: Final = 300.0
_HIGH_HZ: Final = 3000.0
_SILENT: Final = 10**-3.5
"""Frames 35 dB below the loudest tell nothing: their word is 0 and is left out of a distance."""
_MOST_FRAMES: Final = 4096
"""Two minutes; what comes later does not count."""
MOST_ANCHORS: Final = 16
_REACH: Final = (12, 6)
"""Frames on both sides of an anchor; the second, shorter one for short sounds only."""
_APART: Final = 6
SHORT_S: Final = 2.0
"""Sounds up to this length are compared by their waves."""
_SHORT_FRAMES: Final = 64
_WAVE_RATE: Final = 2000
_FINER: Final = 4
_TIMES: Final = 5
_SHAPES: Final = 8
_ANCHOR_BITS: Final = 20
_WEAK_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class SoundPrint:
    """`bits`: a word a frame, 0 where it is silent. `anchors`: keys, of which near sounds share some. `wave`: a short
    sound at 2,000 samples a second, loudest 127; empty for a long one."""

    bits: Bits
    anchors: npt.NDArray[np.uint32]
    wave: npt.NDArray[np.int8]

    def text(self) -> str:
        """As three strings of base64 with colons between them."""
        parts = (self.anchors.astype("<u4"), self.bits.astype("<u4"), self.wave)
        return ":".join(base64.b64encode(part.tobytes()).decode("ascii") for part in parts)


def read_print(text: str) -> SoundPrint:
    """A print from its text."""
    anchors, bits, wave = (base64.b64decode(part) for part in text.split(":"))
    return SoundPrint(np.frombuffer(bits, "<u4"), np.frombuffer(anchors, "<u4"), np.frombuffer(wave, np.int8))


def sound_print(samples: Samples, rate: int) -> SoundPrint:
    """Fingerprint of mono samples in -1..1."""
    found = _at_rate(samples, rate)
    energy = _spectrogram(found)
    wave = _wave(found) if len(found) <= SHORT_S * RATE else np.zeros(0, np.int8)
    return SoundPrint(_bits(energy), np.array(_anchors(energy), np.uint32), wave)


def wave_likeness(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8], least_overlap: float = 0.7) -> float:
    """Largest correlation of two waves over the lags at which that part of the shorter lies on the longer, 0 to 1."""
    if len(a) > len(b):
        a, b = b, a
    if not a.any() or not b.any():
        return 0.0
    # Lags of a fraction of a sample count at the upper end of the band.
    left, right = (resample_poly(each.astype(np.float64), _FINER, 1) for each in (a, b))
    products = correlate(right, left, "full")
    lags = np.arange(len(products)) - (len(left) - 1)
    first, last = np.maximum(lags, 0), np.minimum(lags + len(left), len(right))
    sums = [np.concatenate(([0.0], np.cumsum(each**2))) for each in (left, right)]
    energy = (sums[0][last - lags] - sums[0][first - lags]) * (sums[1][last] - sums[1][first])
    # A lag at which only quiet parts meet says nothing.
    loud = energy > 0.25 * sums[0][-1] * sums[1][-1]
    valid = loud & (last - first >= least_overlap * len(left))
    return float(np.max(np.abs(products[valid]) / np.sqrt(energy[valid]), initial=0.0))


def _wave(samples: Samples) -> npt.NDArray[np.int8]:
    low = resample_poly(samples.astype(np.float64), 1, RATE // _WAVE_RATE)
    return np.asarray(np.round(low / max(float(np.abs(low).max(initial=0.0)), 1e-9) * 127), np.int8)


def distance(a: Bits, b: Bits, least_overlap: float = 0.8) -> tuple[float, int]:
    """Share of differing bits at the best shift, and the frames compared there; (1, 0) where no shift allows it.

    At a shift at least `least_overlap` of the shorter sound lies on the longer; what sounds in both is compared, and must
    be six tenths of what sounds in the one that sounds less.
    """
    if len(a) > len(b):
        a, b = b, a
    least = max(4, int(np.ceil(least_overlap * len(a))))
    if len(a) < least:
        return 1.0, 0
    left, right = _signs(a), _signs(b)
    sounding = max(4.0, 0.6 * min(np.count_nonzero(a), np.count_nonzero(b)))
    # Frames that agree, [a, b]: summed over diagonals by shift.
    agreed, both = left @ right.T, np.outer(a != 0, b != 0)
    rows, columns = np.ogrid[: len(a), : len(b)]
    shifts = (columns - rows + len(a) - 1).ravel()
    sums = np.bincount(shifts, agreed.ravel(), len(a) + len(b) - 1)
    frames = np.bincount(shifts, both.ravel(), len(a) + len(b) - 1)
    overlap = np.minimum(np.arange(len(sums)) + 1, np.minimum(len(a), len(sums) - np.arange(len(sums))))
    shares = np.where((overlap >= least) & (frames >= sounding), (1 - sums / np.maximum(frames, 1) / 32) / 2, 1.0)
    best = int(shares.argmin())
    return float(shares[best]), int(frames[best])


def _signs(bits: Bits) -> npt.NDArray[np.float32]:
    told = np.unpackbits(bits.astype(">u4").view(np.uint8).reshape(-1, 4), axis=1).astype(np.float32) * 2 - 1
    return np.where((bits == 0)[:, None], np.float32(0), told)


def _at_rate(samples: Samples, rate: int) -> Samples:
    kept = samples[: int(_MOST_FRAMES * _HOP / RATE * rate)]
    if rate == RATE:
        return kept
    divisor = gcd(rate, RATE)
    return np.asarray(resample_poly(kept, RATE // divisor, rate // divisor), np.float32)


def _spectrogram(samples: Samples) -> Spectrum:
    """Energy [frames, 33] by band."""
    padded = np.pad(samples.astype(np.float32), _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    parts = [(np.abs(rfft(frames[at : at + 256] * _HANN, axis=1)) ** 2) @ _FILTERS for at in range(0, len(frames), 256)]
    return np.concatenate(parts).astype(np.float64)


def _filters() -> npt.NDArray[np.float32]:
    edges = np.geomspace(_LOW_HZ, _HIGH_HZ, _BANDS + 1)
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.maximum(np.diff(edges), 1.5 * RATE / _WINDOW)
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    return np.clip(1 - np.abs(bins[:, None] - middles) / widths, 0, 1).astype(np.float32)


_FILTERS: Final = _filters()
_HANN: Final = np.hanning(_WINDOW).astype(np.float32)


def _bits(energy: Spectrum) -> Bits:
    levels = np.log(energy + 1e-9 * energy.max(initial=0.0) + 1e-12)
    steps = levels[:, :-1] - levels[:, 1:]
    words = np.packbits(steps > steps.mean(axis=0), axis=1).view(">u4").ravel().astype(np.uint32)
    loud = energy.sum(axis=1)
    silent = loud <= _SILENT * loud.max(initial=0.0)
    return np.where(silent, np.uint32(0), np.maximum(words, 1)).astype(np.uint32)


def _anchors(energy: Spectrum) -> list[int]:
    """Keys of the loudest moments: signs of low cosine coefficients of the spectrogram around them."""
    shape = energy**0.25
    loudness = np.convolve(shape.sum(axis=1), np.hanning(9))[4 : 4 + len(shape)]
    if not loudness.max(initial=0.0) > 0:
        return []
    peaks = [at for at in range(len(loudness)) if loudness[at] >= loudness[max(0, at - _APART) : at + _APART + 1].max()]
    peaks = sorted(peaks, key=lambda at: (-loudness[at], at))[:MOST_ANCHORS]
    short = len(energy) <= _SHORT_FRAMES
    found: list[int] = []
    for kind, reach in enumerate(_REACH if short else _REACH[:1]):
        padded = np.pad(shape, ((reach + 1, reach + 1), (0, 0)))
        for at in peaks:
            for near in (-1, 0, 1) if short else (0,):
                block = padded[at + near + 1 : at + near + 2 * reach + 2]
                values = (_time_shapes(reach) @ block @ _BAND_SHAPES.T)[_TIME_ORDER, _BAND_ORDER]
                found += [kind << 30 | code for code in probes(values, _WEAK_BITS)]
    return found


@lru_cache(maxsize=4)
def _time_shapes(reach: int) -> Spectrum:
    places = (np.arange(2 * reach + 1) + 0.5) / (2 * reach + 1)
    waves: Spectrum = np.cos(np.pi * np.arange(_TIMES)[:, None] * places) * np.hanning(2 * reach + 3)[1:-1]
    return waves


_BAND_SHAPES: Final = np.cos(np.pi * np.arange(_SHAPES)[:, None] * (np.arange(_BANDS) + 0.5) / _BANDS)
_SELECTED: Final = sorted((time + 0.7 * band, time, band) for time in range(_TIMES) for band in range(1, _SHAPES))
_TIME_ORDER: Final = np.array([item[1] for item in _SELECTED[:_ANCHOR_BITS]])
_BAND_ORDER: Final = np.array([item[2] for item in _SELECTED[:_ANCHOR_BITS]])

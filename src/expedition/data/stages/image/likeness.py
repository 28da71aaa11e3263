"""Whether two thumbnails show one picture: keys that bring copies together, and an alignment that decides.

Keys are signs of the lowest cosine coefficients, as in the hash of C. Zauner (Implementation and Benchmarking of
Perceptual Image Hash Functions, 2010), made stable against small crops by three things: the weakest bits of a key are
also written the other way round (multi-probe, after Lv et al., VLDB 2007), a picture is keyed as it is and without its
border, and it is mirrored so that its strongest odd coefficient is positive. The alignment tries crops of up to a tenth
a side, both ways and mirrored, and takes the correlation of the slightly blurred thumbnails.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from expedition.data.stages.image.perceptual_hash import THUMB, Thumbnail

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

BANDS: Final = (slice(0, 18), slice(12, 30))
"""Coefficients of the two keys: on the open pictures a crop of a twentieth a side is met by one of them in 99 of 100."""
WEAK_BITS: Final = 4
BORDERS: Final = (0.0, 0.045)
"""Parts of a side that are left away before keys are made."""
DETAIL: Final = 0.25
"""Share of neighbouring cells that differ by more than 4 grey levels from which a picture is told by its thumbnail.
Photographs have 0.3 to 0.7; a shape on plain ground has under 0.1, and so do most pages of text."""
_ORDER: Final = sorted(((i + j, max(i, j), i, j) for i in range(9) for j in range(9) if i + j), key=lambda item: item)
_ROWS: Final = np.array([item[2] for item in _ORDER[:30]])
_COLUMNS: Final = np.array([item[3] for item in _ORDER[:30]])
_MIRRORED: Final = np.where(_COLUMNS % 2, -1.0, 1.0)
_BLUR: Final = (np.eye(THUMB) * 2 + np.eye(THUMB, k=1) + np.eye(THUMB, k=-1)) / 4
_BLUR[0, 0] = _BLUR[-1, -1] = 0.75
_SURE: Final = 0.985
"""Correlation from which no crop is looked for."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How two thumbnails agree at their best alignment."""

    correlation: float
    worst: float
    """Largest difference of a cell after brightness and contrast are made equal, in standard deviations."""
    cropped: bool


def detail(thumb: Thumbnail) -> float:
    """Share of neighbouring cells that differ by more than 4 grey levels, 0 to 1."""
    grey = thumb.astype(np.int16)
    return float(((np.abs(np.diff(grey, axis=0)) > 4).mean() + (np.abs(np.diff(grey, axis=1)) > 4).mean()) / 2)


def picture_keys(thumb: Thumbnail, borders: tuple[float, ...] = BORDERS) -> Keys:
    """Keys of a thumbnail, not sorted; copies share at least one with high probability."""
    found: list[int] = []
    grey = thumb.astype(np.float64)
    for border in borders:
        shown = _resampler(border, border)
        coefficients = dctn(shown @ grey @ shown.T, norm="ortho")[_ROWS, _COLUMNS]
        for sign in _orientations(coefficients):
            turned = coefficients * _MIRRORED if sign else coefficients
            for number, band in enumerate(BANDS):
                found += [number << 60 | code for code in probes(turned[band], WEAK_BITS)]
    return np.array(found, np.uint64)


def probes(values: Floats, weak: int) -> list[int]:
    """Codes of the signs of `values`, the weakest `weak` of them both ways: 2^weak codes, the plain one first."""
    plain = int((1 << np.flatnonzero(values > 0)).sum())
    bits = [1 << int(place) for place in np.argsort(np.abs(values), kind="stable")[:weak]]
    codes = [plain]
    for bit in bits:
        codes += [code ^ bit for code in codes]
    return codes


def likeness(a: Thumbnail, b: Thumbnail) -> Likeness:
    """How two thumbnails agree, small crops and mirroring allowed; symmetric up to rounding."""
    plain = _unit(_blurred(np.stack([a, a[:, ::-1]]).astype(np.float64)))
    other = _unit(_blurred(b.astype(np.float64)))
    direct = np.einsum("fij,ij->f", plain, other)
    best = int(direct.argmax())
    found = _told(float(direct[best]), plain[best], other, cropped=False)
    if found.correlation >= _SURE:
        return found
    tried = (_aligned(a, b), _aligned(b, a))
    return max((found, *tried), key=lambda item: item.correlation)


def _aligned(whole: Thumbnail, part: Thumbnail) -> Likeness:
    """The crop of `whole` that is most like `part`."""
    target = _unit(_blurred(part.astype(np.float64)))
    targets = np.stack([target, target[:, ::-1]])
    coarse, crops = _grid((0.0, 0.04, 0.08))
    shown = _crops(whole, coarse, coarse)
    scores = np.einsum("abij,fij->abf", shown, targets, optimize=True)
    row, column, turn = np.unravel_index(int(scores.argmax()), scores.shape)
    fine = [_around(*crops[int(place)]) for place in (row, column)]
    shown = _crops(whole, fine[0], fine[1])
    scores = np.einsum("abij,ij->ab", shown, targets[turn], optimize=True)
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    return _told(float(scores[row, column]), shown[row, column], targets[turn], cropped=True)


def _told(correlation: float, a: Floats, b: Floats, *, cropped: bool) -> Likeness:
    return Likeness(correlation, float(np.abs(a - b).max() * THUMB), cropped)


def _crops(thumb: Thumbnail, rows: Floats, columns: Floats) -> Floats:
    """Crops [rows, columns, 24, 24], blurred, of mean 0 and norm 1."""
    down = rows @ thumb.astype(np.float64)
    across = down[:, None] @ np.swapaxes(columns, 1, 2)[None]
    return _unit(_blurred(across))


def _blurred(values: Floats) -> Floats:
    result: Floats = _BLUR @ values @ _BLUR.T
    return result


def _unit(values: Floats) -> Floats:
    centred = values - values.mean(axis=(-1, -2), keepdims=True)
    result: Floats = centred / (np.sqrt((centred**2).sum(axis=(-1, -2), keepdims=True)) + 1e-9)
    return result


def _orientations(coefficients: Floats) -> list[bool]:
    """Whether to mirror, so that the strongest odd coefficient is positive; both ways where it is not clear."""
    odd = coefficients[:20][_COLUMNS[:20] % 2 == 1]
    first, second = odd[np.argsort(-np.abs(odd), kind="stable")[:2]]
    if abs(second) > 0.75 * abs(first) and (first < 0) != (second < 0):
        return [False, True]
    return [bool(first < 0)]


@lru_cache(maxsize=4096)
def _resampler(before: float, after: float) -> Floats:
    """Matrix [24, 24] that shows a row without its first `before` and last `after`, at 24 places again."""
    matrix = np.zeros((THUMB, THUMB))
    middles = (before + (1 - before - after) * (np.arange(THUMB) + 0.5) / THUMB) * THUMB - 0.5
    low = np.floor(middles).astype(int)
    for place, share in ((low, 1 - (middles - low)), (low + 1, middles - low)):
        np.add.at(matrix, (np.arange(THUMB), np.clip(place, 0, THUMB - 1)), share)
    return matrix


@lru_cache(maxsize=8)
def _grid(values: tuple[float, ...]) -> tuple[Floats, list[tuple[float, float]]]:
    crops = list(itertools.product(values, values))
    return np.stack([_resampler(*crop) for crop in crops]), crops


@lru_cache(maxsize=64)
def _around(before: float, after: float) -> Floats:
    steps = (-0.02, 0.0, 0.02)
    return np.stack([_resampler(round(before + x, 2), round(after + y, 2)) for x in steps for y in steps])

"""Where one shot of a clip ends and another begins: hard cuts, found while frames are decoded.

Two numbers say how much a frame differs from the one before, both over a thumbnail: the share of pixels that change their
cell of a coarse colour histogram, which motion hardly moves, and the mean difference of the pixels, which sees a cut between
shots of the same colours (PySceneDetect's detector of content is the second alone; Castellano, scenedetect.com). A cut is
a frame whose difference is large, and several times what it was just before, so that a pan or a shaken camera is none; and
what follows it for some frames must still differ from what was before it, so that a flash is none. Dissolves and fades are
not found: they have no frame of their own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

THUMBNAIL: Final = (32, 18)
"""Width and height of what is compared."""
_LEVELS: Final = 4
"""Cells of the histogram for each of red, green and blue."""
_MIN_DIFFERENCE: Final = 0.22
_MIN_RATIO: Final = 3.0
"""Times the mean difference of the frames before: PySceneDetect's adaptive detector has 3.0 too."""
_BEFORE: Final = 8
"""Frames before, whose differences are compared."""
_CONFIRM_FRAMES: Final = 4
"""Frames for which a new shot must have lasted: a photographer's flash lights one to three."""

_STAYS: Final = 0.6
"""Share of the cut's difference that must be left when it is confirmed: a flash goes back to nearly what was."""
_LEAST: Final = 3
"""Frames of a shot that must have been seen before it can end."""

Thumbnail = npt.NDArray[np.uint8]


@dataclass(slots=True)
class SceneCuts:
    """Finds cuts in the thumbnails of a clip's frames, in order. `cuts_s` are the times of the first frames of new shots."""

    cuts_s: list[float] = field(default_factory=list)
    _last: Thumbnail | None = None
    _differences: deque[float] = field(default_factory=lambda: deque(maxlen=_BEFORE))
    _before: Thumbnail | None = None
    """The last frame of the old shot, while a cut awaits its confirmation."""
    _after: list[float] = field(default_factory=list)
    """Differences since then."""
    _cut_s: float = 0.0
    _size: float = 0.0

    def offer(self, thumbnail: Thumbnail, at_s: float) -> bool:
        """Take the next frame; whether it confirms a cut, which lies a few frames before it."""
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        found = difference(last, thumbnail)
        if self._before is not None:
            return self._confirmed(thumbnail, found)
        usual = max(float(np.mean(self._differences)), 1e-3) if len(self._differences) >= _LEAST else 1.0
        if found < _MIN_DIFFERENCE or found < _MIN_RATIO * usual:
            self._differences.append(found)
            return False
        self._before, self._cut_s, self._size = last, at_s, found
        self._after.clear()
        return False

    def _confirmed(self, thumbnail: Thumbnail, found: float) -> bool:
        self._after.append(found)
        if self._before is None or len(self._after) < _CONFIRM_FRAMES - 1:
            return False
        stays = difference(self._before, thumbnail) >= max(_MIN_DIFFERENCE, _STAYS * self._size)
        self._before = None
        if stays:
            self.cuts_s.append(self._cut_s)
            self._differences = deque(self._after, maxlen=_BEFORE)
        return stays


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """From 0 to 1: the mean of the histograms' total variation and of the pixels' mean difference, four times, at most 1."""
    moved = 0.5 * float(np.abs(_histogram(a) - _histogram(b)).sum())
    pixels = float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean()) / 255
    return 0.5 * moved + 0.5 * min(1.0, 4 * pixels)


def _histogram(thumbnail: Thumbnail) -> npt.NDArray[np.float64]:
    """Share of the pixels in each cell of the colours."""
    cells = (thumbnail // (256 // _LEVELS)).astype(np.int64)
    places = (cells[..., 0] * _LEVELS + cells[..., 1]) * _LEVELS + cells[..., 2]
    return np.bincount(places.ravel(), minlength=_LEVELS**3) / places.size

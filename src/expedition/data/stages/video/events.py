"""Times at which the picture changes, from the frames that a document stores of its clip."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from expedition.data.records import Insert

_THUMB = 32


def frames_of(insert: Insert) -> list[Image.Image]:
    """The stored frames of a video insert at reduced size. Raises OSError or ValueError on broken bytes."""
    pictures = []
    start = 0
    for size in insert.meta.get("sizes", ()):
        picture = Image.open(io.BytesIO(insert.data[start : start + size]))
        picture.draft("RGB", (128, 128))
        pictures.append(picture.convert("RGB"))
        start += size
    return pictures


def picture_changes(pictures: Sequence[Image.Image], timestamps_s: Sequence[float]) -> list[float]:
    """Times of frames that differ from the one before far more than frames of this clip usually do."""
    if len(pictures) < 3 or len(pictures) != len(timestamps_s):
        return []
    small = np.stack([np.asarray(picture.resize((_THUMB, _THUMB)), np.float32) for picture in pictures])
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    bound = max(3.0, 2.5 * float(np.median(change)))
    return [float(timestamps_s[index + 1]) for index in np.nonzero(change > bound)[0].tolist()]

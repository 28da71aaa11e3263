"""A fingerprint of a clip: thumbnails of frames that show something, spread over it, and how two clips agree.

Frames that show little (black, titles on plain ground, shapes) say nothing about which clip they are from and are left
out. A clip of fewer than three different frames left (a talking head, a static camera) is no more than one picture:
it is a copy only of a clip with the same words.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from expedition.data.stages.image.likeness import DETAIL, Keys, detail, picture_keys
from expedition.data.stages.image.perceptual_hash import THUMB, thumbnail

MOST_FRAMES: Final = 16
SAME_FRAME: Final = 0.93
"""Correlation of blurred thumbnails from which two frames show one view."""
_MOST_KEYS: Final = 256


def clip_print(pictures: Sequence[Image.Image]) -> str:
    """Thumbnails of at most `MOST_FRAMES` telling frames, base64; "" where none tells."""
    told = [thumb for thumb in map(thumbnail, pictures) if detail(thumb) >= DETAIL]
    count = min(len(told), MOST_FRAMES)
    kept = [told[(2 * number + 1) * len(told) // (2 * count)] for number in range(count)]
    return base64.b64encode(b"".join(thumb.tobytes() for thumb in kept)).decode("ascii")


def frames_of_print(text: str) -> npt.NDArray[np.uint8]:
    """Thumbnails [frames, 24, 24] of a print."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, THUMB, THUMB)


def clip_keys(frames: npt.NDArray[np.uint8]) -> Keys:
    """Keys of the frames; clips that share a view share one with high probability."""
    found = [picture_keys(frame, borders=(0.0,)) for frame in frames]
    return np.unique(np.concatenate(found))[:_MOST_KEYS] if found else np.empty(0, np.uint64)


def different(frames: npt.NDArray[np.uint8]) -> int:
    """How many different views there are, the first of each counted."""
    if not len(frames):
        return 0
    same = agreement(frames, frames) >= SAME_FRAME
    return 1 + sum(not same[place, :place].any() for place in range(1, len(frames)))


def agreement(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Correlation [a, b] of frames, the better of as they are and mirrored for all."""
    left, right, mirrored = _unit(a), _unit(b), _unit(b[:, :, ::-1])
    plain, turned = left @ right.T, left @ mirrored.T
    result: npt.NDArray[np.float64] = plain if plain.max(initial=-1) >= turned.max(initial=-1) else turned
    return result


def shared_views(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> tuple[float, int]:
    """Share of the frames of the clip with fewer that are found in the other in the same order, and how many different
    views these are."""
    if len(a) > len(b):
        a, b = b, a
    if not len(a):
        return 0.0, 0
    same = agreement(a, b) >= SAME_FRAME
    # Longest run of matches whose places rise, a place being allowed to come again: slow motion, frames kept longer.
    best = np.zeros(len(b), np.int64)
    taken: list[list[int]] = [[] for _ in range(len(b))]
    for row in range(len(a)):
        before, chain = 0, []
        for column in range(len(b)):
            if best[column] > before:
                before, chain = int(best[column]), taken[column]
            if same[row, column]:
                best[column], taken[column] = before + 1, [*chain, row]
    chain = taken[int(best.argmax())]
    return len(chain) / len(a), different(a[chain]) if chain else 0


def _unit(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    values = frames.astype(np.float64)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    blurred = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]).reshape(len(frames), -1)
    centred = blurred - blurred.mean(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9)
    return result

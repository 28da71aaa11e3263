"""Pictures of coloured shapes on a quiet ground: 64 × 64 pixels, JPEG or PNG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expedition.sampleworld.world import COLOURS, Scene

SIDE = 64
"""Width and height of pictures and frames, pixels."""

Picture = NDArray[np.uint8]
"""Height × width × RGB, 0..255."""

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64) + 0.5
_CENTRES: dict[str, tuple[float, float]] = {"left": (12, 32), "right": (52, 32), "top": (32, 12), "bottom": (32, 52)}


def ground(rng: np.random.Generator) -> Picture:
    """An empty picture: a light grey with a slope and some grain, never twice the same."""
    base = rng.uniform(205, 240)
    slope = rng.uniform(-8, 8, size=2)
    plane = base + slope[0] * (_ROWS / SIDE - 0.5) + slope[1] * (_COLUMNS / SIDE - 0.5)
    grain = rng.normal(0, 3, size=(SIDE, SIDE, 1))
    bright = np.clip(plane[:, :, None] + grain + np.zeros(3), 0, 255)
    return np.asarray(bright, dtype=np.uint8)


def stamp(picture: Picture, shape: str, colour: str, centre: tuple[float, float], radius: float) -> None:
    """Draw `shape` into `picture` with smooth edges; `centre` is (x, y) and `radius` half its width, pixels."""
    x, y = _COLUMNS - centre[0], _ROWS - centre[1]
    distance = _distance(shape, x, y, radius)
    cover = np.clip(0.5 - distance, 0, 1)[:, :, None]
    ink = np.asarray(COLOURS[colour], dtype=np.float64)
    picture[:] = (picture * (1 - cover) + ink * cover + 0.5).astype(np.uint8)


def draw(scene: Scene, rng: np.random.Generator) -> Picture:
    """The scene with its shapes along the edge that its position names; size and place vary a little."""
    picture = ground(rng)
    centre = np.asarray(_CENTRES[scene.position]) + rng.uniform(-2, 2, size=2)
    along = np.asarray((0.0, 1.0) if scene.position in ("left", "right") else (1.0, 0.0))
    step = rng.uniform(19, 20)
    if scene.count == 1:
        centre = centre + along * rng.uniform(-10, 10)
    elif scene.count == 2:
        centre = centre + along * rng.uniform(-6, 6)
    for number in range(scene.count):
        place = centre + along * step * (number - (scene.count - 1) / 2)
        stamp(picture, scene.shape, scene.colour, (float(place[0]), float(place[1])), float(rng.uniform(8.2, 9.2)))
    return picture


def encode(picture: Picture, extension: str) -> bytes:
    """The picture as a file of type "jpg" or "png"."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if extension == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def _distance(shape: str, x: NDArray[np.float64], y: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Signed distance to the outline, pixels, negative inside (close to exact near the outline)."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "ring":
        return np.abs(np.hypot(x, y) - radius * 0.8) - radius * 0.2
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - radius * 0.92
    if shape == "cross":
        across, wide = np.minimum(np.abs(x), np.abs(y)), np.maximum(np.abs(x), np.abs(y))
        return np.maximum(across - radius * 0.28, wide - radius)
    slope = 0.55
    sides = (np.abs(x) - slope * (y + radius)) / np.hypot(1, slope)
    return np.asarray(np.maximum(sides, y - radius * 0.8))

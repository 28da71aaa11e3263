"""A perceptual hash of three parts: a 16 × 16 difference hash of brightness, an 8 × 8 grid of colours, a thumbnail.

The difference hash (after N. Krawetz, 2013) survives scaling and re-encoding. It is blind to colour and to small things
on plain ground, and pictures of plain shapes differ in little else, so the grid stands beside it with full depth. The
thumbnail, 24 × 24 grey levels, is what `likeness` aligns where a copy was cropped or mirrored.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE: Final = 16
GRID: Final = 8
THUMB: Final = 24
Thumbnail = npt.NDArray[np.uint8]
_MAX_PIXELS: Final = 120_000_000
_NOISE: Final = 2
"""A step of two grey levels is noise of the encoder, not a gradient."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two hashes are apart: differing bits of 256; mean and largest difference of colour cells, of 255."""

    bits: int
    colour_mean: float
    colour_max: int


def decode(data: bytes) -> Image.Image:
    """The picture as RGB, at reduced size where the format allows. Raises OSError or ValueError on broken bytes."""
    picture = Image.open(io.BytesIO(data))
    if picture.width * picture.height > _MAX_PIXELS:
        raise ValueError(f"{picture.width} x {picture.height} pixels")
    picture.draft("RGB", (256, 256))
    return picture.convert("RGB")


def perceptual_hash(data: bytes) -> str:
    """Hash of encoded picture bytes: 64 hexadecimal digits, a hyphen, 256 and 768 characters of base64 with a hyphen
    between them."""
    return hash_pixels(decode(data))


def hash_pixels(picture: Image.Image) -> str:
    """Hash of a decoded picture."""
    grey = np.asarray(picture.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    bits = np.packbits((grey[:, 1:] - grey[:, :-1]).reshape(-1) > _NOISE)
    colour = np.asarray(picture.resize((GRID, GRID), Image.Resampling.BOX), np.uint8)
    told = (base64.b64encode(part).decode("ascii") for part in (colour.tobytes(), thumbnail(picture).tobytes()))
    return f"{bits.tobytes().hex()}-{'-'.join(told)}"


def thumbnail(picture: Image.Image) -> Thumbnail:
    """Grey levels [24, 24] of a picture, its sides stretched to a square."""
    return np.asarray(picture.convert("L").resize((THUMB, THUMB), Image.Resampling.BOX), np.uint8)


def parse(value: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """The bytes of the difference hash and the colour cells of a hash string."""
    bits, colour = value.split("-")[:2]
    return (
        np.frombuffer(bytes.fromhex(bits), np.uint8),
        np.frombuffer(base64.b64decode(colour), np.uint8).astype(np.int16),
    )


def thumbnail_of(value: str) -> Thumbnail | None:
    """The thumbnail of a hash string; None where it has none."""
    parts = value.split("-")
    return np.frombuffer(base64.b64decode(parts[2]), np.uint8).reshape(THUMB, THUMB) if len(parts) > 2 else None


def hash_distance(a: str, b: str) -> Distance:
    """Distance between two hashes made by `perceptual_hash`."""
    bits_a, colour_a = parse(a)
    bits_b, colour_b = parse(b)
    colour = np.abs(colour_a - colour_b)
    return Distance(
        bits=int(np.bitwise_count(bits_a ^ bits_b).sum()),
        colour_mean=float(colour.mean()),
        colour_max=int(colour.max(initial=0)),
    )

"""Documents of raw pictures, clips and sounds, for our pipeline and for transformers' processor alike.

A part is ("text", str), ("image", pixels), ("video", frames), ("audio", samples) or ("heard", frames, samples): a clip
whose sound is interleaved with its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from expedition.plan.media import MediaRule

RULE = MediaRule()
FRAMES_PER_S = 4.0

Document = list[tuple[Any, ...]]


def picture(generator: np.random.Generator, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth shades with a little noise: white noise would make the worst of every resampling."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / generator.uniform(4, 9) + columns / generator.uniform(4, 9)) for _ in range(3)]
    return (
        (127 + 90 * np.stack(waves, axis=-1) + generator.normal(0, 6, (height, width, 3))).clip(0, 255).astype(np.uint8)
    )


def clip(generator: np.random.Generator, frames: int, height: int, width: int) -> list[np.ndarray[Any, Any]]:
    return [picture(generator, height, width) for _ in range(frames)]


def sound(generator: np.random.Generator, samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    wave = 0.3 * np.sin(np.arange(samples) * 0.05) + 0.05 * generator.standard_normal(samples)
    return wave.astype(np.float32)


def cases() -> dict[str, list[Document]]:
    """By name: a batch of documents. Sizes of "resized …" are no multiples of a token's side; the others are."""
    g = np.random.default_rng(7)
    return {
        "text": [[("text", "Land ahoy!")]],
        "image": [[("text", "a"), ("image", picture(g, 48, 64)), ("text", " a map")]],
        "several images": [
            [("image", picture(g, 64, 64)), ("image", picture(g, 16, 32)), ("text", "and"), ("image", picture(g, 48, 16))]
        ],
        "resized image": [[("image", picture(g, 200, 90)), ("image", picture(g, 31, 47)), ("text", "two")]],
        "video": [[("text", "look: "), ("video", clip(g, 4, 48, 32)), ("text", " sails")]],
        "odd video": [[("video", clip(g, 3, 32, 32)), ("text", " sails")]],
        "resized video": [[("video", clip(g, 4, 90, 120)), ("text", " sails")]],
        "audio": [[("audio", sound(g, 37_000)), ("text", " a bell")]],
        "video and audio": [[("video", clip(g, 4, 32, 48)), ("audio", sound(g, 16_000)), ("text", " a storm")]],
        "video with its audio": [[("text", "x"), ("heard", clip(g, 4, 32, 48), sound(g, 16_000)), ("text", " a storm")]],
        "batch with padding": [
            [("image", picture(g, 32, 32)), ("text", " short")],
            [("text", "a much longer text than its neighbours have")],
            [("video", clip(g, 4, 32, 32)), ("text", " "), ("audio", sound(g, 9_600)), ("image", picture(g, 48, 48))],
            [("audio", sound(g, 23_000)), ("text", " bells")],
        ],
    }  # fmt: skip


def media(documents: list[Document], *kinds: str) -> Iterator[Any]:
    """The raw media of these kinds, in order of appearance; of a "heard" clip the part that is asked for."""
    for document in documents:
        for kind, *content in document:
            if kind in kinds:
                yield content[0]
            elif kind == "heard" and ("video" in kinds or "audio" in kinds):
                yield content["audio" in kinds]

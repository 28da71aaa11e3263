"""Documents whose rule only a medium tells: symbols that go up by a step which a picture, a clip or a sound shows.

A row is one document: a medium of one of four classes, then symbols, each the last one plus the class's step, or, one time
in six, any symbol. So the loss has a floor that is known (`floor_nats`), and a model that does not use a medium stays
above it. Documents are made by their number alone, and expanded and put side by side by the loader's own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.expand import Media, Mel, expand_document
from expedition.data.loading.media import image_patches, video_patches
from expedition.data.loading.mel import log_mel
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import KINDS
from expedition.plan.media import MediaRule
from expedition.plan.shapes import TokenIds

IDS = TokenIds(*range(10))
INSERTS = MediaTokenIds(
    image=10, video=11, audio=12, vision_start=IDS.vision_start, vision_end=IDS.vision_end, image_pad=IDS.image_pad,
    video_pad=IDS.video_pad, audio_start=IDS.audio_start, audio_end=IDS.audio_end, audio_pad=IDS.audio_pad,
    endoftext=IDS.end_of_text,
)  # fmt: skip
SYMBOLS = 32
FIRST = 16
VOCABULARY = FIRST + SYMBOLS
CLASSES = 4
SURPRISE = 1 / 6
SEQUENCE = 64
FRAMES_PER_S = 4.0
RULE = MediaRule()
MEDIA = ("web", "image-text", "video-text", "audio-text")


def floor_nats() -> float:
    """Entropy of a symbol after the first two, for who knows the step."""
    rare = SURPRISE / SYMBOLS
    likely = 1 - SURPRISE + rare
    return -likely * math.log(likely) - (SYMBOLS - 1) * rare * math.log(rare)


@dataclass(frozen=True, slots=True)
class TaughtSteps:
    """Batches of `rows` documents; step n holds the documents n·rows …"""

    rows: int

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        numbers = range(step * self.rows, (step + 1) * self.rows)
        return collate([_row(number) for number in numbers], SEQUENCE, RULE, IDS.end_of_text)


def _row(number: int) -> Row:
    generator = np.random.Generator(np.random.Philox(key=number))
    kind, shown = number % len(MEDIA), int(generator.integers(CLASSES))
    stored, media = _shown(kind, shown, generator)
    length = int(generator.integers(16, 34))
    symbols = np.empty(length, dtype=np.int64)
    symbols[0] = generator.integers(SYMBOLS)
    surprises = generator.random(length) < SURPRISE
    for place in range(1, length):
        follow = symbols[place - 1] + shown + 1
        symbols[place] = generator.integers(SYMBOLS) if surprises[place] else follow % SYMBOLS
    tokens = np.concatenate([stored, FIRST + symbols]).astype(np.int32)
    return Row((expand_document(tokens, media, INSERTS, RULE),), (KINDS.index(MEDIA[kind]),), number)


def _shown(kind: int, shown: int, generator: np.random.Generator) -> tuple[list[int], list[Media]]:
    """Stored tokens and media that tell the class: a symbol of its own, a shade, a way of getting brighter, a pitch."""
    if kind == 0:
        return [13 + shown % 3, 13 + shown // 3], []
    if kind == 1:
        return [INSERTS.image], [image_patches(_picture(60 * shown + 30, generator), RULE)]
    if kind == 2:
        frames = [_picture(40 + 15 * number + 35 * shown * (number % 2), generator) for number in range(4)]
        return [INSERTS.video], [video_patches(frames, RULE.video_time_step(FRAMES_PER_S), RULE)]
    wave = 0.4 * np.sin(2 * np.pi * 250 * 2**shown * np.arange(16_000) / RULE.sample_rate)
    noisy = (wave + 0.02 * generator.standard_normal(16_000)).astype(np.float32)
    return [INSERTS.audio], [Mel(log_mel(noisy, RULE))]


def _picture(shade: int, generator: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (shade + generator.normal(0, 10, (32, 32, 3))).clip(0, 255).astype(np.uint8)

"""Batches for the table, made from a seed: whole rows, packed text, and packed text with pictures, clips and sounds.

Documents are expanded and put side by side by the loader's own code; pixels and waves are noise, sizes are not. The
multimodal mix follows `plan.data`'s shares of kinds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.train.flops import Content
from benchmarks.train.rows import Work
from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.expand import ExpandedDocument, Media, Mel, expand_document
from expedition.data.loading.media import Patches
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import KINDS
from expedition.model.config import OmniConfig
from expedition.plan.media import MediaRule

MEAN_TOKENS = 900
"""Of a text document; lengths are log-normal with a spread of 1, as web text's are roughly."""
SHARES = {"web": 0.55, "image-text": 0.2, "video-text": 0.12, "audio-text": 0.13}
"""Documents of a multimodal row by kind."""
_FREE = 64
"""Ids that text does not use, at the low end: tiny vocabularies hold their special tokens there."""


def rule_of(config: OmniConfig) -> MediaRule:
    """The media rule that fits a model: its patches and mel bins, sizes of the `w26` preset."""
    vision, audio = config.shape.vision, config.shape.audio
    return MediaRule(
        patch=vision.patch, merge=vision.merge, temporal_patch=vision.temporal_patch, mel_bins=audio.mel_bins,
        image_min_pixels=65_536, image_max_pixels=1_048_576, video_max_pixels=589_824, video_max_frames=128,
        video_fps=2.0, audio_max_s=300.0,
    )  # fmt: skip


def made_batch(work: Work, config: OmniConfig, number: int) -> Batch:
    """Micro-batch `number` of a row of the table."""
    generator = np.random.Generator(np.random.Philox(key=number))
    rows = [
        Row(tuple(document for document, _ in made), tuple(kind for _, kind in made), number * work.sequences + place)
        for place in range(work.sequences)
        for made in [list(_documents(work, config, generator))]
    ]
    return collate(rows, work.sequence_length, rule_of(config), config.token_ids.end_of_text)


def content_of(batch: Batch) -> Content:
    """What of a batch decides its work."""
    lengths = [
        int(count)
        for row in batch.document_BS
        for count in np.bincount(row, minlength=1)[1:]
        if count
    ]  # fmt: skip
    return Content(
        tuple(lengths),
        tuple((int(t), int(h), int(w)) for t, h, w in batch.grid_G3),
        tuple(int(frames) for frames in batch.mel_lengths_A),
    )


def _documents(
    work: Work, config: OmniConfig, generator: np.random.Generator
) -> Iterator[tuple[ExpandedDocument, int]]:
    """Documents of one row with their kind numbers; together they fill it."""
    left = work.sequence_length
    while left >= 2:
        kind = "web"
        if work.content == "multimodal":
            kind = str(generator.choice(list(SHARES), p=list(SHARES.values())))
        document = _document(work, config, kind, left, generator)
        if len(document.tokens) > left:
            document = _document(work, config, kind := "web", left, generator)
        left -= len(document.tokens)
        yield document, KINDS.index(kind)


def _document(work: Work, config: OmniConfig, kind: str, room: int, generator: np.random.Generator) -> ExpandedDocument:
    """One document of at most `room` tokens if it is text."""
    rule, ids = rule_of(config), config.token_ids
    length = work.sequence_length
    if work.content != "whole":
        length = int(np.clip(MEAN_TOKENS * np.exp(generator.normal(-0.5, 1.0)), 16, work.sequence_length))
    media = list(_media(kind, rule, generator))
    inserts = MediaTokenIds(
        image=config.vocabulary - 1, video=config.vocabulary - 2, audio=config.vocabulary - 3,
        vision_start=ids.vision_start, vision_end=ids.vision_end, image_pad=ids.image_pad, video_pad=ids.video_pad,
        audio_start=ids.audio_start, audio_end=ids.audio_end, audio_pad=ids.audio_pad, endoftext=ids.end_of_text,
    )  # fmt: skip
    if media:
        length = min(length, 256)
    # Ordinary text ids lie below Qwen's specials, or above the tiny vocabularies' ones.
    low, high = (_FREE // 2, config.vocabulary - 3) if config.vocabulary <= 2 * _FREE else (_FREE, 120_000)
    text = generator.integers(low, high, size=min(length, room))
    numbers = {"image-text": inserts.image, "video-text": inserts.video, "audio-text": inserts.audio}
    stored = np.concatenate([np.full(len(media), numbers.get(kind, 0)), text]).astype(np.int32)
    return expand_document(stored, media, inserts, rule)


def _media(kind: str, rule: MediaRule, generator: np.random.Generator) -> Iterator[Media]:
    def patches(grid: tuple[int, int, int], time_step: int | None) -> Patches:
        size = (grid[0] * grid[1] * grid[2], 3 * rule.temporal_patch * rule.patch**2)
        values = generator.standard_normal(size, dtype=np.float32)
        return Patches(values, grid, time_step is not None, time_step or 1)

    if kind == "image-text":
        height, width = (int(side) for side in generator.integers(256, 900, size=2))
        yield patches(rule.image_grid(height, width), None)
    elif kind == "video-text":
        frames = int(generator.integers(4, 17))
        yield patches(rule.video_grid(frames, 320, 448), rule.video_time_step(rule.video_fps))
    elif kind == "audio-text":
        count = rule.audio_frames(int(rule.sample_rate * generator.uniform(3, 30)))
        yield Mel(generator.standard_normal((rule.mel_bins, count), dtype=np.float32))

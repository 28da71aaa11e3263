"""Packed rows: documents of unequal lengths with pictures and sounds inside, padding at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expedition.data.loading.batch import Batch
from expedition.plan.runs import RunPlan
from tests.train.tiny import IDS, MERGED, VOCABULARY, tiny_shape

SOUNDS = {tiny_shape().audio.tokens(frames): frames for frames in (100, 130)}
"""Mel frames by the tokens of a sound: a whole chunk, and one with a shorter one after it."""
INSIDE = [
    [],
    [IDS.vision_start, *[IDS.image_pad] * MERGED, IDS.vision_end],
    *([IDS.audio_start, *[IDS.audio_pad] * tokens, IDS.audio_end] for tokens in SOUNDS),
]
KINDS = [0, 3, 5, 5]
"""Kind of a document by which of these is in it."""


class PackedSource:
    """Rows that are a function of their index: documents of 1 … 30 positions, then up to 8 of padding."""

    def __init__(self, run: RunPlan) -> None:
        self.run = run

    def rank_batch(self, step: int, rank: int, world: int) -> list[Batch]:
        first = self.run.sequences_before(step)
        rows = np.arange(first, first + self.run.batch_sequences_at(step))
        # Micro-batch m of all ranks together is the same rows under every number of ranks, so that running counts are too.
        return [self.batch(micro.reshape(world, -1)[rank].tolist()) for micro in np.split(rows, self.run.micro_batches)]

    def batch(self, indices: Sequence[int]) -> Batch:
        length = self.run.sequence_length
        rows = [packed_row(index, length) for index in indices]
        tokens, labels, position, document, kind = (np.stack(column) for column in zip(*rows, strict=True))
        pictures, sounds = (tokens == IDS.vision_start).sum(1), [sound_frames(row) for row in tokens]
        patches = [noise(index, (int(count) * MERGED * 4, 384)) for index, count in zip(indices, pictures, strict=True)]
        mel = [noise(index, (128, sum(frames))) for index, frames in zip(indices, sounds, strict=True)]
        return Batch(
            tokens_BS=tokens,
            labels_BS=labels,
            positions_3BS=position.transpose(1, 0, 2).copy(),
            document_BS=document.astype(np.int32),
            kind_BS=kind.astype(np.int8),
            patches_PC=np.concatenate(patches),
            grid_G3=np.tile(np.array([[1, 2, 2 * MERGED]]), (int(pictures.sum()), 1)),
            is_video_G=np.zeros(int(pictures.sum()), bool),
            mel_MF=np.concatenate(mel, axis=1),
            mel_lengths_A=np.array([clip for frames in sounds for clip in frames], np.int64),
            sample_ids=np.array(indices),
            real_tokens=int((document > 0).sum()),
        )


def noise(index: int, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.Generator(np.random.Philox(key=index)).normal(size=shape).astype(np.float32)


def sound_frames(tokens: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    """Mel frames of the sounds of one row."""
    starts, ends = (np.flatnonzero(tokens == mark) for mark in (IDS.audio_start, IDS.audio_end))
    return [SOUNDS[int(end - start - 1)] for start, end in zip(starts, ends, strict=True)]


def packed_row(index: int, length: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], ...]:
    """tokens, labels [S], positions [3, S], documents, kinds [S] of one row."""
    random = np.random.Generator(np.random.Philox(key=1000 + index))
    tokens, document, kind = (np.zeros(length, np.int64) for _ in range(3))
    labels, position = np.full(length, -100, np.int64), np.zeros((3, length), np.int64)
    end, number, full = 0, 0, length - int(random.integers(0, 9))
    while end < full:
        medium = int(random.integers(0, len(INSIDE)))
        inside = INSIDE[medium]
        size = len(inside) + int(random.integers(1, 12))
        if end + size > full:
            medium, inside, size = 0, [], full - end
        number += 1
        before = int(random.integers(0, size - len(inside) + 1))
        text = 10 + (int(random.integers(0, 1000)) + np.arange(size)) % (VOCABULARY - 10)
        body = np.concatenate([text[:before], np.array(inside, np.int64), text[before : size - len(inside)]])
        place = slice(end, end + size)
        tokens[place], document[place], kind[place] = body, number, KINDS[medium]
        position[:, place] = np.arange(size) + np.array([[0], [1], [2]]) * (body == IDS.image_pad)
        following = body[1:]
        labels[end : end + size - 1] = np.where(following < 10, -100, following)
        end += size
    return tokens, labels, position, document, kind

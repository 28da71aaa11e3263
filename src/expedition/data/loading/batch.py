"""A batch: padded rows of whole documents, with the pictures, clips and sounds that their pad tokens stand for.

Alphabet: B rows, S sequence, P patches, C values of a patch, G grids (pictures and clips),
A sounds, M mel bins, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expedition.data.loading.expand import IGNORED, ExpandedDocument, Mel
from expedition.plan.media import MediaRule

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence: its documents in order, the kind number of each, and its global index."""

    documents: tuple[ExpandedDocument, ...]
    kinds: tuple[int, ...]
    sample: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step trains on. All media are in order of appearance: row by row, and by position within a row."""

    tokens_BS: Ints
    """Token ids; <|endoftext|> on padding."""
    labels_BS: Ints
    """Next token; -100 on padding, at a document's end, on media pad tokens and before them."""
    positions_3BS: Ints
    """Rotary positions t, h, w; they start at 0 in each document and are 0 on padding."""
    document_BS: npt.NDArray[np.int32]
    """0 on padding, 1, 2, … by document within the row: attention stays within one number."""
    kind_BS: npt.NDArray[np.int8]
    """Number in `records.KINDS` of the document that a token belongs to; -1 on padding."""
    patches_PC: npt.NDArray[np.float32]
    """Patches of all pictures and clips."""
    grid_G3: Ints
    """(t, h, w) in patches of each picture and clip."""
    is_video_G: npt.NDArray[np.bool_]
    """True for a clip."""
    mel_MF: npt.NDArray[np.float32]
    """Log-mel frames of all sounds, one after the other."""
    mel_lengths_A: Ints
    """Frames of each sound."""
    sample_ids: Ints
    """Global index of each row; -1 for a row that only fills a micro-batch."""
    real_tokens: int
    """Positions that are not padding."""

    @property
    def trained_tokens(self) -> int:
        """Positions with a label."""
        return int((self.labels_BS != IGNORED).sum())


def collate(rows: Sequence[Row], sequence_tokens: int, rule: MediaRule, pad_token: int) -> Batch:
    """Rows side by side, each padded to `sequence_tokens`. Pure. Raises ValueError for a row that is longer."""
    shape = (len(rows), sequence_tokens)
    tokens = np.full(shape, pad_token, dtype=np.int64)
    labels = np.full(shape, IGNORED, dtype=np.int64)
    positions = np.zeros((3, *shape), dtype=np.int64)
    numbers = np.zeros(shape, dtype=np.int32)
    kinds = np.full(shape, -1, dtype=np.int8)
    real = 0
    for place, row in enumerate(rows):
        end = 0
        for number, (document, kind) in enumerate(zip(row.documents, row.kinds, strict=True), start=1):
            start, end = end, end + len(document.tokens)
            if end > sequence_tokens:
                raise ValueError(f"sample {row.sample} has {end} tokens or more, a sequence holds {sequence_tokens}")
            tokens[place, start:end] = document.tokens
            labels[place, start:end] = document.labels
            positions[:, place, start:end] = document.positions
            numbers[place, start:end] = number
            kinds[place, start:end] = kind
        real += end
    media = [item for row in rows for document in row.documents for item in document.media]
    pictures = [item for item in media if not isinstance(item, Mel)]
    sounds = [item.mel_MF for item in media if isinstance(item, Mel) and item.mel_MF.shape[1]]
    no_patches = np.zeros((0, 3 * rule.temporal_patch * rule.patch**2), dtype=np.float32)
    no_frames = np.zeros((rule.mel_bins, 0), dtype=np.float32)
    return Batch(
        tokens_BS=tokens,
        labels_BS=labels,
        positions_3BS=positions,
        document_BS=numbers,
        kind_BS=kinds,
        patches_PC=np.concatenate([item.patches_PC for item in pictures]) if pictures else no_patches,
        grid_G3=np.asarray([item.grid for item in pictures], dtype=np.int64).reshape(-1, 3),
        is_video_G=np.asarray([item.is_video for item in pictures], dtype=np.bool_),
        mel_MF=np.concatenate(sounds, axis=1) if sounds else no_frames,
        mel_lengths_A=np.asarray([sound.shape[1] for sound in sounds], dtype=np.int64),
        sample_ids=np.asarray([row.sample for row in rows], dtype=np.int64),
        real_tokens=real,
    )


def filler(sample_rows: int) -> list[Row]:
    """Rows of padding alone, for a rank whose part of a batch is empty: it still takes part in every collective."""
    return [Row((), (), -1)] * sample_rows

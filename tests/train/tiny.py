"""A very small model and a source of batches that can be learnt, for tests of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from expedition.data.loading.assign import assign
from expedition.data.loading.batch import Batch
from expedition.data.loading.prefetch import ahead
from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import ModelShape, TokenIds, preset_shapes

IDS = TokenIds(*range(10))
VOCABULARY = 48
MERGED = 3
"""Tokens of every picture."""
FRAMES = 100
SOUND_TOKENS = 13


def tiny_shape(**changes: Any) -> ModelShape:
    """Two layers, eight experts, hidden 32."""
    plain = preset_shapes()["tiny"].model_dump()
    plain |= {"hidden": 32, "layers": 2, "head_dim": 16, "experts": 8, "expert_inner": 16, "mrope_section": (4, 2, 2)}
    plain["vision"] |= {"hidden": 32, "layers": 1, "heads": 2, "inner": 32}
    plain["audio"] |= {"hidden": 32, "layers": 1, "heads": 2, "inner": 32, "conv_channels": 8}
    return ModelShape(**{**plain, **changes})


def tiny_config(**changes: Any) -> OmniConfig:
    return OmniConfig(tiny_shape(**changes), VOCABULARY, IDS)


def tiny_run(**changes: Any) -> RunPlan:
    base: dict[str, Any] = {
        "model": "tiny",
        "length": "12 steps",
        "sequence_length": 48,
        "batch_sequences": 4,
        "threads": 1,
        "device": "cpu",
        "rules": (),
        "learning_rate": {"peak": 5e-3, "floor": 5e-4, "warmup": "2 steps"},
        "checkpoint": {"permanent_every": "6 steps", "ephemeral_every": "2 steps"},
    }
    return RunPlan(**{**base, **changes})


class CountingSource:
    """Rows that count upwards from a start that the row's index decides; some hold a picture or a sound.

    `media(index)` says which: "", "image" or "audio".
    """

    def __init__(self, run: RunPlan, media: Sequence[str] = ("", "image", "audio", "")) -> None:
        self.run = run
        self.media = media

    def rank_batch(self, step: int, rank: int, world: int) -> list[Batch]:
        first = self.run.sequences_before(step)
        rows = np.arange(first, first + self.run.batch_sequences_at(step))
        parts = assign(np.ones(len(rows)), world, self.run.micro_batches)[rank]
        return [self.rows([int(rows[place]) for place in part]) for part in parts]

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[list[Batch], None, None]:
        return ahead(partial(self.rank_batch, rank=rank, world=world), range(start, stop), 2, 1)

    def account(self, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
        tokens: Counter[str] = Counter()
        for first, end in stretches:
            for index in range(self.run.sequences_before(first), self.run.sequences_before(end)):
                tokens[self.media[index % len(self.media)] or "text"] += self.run.sequence_length - 2
        return {"tokens": tokens.total(), "by_kind": {kind: {"tokens": n} for kind, n in sorted(tokens.items())}}

    def fingerprint_at(self, step: int) -> str:
        return f"counting {self.run.sequence_length}"

    def require_same(self, step: int, fingerprint: str) -> None:
        if fingerprint != self.fingerprint_at(step):
            raise InputError("other data")

    def rows(self, indices: Sequence[int]) -> Batch:
        length = self.run.sequence_length
        tokens = np.stack([self._tokens(index, length) for index in indices])
        labels = np.full_like(tokens, -100)
        labels[:, :-1] = np.where(tokens[:, 1:] < 10, -100, tokens[:, 1:])
        document = np.ones(tokens.shape, np.int32)
        document[:, -2:] = 0
        labels[:, -3:] = -100
        kinds = [self.media[index % len(self.media)] for index in indices]
        pictures, sounds = kinds.count("image"), kinds.count("audio")
        noise = [np.random.Generator(np.random.Philox(key=index)).normal(size=(128, 100)) for index in indices]
        patches = [row.ravel()[: MERGED * 4 * 384].reshape(-1, 384) for row in noise]
        seen = [row for row, kind in zip(patches, kinds, strict=True) if kind == "image"]
        heard = [row for row, kind in zip(noise, kinds, strict=True) if kind == "audio"]
        return Batch(
            tokens_BS=tokens,
            labels_BS=labels,
            positions_3BS=np.broadcast_to(np.arange(length), (3, *tokens.shape)).copy(),
            document_BS=document,
            kind_BS=np.stack([np.full(length, {"": 0, "image": 3, "audio": 5}[kind], np.int8) for kind in kinds]),
            patches_PC=np.concatenate([np.zeros((0, 384)), *seen]).astype(np.float32),
            grid_G3=np.tile(np.array([[1, 2, 2 * MERGED]]), (pictures, 1)),
            is_video_G=np.zeros(pictures, bool),
            mel_MF=np.concatenate([np.zeros((128, 0)), *heard], axis=1).astype(np.float32),
            mel_lengths_A=np.full(sounds, FRAMES, np.int64),
            sample_ids=np.array(indices),
            real_tokens=int(document.sum()),
        )

    def _tokens(self, index: int, length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        start = int(np.random.Generator(np.random.Philox(key=index)).integers(0, 1000))
        tokens = 10 + (start + np.arange(length)) % (VOCABULARY - 10)
        kind = self.media[index % len(self.media)]
        if kind == "image":
            tokens[:5] = [IDS.vision_start, *[IDS.image_pad] * MERGED, IDS.vision_end]
        if kind == "audio":
            tokens[:15] = [IDS.audio_start, *[IDS.audio_pad] * SOUND_TOKENS, IDS.audio_end]
        return tokens.astype(np.int64)

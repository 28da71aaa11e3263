"""transformers' own class from an exported folder: an independent reader of the same weights. No code of ours runs in
the model; each continuation is a row of its own.

Shapes: B rows, S sequence, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.expand import IGNORED, ExpandedDocument
from expedition.errors import MissingExtra
from expedition.evaluate.backends.backend import Floats
from expedition.evaluate.questions import Question
from expedition.plan.media import MediaRule

ROWS = 32


@dataclass(frozen=True, slots=True)
class TransformersClass:
    """`Qwen3OmniMoeForConditionalGeneration`'s thinker, in float32 on the CPU."""

    thinker: Any
    media: MediaRule
    end_of_text: int
    name: str = "transformers"

    @classmethod
    def load(cls, folder: Path, media: MediaRule, end_of_text: int) -> TransformersClass:
        """Open an export. Raises MissingExtra without transformers."""
        try:
            from transformers import AutoModelForMultimodalLM
        except ImportError as error:
            raise MissingExtra(
                "transformers is not installed", fix="pip install 'expedition-programme[transformers]'"
            ) from error
        model = AutoModelForMultimodalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(model.thinker.eval(), media, end_of_text)

    def score(self, questions: Sequence[Question]) -> list[Floats]:
        """See EvalBackend."""
        found = []
        for question in questions:
            rows = [extended(question.prompt, tokens) for tokens in question.continuations]
            batch = self._batch(rows)
            losses_BS = self.losses(batch)
            start = len(question.prompt.tokens) - 1
            spans = [slice(start, start + len(tokens)) for tokens in question.continuations]
            found.append(np.asarray([-losses_BS[row, span].sum(dtype=np.float64) for row, span in enumerate(spans)]))
        return found

    def greedy(self, prompts: Sequence[ExpandedDocument], tokens: int) -> npt.NDArray[np.int64]:
        """See EvalBackend; every step runs the whole row again."""
        made = np.full((len(prompts), tokens), self.end_of_text, dtype=np.int64)
        for start in range(0, len(prompts), ROWS):
            part = list(prompts[start : start + ROWS])
            for step in range(tokens):
                logits_BSV = self._logits(self._batch(part))
                last_B = [len(document.tokens) - 1 for document in part]
                chosen = logits_BSV[torch.arange(len(part)), last_B].argmax(-1).numpy()
                done = (made[start : start + len(part), :step] == self.end_of_text).any(1)
                chosen = np.where(done, self.end_of_text, chosen)
                made[start : start + len(part), step] = chosen
                part = [extended(document, chosen[row : row + 1]) for row, document in enumerate(part)]
        return made

    def losses(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See EvalBackend; rows of one document each."""
        labels_BS = torch.from_numpy(batch.labels_BS)
        logits_BVS = self._logits(batch).transpose(1, 2)
        return torch.nn.functional.cross_entropy(logits_BVS, labels_BS, ignore_index=IGNORED, reduction="none").numpy()

    def _batch(self, documents: Sequence[ExpandedDocument]) -> Batch:
        width = max(len(document.tokens) for document in documents)
        rows = [Row((document,), (-1,), number) for number, document in enumerate(documents)]
        return collate(rows, width, self.media, self.end_of_text)

    @torch.inference_mode()
    def _logits(self, batch: Batch) -> Tensor:
        """Logits [B, S, V]."""
        inputs: dict[str, Any] = {
            "input_ids": torch.from_numpy(batch.tokens_BS),
            "attention_mask": torch.from_numpy(batch.document_BS > 0).long(),
            "position_ids": torch.from_numpy(batch.positions_3BS),
        }
        logits: Tensor = self.thinker(**inputs, **media_inputs(batch)).logits.float()
        return logits


def media_inputs(batch: Batch) -> dict[str, Tensor]:
    """Pictures, clips and sounds under the names and in the forms of transformers' thinker."""
    inputs: dict[str, Tensor] = {}
    sizes = batch.grid_G3.prod(1)
    is_video_P = np.repeat(batch.is_video_G, sizes)
    for flag, pixels, grids in (
        (False, "pixel_values", "image_grid_thw"),
        (True, "pixel_values_videos", "video_grid_thw"),
    ):
        if (batch.is_video_G == flag).any():
            inputs[pixels] = torch.from_numpy(batch.patches_PC[is_video_P == flag])
            inputs[grids] = torch.from_numpy(batch.grid_G3[batch.is_video_G == flag])
    if batch.mel_lengths_A.size:
        longest = int(batch.mel_lengths_A.max())
        padded = np.zeros((len(batch.mel_lengths_A), len(batch.mel_MF), longest), dtype=np.float32)
        mask = np.zeros((len(batch.mel_lengths_A), longest), dtype=np.int64)
        ends = np.cumsum(batch.mel_lengths_A)
        for number, (end, frames) in enumerate(zip(ends, batch.mel_lengths_A, strict=True)):
            padded[number, :, :frames] = batch.mel_MF[:, end - frames : end]
            mask[number, :frames] = 1
        inputs |= {"input_features": torch.from_numpy(padded), "feature_attention_mask": torch.from_numpy(mask)}
    return inputs


def extended(document: ExpandedDocument, tokens: npt.NDArray[np.int64]) -> ExpandedDocument:
    """A document with text tokens after it."""
    start = int(document.positions.max()) + 1 if document.positions.size else 0
    positions = np.broadcast_to(start + np.arange(len(tokens)), (3, len(tokens)))
    labels = np.concatenate((document.labels[:-1], tokens, [IGNORED]))
    return ExpandedDocument(
        np.concatenate((document.tokens, tokens)),
        labels,
        np.concatenate((document.positions, positions), axis=1),
        document.media,
    )

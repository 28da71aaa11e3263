"""Our own class. A prompt runs once; its keys and values then serve every continuation of every question about it.

Shapes: B prompts, R continuations, S prompt length, C continuation length, L = S + C, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.expand import IGNORED, ExpandedDocument
from expedition.evaluate.backends.backend import Floats
from expedition.evaluate.questions import Question, Tokens
from expedition.kernels.attention import document_mask
from expedition.model.attention import LayerCache
from expedition.model.generation import generate, prompt_tensors
from expedition.model.omni import OmniModel
from expedition.plan.media import MediaRule

HEAD_TOKENS = 2_048
"""Positions whose logits exist at one time."""
CONTINUATION_TOKENS = 8_192
"""Tokens of continuations that run together, padding and the prompts' keys included as an eighth."""
GREEDY_ROWS = 32
ROUND_TO = 8


@dataclass(frozen=True, slots=True)
class Native:
    """An `OmniModel` in evaluation mode."""

    model: OmniModel
    media: MediaRule
    batch_prompts: int = 32
    name: str = "expedition"

    @torch.inference_mode()
    def score(self, questions: Sequence[Question]) -> list[Floats]:
        """See EvalBackend. Prompts are taken in order of their first question, `batch_prompts` at a time."""
        by_prompt: dict[int, list[int]] = {}
        for number, question in enumerate(questions):
            by_prompt.setdefault(id(question.prompt), []).append(number)
        groups = list(by_prompt.values())
        scores = [np.zeros(len(question.continuations)) for question in questions]
        for start in range(0, len(groups), self.batch_prompts):
            chunk = groups[start : start + self.batch_prompts]
            prefix = _Prefix(self, [questions[numbers[0]].prompt for numbers in chunk])
            rows = [
                (place, number, choice)
                for place, numbers in enumerate(chunk)
                for number in numbers
                for choice in range(len(questions[number].continuations))
            ]
            rows.sort(key=lambda row: len(questions[row[1]].continuations[row[2]]))
            for part in _parts(rows, questions, prefix.length):
                tokens = [questions[number].continuations[choice] for _, number, choice in part]
                found = prefix.log_probs([place for place, _, _ in part], tokens)
                for (_, number, choice), value in zip(part, found.tolist(), strict=True):
                    scores[number][choice] = value
        return scores

    def greedy(self, prompts: Sequence[ExpandedDocument], tokens: int) -> npt.NDArray[np.int64]:
        """See EvalBackend."""
        end = self.model.config.token_ids.end_of_text
        found = np.full((len(prompts), tokens), end, dtype=np.int64)
        for start in range(0, len(prompts), GREEDY_ROWS):
            made = generate(self.model, self.batch(prompts[start : start + GREEDY_ROWS]), tokens)
            found[start : start + len(made), : made.shape[1]] = made
        return found

    @torch.inference_mode()
    def losses(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See EvalBackend."""
        device = self.model.lm_head.weight.device
        hidden_BSH = self.model(**prompt_tensors(batch, device)).hidden_BSH
        labels_T = torch.from_numpy(batch.labels_BS).to(device).flatten()
        kept_T = (labels_T != IGNORED).nonzero().squeeze(1)
        losses_T = torch.zeros(labels_T.numel(), device=device)
        hidden_TH = hidden_BSH.flatten(0, 1)
        for start in range(0, kept_T.numel(), HEAD_TOKENS):
            places = kept_T[start : start + HEAD_TOKENS]
            logits = self.model.head(hidden_TH[places]).float()
            losses_T[places] = F.cross_entropy(logits, labels_T[places], reduction="none")
        return losses_T.view(batch.labels_BS.shape).cpu().numpy()

    def batch(self, documents: Sequence[ExpandedDocument]) -> Batch:
        """One row a document."""
        width = -(-max(len(document.tokens) for document in documents) // ROUND_TO) * ROUND_TO
        rows = [Row((document,), (-1,), number) for number, document in enumerate(documents)]
        return collate(rows, width, self.media, self.model.config.token_ids.end_of_text)


def _parts(
    rows: list[tuple[int, int, int]], questions: Sequence[Question], prompt_tokens: int
) -> list[list[tuple[int, int, int]]]:
    """Rows of similar length, so many that their tokens stay below the bound."""
    parts: list[list[tuple[int, int, int]]] = []
    for row in rows:
        length = len(questions[row[1]].continuations[row[2]]) + prompt_tokens // 8
        if not parts or (len(parts[-1]) + 1) * length > CONTINUATION_TOKENS:
            parts.append([])
        parts[-1].append(row)
    return parts


class _Prefix:
    """Prompts that have run: keys and values of each layer, the next position, and what comes after."""

    def __init__(self, backend: Native, prompts: Sequence[ExpandedDocument]) -> None:
        model = backend.model
        self.model, self.device = model, model.lm_head.weight.device
        inputs = prompt_tensors(backend.batch(prompts), self.device)
        documents_BS = inputs["document_BS"]
        batch, self.length = documents_BS.shape
        like = model.lm_head.weight.new_empty(0)
        self.caches = [LayerCache(batch, self.length, model.config.shape, like) for _ in model.model.layers]
        fused = model.fuse(*(inputs[n] for n in ("tokens_BS", "patches_PC", "grid_G3", "mel_MF", "mel_lengths_A")))
        hidden_BSH, _ = model.model(
            fused.x_BSH,
            inputs["positions_3BS"],
            document_mask(documents_BS),
            fused.visual_index_N,
            fused.deepstack,
            self.caches,
        )
        self.real_BS = documents_BS > 0
        self.next_B = inputs["positions_3BS"].masked_fill(documents_BS == 0, -1).amax((0, 2)) + 1
        last_B = torch.tensor([len(prompt.tokens) - 1 for prompt in prompts], device=self.device)
        last_BH = hidden_BSH[torch.arange(batch, device=self.device), last_B]
        self.first_BV = model.head(last_BH).float().log_softmax(-1)

    def log_probs(self, places: list[int], continuations: list[Tokens]) -> Tensor:
        """Nats [R] of `continuations`, each after the prompt of its place."""
        place_R = torch.tensor(places, device=self.device)
        length_R = torch.tensor([len(tokens) for tokens in continuations], device=self.device)
        width = int(length_R.max())
        tokens_RC = torch.zeros(len(places), width, dtype=torch.long)
        for number, tokens in enumerate(continuations):
            tokens_RC[number, : len(tokens)] = torch.from_numpy(tokens)
        tokens_RC = tokens_RC.to(self.device)
        total_R = self.first_BV[place_R, tokens_RC[:, 0]].double()
        if width > 1:
            total_R = total_R + self._rest(place_R, tokens_RC, length_R)
        return total_R.cpu()

    def _rest(self, place_R: Tensor, tokens_RC: Tensor, length_R: Tensor) -> Tensor:
        """Nats [R] of all tokens but the first."""
        inputs_RC, labels_RC = tokens_RC[:, :-1], tokens_RC[:, 1:]
        rows, width = inputs_RC.shape
        step_C = torch.arange(width, device=self.device)
        positions_3RC = (self.next_B[place_R][:, None] + step_C).expand(3, -1, -1)
        seen_RCL = torch.cat(
            (
                self.real_BS[place_R][:, None, :].expand(-1, width, -1),
                (step_C[None, :] <= step_C[:, None]).expand(rows, -1, -1),
            ),
            dim=2,
        )
        hidden_RCH, _ = self.model.model(
            self.model.model.embed_tokens(inputs_RC),
            positions_3RC,
            seen_RCL.unsqueeze(1),
            caches=[_Grown(cache, place_R) for cache in self.caches],
        )
        real_RC = step_C < (length_R - 1)[:, None]
        hidden_TH, labels_T = hidden_RCH[real_RC], labels_RC[real_RC]
        found = [
            -F.cross_entropy(self.model.head(hidden_TH[part]).float(), labels_T[part], reduction="none").double()
            for part in (slice(at, at + HEAD_TOKENS) for at in range(0, labels_T.numel(), HEAD_TOKENS))
        ]
        row_T = torch.arange(rows, device=self.device)[:, None].expand_as(real_RC)[real_RC]
        return torch.zeros(rows, dtype=torch.double, device=self.device).index_add(0, row_T, torch.cat(found))


class _Grown(LayerCache):
    """A layer's prompt keys and values for chosen rows; new ones go after them and are not kept."""

    def __init__(self, cache: LayerCache, place_R: Tensor) -> None:
        self.keys_BLKD = cache.keys_BLKD[place_R]
        self.values_BLKD = cache.values_BLKD[place_R]

    def append(self, k_BSKD: Tensor, v_BSKD: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat((self.keys_BLKD, k_BSKD), dim=1), torch.cat((self.values_BLKD, v_BSKD), dim=1)

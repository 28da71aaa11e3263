"""Generation: token ids after a batch of prompts of any modality, one step at a time with a key/value cache.

Shapes: P prompts, B = P · (answers a prompt) sequences, S prompt length (padded), L = S + new tokens, V vocabulary.
Prompts run once, whatever the number of answers; the cached places of padding are never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expedition.errors import UsageError
from expedition.kernels.attention import document_mask
from expedition.model.attention import LayerCache
from expedition.model.omni import OmniModel
from expedition.model.sampling import Sampling, Stopping, generators, pick

__all__ = ["PromptArrays", "generate", "generate_stream", "prompt_tensors"]

HOST = ("grid_G3", "is_video_G", "mel_lengths_A")
NAMES = ("tokens_BS", "positions_3BS", "document_BS", "patches_PC", "grid_G3", "is_video_G", "mel_MF", "mel_lengths_A")


class PromptArrays(Protocol):
    """What a prompt batch has: the loader's `Batch`, of which one row is one prompt (one document and padding)."""

    @property
    def tokens_BS(self) -> npt.NDArray[np.int64]: ...
    @property
    def positions_3BS(self) -> npt.NDArray[Any]: ...
    @property
    def document_BS(self) -> npt.NDArray[np.int32]: ...
    @property
    def patches_PC(self) -> npt.NDArray[np.float32]: ...
    @property
    def grid_G3(self) -> npt.NDArray[np.int64]: ...
    @property
    def is_video_G(self) -> npt.NDArray[np.bool_]: ...
    @property
    def mel_MF(self) -> npt.NDArray[np.float32]: ...
    @property
    def mel_lengths_A(self) -> npt.NDArray[np.int64]: ...


def prompt_tensors(prompts: PromptArrays, device: torch.device) -> dict[str, Tensor]:
    """The arrays as `OmniModel` takes them: grids and lengths stay on the host, the rest goes to `device`."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(getattr(prompts, name))).to("cpu" if name in HOST else device)
        for name in NAMES
    }


def generate(
    model: OmniModel,
    prompts: PromptArrays,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stopping: Stopping | None = None,
    *,
    num_return_sequences: int = 1,
) -> npt.NDArray[np.int64]:
    """New tokens [B, n], n ≤ `max_new_tokens`; after a sequence's end its places hold the end-of-text token.

    Rows i·`num_return_sequences` … are the answers to prompt i. Generation stops when all sequences have ended.
    """
    steps = list(
        generate_stream(model, prompts, max_new_tokens, sampling, stopping, num_return_sequences=num_return_sequences)
    )
    if not steps:
        return np.zeros((prompts.tokens_BS.shape[0] * num_return_sequences, 0), dtype=np.int64)
    return np.stack(steps, axis=1)


def generate_stream(
    model: OmniModel,
    prompts: PromptArrays,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stopping: Stopping | None = None,
    *,
    num_return_sequences: int = 1,
) -> Iterator[npt.NDArray[np.int64]]:
    """The same, a step at a time: each item is the next token of every sequence [B].

    Raises UsageError where a row holds no prompt or more than one document, or a number is too small.
    """
    sampling, stopping = sampling or Sampling(), stopping or Stopping()
    for name, value, least in (
        ("max_new_tokens", max_new_tokens, 0),
        ("num_return_sequences", num_return_sequences, 1),
    ):
        if value < least:
            raise UsageError(f"{name} is {value}, must be at least {least}", where="generate")
    if max_new_tokens == 0:
        return
    ids = model.config.token_ids
    session = _Session(model, prompts, max_new_tokens, num_return_sequences)
    ends = [ids.end_of_text, ids.im_end] if stopping.token_ids is None else list(stopping.token_ids)
    ends_E = torch.tensor(ends, dtype=torch.long, device=session.device)
    streams = generators(sampling, session.sequences, session.device)
    answers: list[list[int]] = [[] for _ in range(session.sequences)]
    done_B = torch.zeros(session.sequences, dtype=torch.bool, device=session.device)
    logits_BV = session.prefill()
    for left in reversed(range(max_new_tokens)):
        token_B = torch.where(done_B, ids.end_of_text, pick(logits_BV, sampling, streams, session.seen_BV))
        made_B = token_B.cpu().numpy()
        yield made_B
        done_B = done_B | torch.isin(token_B, ends_E)
        if stopping.strings:
            for answer, token in zip(answers, made_B.tolist(), strict=True):
                answer.append(token)
            found = [stopping.found(answer) for answer in answers]
            done_B = done_B | torch.tensor(found, device=session.device)
        if left == 0 or bool(done_B.all()):
            return
        logits_BV = session.advance(token_B)


class _Session:
    """The state of one generation: caches, which cached places count, and where each sequence stands."""

    def __init__(self, model: OmniModel, prompts: PromptArrays, max_new_tokens: int, answers: int) -> None:
        weight = model.model.embed_tokens.weight
        self.model, self.device = model, weight.device
        self.inputs = prompt_tensors(prompts, self.device)
        document_PS = self.inputs["document_BS"]
        if not bool(((document_PS.amax(1) == 1) & (document_PS.amin(1) >= 0)).all()):
            raise UsageError(
                "each prompt must be one document in its row",
                where="generate",
                fix="build prompts one a row (make_batch)",
            )
        count, size = document_PS.shape
        self.answers, self.sequences = answers, count * answers
        shape = model.config.shape
        like = weight.new_empty(0)
        self.caches = [LayerCache(count, size + max_new_tokens, shape, like) for _ in range(shape.layers)]
        self.real_BL = document_PS > 0
        self.next_B = self.inputs["positions_3BS"].masked_fill(document_PS == 0, -1).amax((0, 2)) + 1
        self.seen_BV = torch.zeros(count, model.config.vocabulary, dtype=torch.bool, device=self.device)
        row_PS = torch.arange(count, device=self.device)[:, None].expand_as(document_PS)
        self.seen_BV[row_PS[self.real_BL], self.inputs["tokens_BS"][self.real_BL]] = True

    @torch.no_grad()
    def prefill(self) -> Tensor:
        """Run the prompts → logits of each sequence's next token [B, V], float32."""
        inputs, model = self.inputs, self.model
        media = (inputs[name] for name in ("patches_PC", "grid_G3", "mel_MF", "mel_lengths_A"))
        fused = model.fuse(inputs["tokens_BS"], *media)
        mask = document_mask(inputs["document_BS"])
        hidden_PSH, _ = model.model(
            fused.x_BSH, inputs["positions_3BS"], mask, fused.visual_index_N, fused.deepstack, self.caches
        )
        size = self.real_BL.shape[1]
        last_P = size - 1 - self.real_BL.flip(1).int().argmax(1)
        rows_P = torch.arange(last_P.numel(), device=self.device)
        logits_PV = model.head(hidden_PSH[rows_P, last_P]).float()
        if self.answers == 1:
            return logits_PV
        for cache in self.caches:
            cache.repeat(self.answers)
        self.real_BL, self.next_B, self.seen_BV, logits_BV = (
            tensor.repeat_interleave(self.answers, dim=0)
            for tensor in (self.real_BL, self.next_B, self.seen_BV, logits_PV)
        )
        return logits_BV

    @torch.no_grad()
    def advance(self, token_B: Tensor) -> Tensor:
        """Add one token to each sequence → logits of the token after it [B, V], float32."""
        model = self.model
        self.seen_BV.scatter_(1, token_B[:, None], True)
        self.real_BL = torch.cat((self.real_BL, torch.ones_like(self.real_BL[:, :1])), dim=1)
        positions_3B1 = self.next_B[None, :, None].expand(3, -1, 1)
        self.next_B = self.next_B + 1
        x_B1H = model.model.embed_tokens(token_B[:, None])
        mask_B11L = self.real_BL[:, None, None, :]
        hidden_B1H, _ = model.model(x_B1H, positions_3B1, mask_B11L, caches=self.caches)
        return model.head(hidden_B1H[:, 0]).float()

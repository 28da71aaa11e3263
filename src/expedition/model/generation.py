"""Generation: token ids after a batch of prompts, one step at a time with a key/value cache.

Shapes: B prompts, S prompt length (padded), L = S + new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expedition.errors import UsageError
from expedition.kernels.attention import document_mask
from expedition.model.attention import LayerCache
from expedition.model.omni import OmniModel

__all__ = ["PromptArrays", "Sampling", "generate", "generate_stream", "prompt_tensors"]

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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked from the logits; the default is the most likely one."""

    temperature: float = 0.0
    """Logits are divided by it; 0 takes the most likely token."""
    top_k: int = 0
    """Only the k most likely tokens; 0 for all."""
    top_p: float = 1.0
    """Only the most likely tokens that together hold this probability."""
    seed: int = 0
    """Of the random numbers; the same seed, prompts and machine give the same tokens."""

    def __post_init__(self) -> None:
        for name, value, fits in (
            ("temperature", self.temperature, self.temperature >= 0),
            ("top_k", self.top_k, self.top_k >= 0),
            ("top_p", self.top_p, 0 < self.top_p <= 1),
        ):
            if not fits:
                allowed = "greater than 0, at most 1" if name == "top_p" else "at least 0"
                raise UsageError(f"{name} is {value}, must be {allowed}")


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
    eos: Sequence[int] | None = None,
) -> npt.NDArray[np.int64]:
    """New tokens [B, n], n ≤ `max_new_tokens`; after a row's end token its places hold the end-of-text token.

    `eos` (default: end of text and end of message) ends a row; generation stops when all rows have ended.
    """
    steps = list(generate_stream(model, prompts, max_new_tokens, sampling, eos))
    if not steps:
        return np.zeros((prompts.tokens_BS.shape[0], 0), dtype=np.int64)
    return np.stack(steps, axis=1)


def generate_stream(
    model: OmniModel,
    prompts: PromptArrays,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    eos: Sequence[int] | None = None,
) -> Iterator[npt.NDArray[np.int64]]:
    """The same, a step at a time: each item is the next token of every row [B].

    Raises UsageError where a row holds no prompt or more than one document.
    """
    sampling = sampling or Sampling()
    ids = model.config.token_ids
    ends = torch.tensor([ids.end_of_text, ids.im_end] if eos is None else list(eos), dtype=torch.long)
    session = _Session(model, prompts, max_new_tokens)
    ends = ends.to(session.device)
    generator = torch.Generator(session.device).manual_seed(sampling.seed)
    done_B = torch.zeros(prompts.tokens_BS.shape[0], dtype=torch.bool, device=session.device)
    logits_BV = session.prefill()
    for left in reversed(range(max_new_tokens)):
        token_B = torch.where(done_B, ids.end_of_text, pick(logits_BV, sampling, generator))
        yield token_B.cpu().numpy()
        done_B = done_B | torch.isin(token_B, ends)
        if left == 0 or bool(done_B.all()):
            return
        logits_BV = session.advance(token_B)


def pick(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Next token [B] from float32 logits: temperature, then top k, then top p, then a draw."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    scaled_BV = logits_BV / sampling.temperature
    if 0 < sampling.top_k < scaled_BV.shape[-1]:
        least_B1 = scaled_BV.topk(sampling.top_k, dim=-1).values[:, -1:]
        scaled_BV = scaled_BV.masked_fill(scaled_BV < least_B1, -torch.inf)
    if sampling.top_p < 1:
        sorted_BV, order_BV = scaled_BV.sort(dim=-1, descending=True)
        before_BV = sorted_BV.softmax(-1).cumsum(-1).roll(1, dims=-1)
        before_BV[:, 0] = 0.0
        sorted_BV = sorted_BV.masked_fill(before_BV >= sampling.top_p, -torch.inf)
        scaled_BV = torch.empty_like(scaled_BV).scatter(-1, order_BV, sorted_BV)
    return torch.multinomial(scaled_BV.softmax(-1), 1, generator=generator).squeeze(1)


class _Session:
    """The state of one generation: caches, which cached places count, and where each row stands."""

    def __init__(self, model: OmniModel, prompts: PromptArrays, max_new_tokens: int) -> None:
        weight = model.model.embed_tokens.weight
        self.model, self.device = model, weight.device
        self.inputs = prompt_tensors(prompts, self.device)
        document_BS = self.inputs["document_BS"]
        if not bool(((document_BS.amax(1) == 1) & (document_BS.amin(1) >= 0)).all()):
            raise UsageError(
                "each prompt must be one document in its row",
                where="generate",
                fix="build prompts one a row (make_batch)",
            )
        batch, size = document_BS.shape
        shape = model.config.shape
        like = weight.new_empty(0)
        self.caches = [LayerCache(batch, size + max_new_tokens, shape, like) for _ in range(shape.layers)]
        self.real_BL = document_BS > 0
        self.next_B = self.inputs["positions_3BS"].masked_fill(document_BS == 0, -1).amax((0, 2)) + 1

    @torch.no_grad()
    def prefill(self) -> Tensor:
        """Run the prompts → logits of each row's next token [B, V], float32."""
        inputs, model = self.inputs, self.model
        media = (inputs[name] for name in ("patches_PC", "grid_G3", "mel_MF", "mel_lengths_A"))
        fused = model.fuse(inputs["tokens_BS"], *media)
        mask = document_mask(inputs["document_BS"])
        hidden_BSH, _ = model.model(
            fused.x_BSH, inputs["positions_3BS"], mask, fused.visual_index_N, fused.deepstack, self.caches
        )
        size = self.real_BL.shape[1]
        last_B = size - 1 - self.real_BL.flip(1).int().argmax(1)
        rows_B = torch.arange(last_B.numel(), device=self.device)
        return model.head(hidden_BSH[rows_B, last_B]).float()

    @torch.no_grad()
    def advance(self, token_B: Tensor) -> Tensor:
        """Add one token to each row → logits of the token after it [B, V], float32."""
        model = self.model
        self.real_BL = torch.cat((self.real_BL, torch.ones_like(self.real_BL[:, :1])), dim=1)
        positions_3B1 = self.next_B[None, :, None].expand(3, -1, 1)
        self.next_B = self.next_B + 1
        x_B1H = model.model.embed_tokens(token_B[:, None])
        mask_B11L = self.real_BL[:, None, None, :]
        hidden_B1H, _ = model.model(x_B1H, positions_3B1, mask_B11L, caches=self.caches)
        return model.head(hidden_B1H[:, 0]).float()

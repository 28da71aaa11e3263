"""How the next token is picked from logits, and when a sequence ends.

Shapes: B sequences, V vocabulary.
The options have the names and the meaning that transformers and serving engines give them, and act in transformers'
order: repetition penalty, temperature, top k, top p, min p, then a draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expedition.errors import UsageError

__all__ = ["Sampling", "Stopping", "draw", "generators", "kept_logits", "pick"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked from the logits; the default is the most likely one."""

    temperature: float = 0.0
    """Logits are divided by it; 0 takes the most likely token."""
    top_k: int = 0
    """Only the k most likely tokens; 0 for all."""
    top_p: float = 1.0
    """Only the most likely tokens that together hold this probability."""
    min_p: float = 0.0
    """Only tokens with at least this share of the most likely one's probability (arXiv:2407.01082)."""
    repetition_penalty: float = 1.0
    """Logits of tokens that the prompt or the answer holds are divided by it, negative ones multiplied
    (arXiv:1909.05858, section 4.1); 1 changes nothing. It acts at temperature 0 too."""
    seed: int = 0
    """Sequence number i of a batch draws from random numbers of seed + i, whatever else is in the batch: alone, with
    that seed, it is the same. Same seed, prompt, machine and precision: same tokens."""

    def __post_init__(self) -> None:
        for name, value, fits, allowed in (
            ("temperature", self.temperature, self.temperature >= 0, "at least 0"),
            ("top_k", self.top_k, self.top_k >= 0, "at least 0"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "greater than 0, at most 1"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "in 0..1"),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "greater than 0"),
        ):
            if not fits:
                raise UsageError(f"{name} is {value}, must be {allowed}")


@dataclass(frozen=True, slots=True)
class Stopping:
    """What ends a sequence before its number of tokens does. What ended it is part of the result."""

    token_ids: tuple[int, ...] | None = None
    """Tokens that end it; None for end of text and end of message."""
    strings: tuple[str, ...] = ()
    """Strings that end it where they appear in the decoded answer, also across tokens."""
    decode: Callable[[Sequence[int]], str] | None = None
    """A tokenizer's decode; needed for `strings`."""

    def __post_init__(self) -> None:
        if self.strings and self.decode is None:
            raise UsageError(
                f"stop strings {self.strings} need a tokenizer",
                where="generate",
                fix="Stopping(strings=…, decode=tokenizer.decode)",
            )
        if "" in self.strings:
            raise UsageError("an empty stop string ends every answer", where="generate", fix="leave it out")

    def found(self, answer: Sequence[int]) -> bool:
        """Whether the answer holds a stop string."""
        if not self.strings or self.decode is None:
            return False
        text = self.decode(answer)
        return any(string in text for string in self.strings)


def generators(sampling: Sampling, sequences: int, device: torch.device) -> list[torch.Generator]:
    """One stream of random numbers for each sequence."""
    return [torch.Generator(device).manual_seed(sampling.seed + number) for number in range(sequences)]


def pick(logits_BV: Tensor, sampling: Sampling, streams: Sequence[torch.Generator], seen_BV: Tensor) -> Tensor:
    """Next token [B] from float32 logits; `seen_BV` (bool) says which tokens a sequence holds already."""
    kept_BV = kept_logits(logits_BV, sampling, seen_BV)
    return kept_BV.argmax(-1) if sampling.temperature == 0 else draw(kept_BV, streams)


def kept_logits(logits_BV: Tensor, sampling: Sampling, seen_BV: Tensor) -> Tensor:
    """Logits after the penalty, the temperature and the cuts: -inf for what may not be drawn."""
    kept_BV = logits_BV
    if sampling.repetition_penalty != 1:
        penalised_BV = torch.where(
            kept_BV < 0, kept_BV * sampling.repetition_penalty, kept_BV / sampling.repetition_penalty
        )
        kept_BV = torch.where(seen_BV, penalised_BV, kept_BV)
    if sampling.temperature == 0:
        return kept_BV
    kept_BV = kept_BV / sampling.temperature
    if 0 < sampling.top_k < kept_BV.shape[-1]:
        least_B1 = kept_BV.topk(sampling.top_k, dim=-1).values[:, -1:]
        kept_BV = kept_BV.masked_fill(kept_BV < least_B1, -torch.inf)
    if sampling.top_p < 1:
        sorted_BV, order_BV = kept_BV.sort(dim=-1, descending=True)
        before_BV = sorted_BV.softmax(-1).cumsum(-1).roll(1, dims=-1)
        before_BV[:, 0] = 0.0
        sorted_BV = sorted_BV.masked_fill(before_BV >= sampling.top_p, -torch.inf)
        kept_BV = torch.empty_like(kept_BV).scatter(-1, order_BV, sorted_BV)
    if sampling.min_p > 0:
        share_BV = kept_BV.softmax(-1)
        kept_BV = kept_BV.masked_fill(share_BV < sampling.min_p * share_BV.amax(-1, keepdim=True), -torch.inf)
    return kept_BV


def draw(logits_BV: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """A token [B] with probability softmax(logits), each sequence by its own random numbers.

    The token with the largest probability / exponential is a sample of the distribution (the exponential race; the
    Gumbel trick in other words), so a sequence uses V numbers a token, whatever its neighbours do.
    """
    probability_BV = logits_BV.softmax(-1)
    race_BV = torch.stack(
        [torch.empty_like(row).exponential_(generator=g) for row, g in zip(probability_BV, streams, strict=True)]
    )
    return (probability_BV / race_BV).argmax(-1)

"""Work of a training step from the model's config, and MFU as it is stated everywhere.

MFU = FLOPs of forward and backward (three forwards) ÷ (time × 989e12, the published dense bf16 figure of an H100 SXM,
also where products run in FP8). Attention counts the keys that a causal query sees, half of its document on average;
the head is in, the embedding look-up and everything that is computed again are not. Beside it stands the figure that counts
attention as if it were full, which many publish.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expedition.model.config import OmniConfig
from expedition.model.counts import encoder_flops, flops_per_token

H100_BF16_FLOPS = 989e12
"""NVIDIA H100 SXM data sheet: dense bf16 tensor cores; twice that is its figure "with sparsity"."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a step's batches hold, as far as work depends on it."""

    documents: tuple[int, ...]
    """Tokens of each document, padding left out."""
    grids: tuple[tuple[int, int, int], ...] = ()
    """Frames, rows and columns of patches of each picture and clip."""
    frames: tuple[int, ...] = ()
    """Mel frames of each sound."""

    @property
    def tokens(self) -> int:
        """Tokens of the decoder."""
        return sum(self.documents)

    def __add__(self, other: Content) -> Content:
        return Content(self.documents + other.documents, self.grids + other.grids, self.frames + other.frames)


@dataclass(frozen=True, slots=True)
class StepFlops:
    """FLOPs of one step, forward and backward."""

    causal: float
    full: float
    """The same with attention counted as if every token saw its whole document."""


def step_flops(config: OmniConfig, content: Content) -> StepFlops:
    """Work of a step over `content`."""
    media = encoder_flops(config, content.grids, content.frames)
    extra = 3 * (media.vision + media.audio)

    def decoder(causal: bool) -> float:
        return 3.0 * sum(
            count * length * flops_per_token(config, length, causal).total
            for length, count in _counted(content.documents)
        )

    return StepFlops(decoder(causal=True) + extra, decoder(causal=False) + extra)


def _counted(lengths: Sequence[int]) -> Iterable[tuple[int, int]]:
    return ((length, lengths.count(length)) for length in sorted(set(lengths)))


def mfu(flops: float, seconds: float, devices: int = 1, peak: float = H100_BF16_FLOPS) -> float:
    """Share of `peak` that `flops` of useful work in `seconds` on `devices` are."""
    return flops / (seconds * peak * devices)

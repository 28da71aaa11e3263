"""How many parameters and how much arithmetic a model is, from its config alone: exact, and without torch.

Symbols: H hidden, N query heads, K key/value heads, D head size, E experts, k experts a token, F expert inner size,
V vocabulary, S sequence length. A product of [a, b] by [b, c] is 2·a·b·c FLOPs; norms, activations, softmax, rotary
turns and the embedding look-up are left out, as is usual (Kaplan et al. 2020, arXiv:2001.08361, table 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from expedition.model.config import OmniConfig
from expedition.plan.shapes import AudioShape, ModelShape, VisionShape

__all__ = [
    "DecoderFlops",
    "EncoderFlops",
    "PartCounts",
    "count_parameters",
    "encoder_flops",
    "flops_per_token",
]


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Parameters by part; a tied head is counted once, as embedding."""

    embedding: int
    head: int
    attention: int
    router: int
    experts: int
    dense: int
    norms: int
    vision: int
    audio: int
    active_experts: int
    """Of `experts`, those that one token uses."""

    @property
    def decoder(self) -> int:
        """Everything but the two encoders."""
        return (
            self.embedding + self.head + self.attention + self.router + self.experts + self.dense + self.norms
        )  # fmt: skip

    @property
    def total(self) -> int:
        """All parameters of the built model."""
        return self.decoder + self.vision + self.audio

    @property
    def active(self) -> int:
        """Parameters that one text token is multiplied with: k of E experts, the head, no embedding look-up.

        A tied table is counted here, since it is the head.
        """
        head = self.head or self.embedding
        return head + self.attention + self.router + self.active_experts + self.dense + self.norms

    def to_json(self) -> dict[str, int]:
        """All parts and sums as plain data."""
        return {**asdict(self), "decoder": self.decoder, "total": self.total, "active": self.active}


@dataclass(frozen=True, slots=True)
class DecoderFlops:
    """Forward FLOPs of one token in the decoder, by part; forward and backward together are three times as many."""

    attention_products: int
    """q, k, v and output projections."""
    attention_scores: int
    """Queries by keys and weights by values over the sequence."""
    router: int
    experts: int
    dense: int
    head: int

    @property
    def total(self) -> int:
        """All parts."""
        return sum(asdict(self).values())


@dataclass(frozen=True, slots=True)
class EncoderFlops:
    """Forward FLOPs of the media of one batch."""

    vision: int
    audio: int


def count_parameters(config: OmniConfig) -> PartCounts:
    """Parameters of the model that this config builds, by part."""
    shape, vocabulary = config.shape, config.vocabulary
    moe, dense = len(shape.moe_layers), len(shape.dense_layers)
    an_expert = 3 * shape.hidden * shape.expert_inner
    return PartCounts(
        embedding=vocabulary * shape.hidden,
        head=0 if shape.tied_embeddings else vocabulary * shape.hidden,
        attention=shape.layers * (_attention_weights(shape) + 2 * shape.head_dim),
        router=moe * shape.hidden * shape.experts,
        experts=moe * shape.experts * an_expert,
        dense=dense * 3 * shape.hidden * shape.dense_inner,
        norms=(2 * shape.layers + 1) * shape.hidden,
        vision=_vision_parameters(shape.vision, shape.hidden),
        audio=_audio_parameters(shape.audio, shape.hidden),
        active_experts=moe * shape.top_k * an_expert,
    )


def flops_per_token(config: OmniConfig, sequence: int, causal: bool = True) -> DecoderFlops:
    """Forward FLOPs of one decoder token in a document of `sequence` tokens.

    A token attends to `sequence` keys, or half of them on average if `causal`: the definition that MFU is stated by
    (the diagonal's extra half key is left out). Encoders come on top (`encoder_flops`).
    """
    shape = config.shape
    keys = sequence / 2 if causal else sequence
    return DecoderFlops(
        attention_products=2 * shape.layers * _attention_weights(shape),
        attention_scores=round(shape.layers * 4 * keys * shape.heads * shape.head_dim),
        router=2 * len(shape.moe_layers) * shape.hidden * shape.experts,
        experts=2 * len(shape.moe_layers) * shape.top_k * 3 * shape.hidden * shape.expert_inner,
        dense=2 * len(shape.dense_layers) * 3 * shape.hidden * shape.dense_inner,
        head=2 * shape.hidden * config.vocabulary,
    )


def encoder_flops(config: OmniConfig, grids: Sequence[tuple[int, int, int]], frames: Sequence[int]) -> EncoderFlops:
    """Forward FLOPs of images and videos (frames, rows, columns in patches) and of clips of these mel frames."""
    shape = config.shape
    return EncoderFlops(
        vision=sum(_grid_flops(shape.vision, shape.hidden, grid) for grid in grids),
        audio=sum(_clip_flops(shape.audio, shape.hidden, count, max(frames)) for count in frames),
    )


def _attention_weights(shape: ModelShape) -> int:
    return shape.hidden * shape.head_dim * 2 * (shape.heads + shape.kv_heads)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _block_parameters(hidden: int, inner: int) -> int:
    """Attention with biases, MLP with biases, two layer norms."""
    return 4 * _linear(hidden, hidden) + _linear(hidden, inner) + _linear(inner, hidden) + 4 * hidden


def _vision_parameters(vision: VisionShape, out: int) -> int:
    merged = vision.hidden * vision.merge_unit
    merger = _linear(merged, merged) + _linear(merged, out)
    return (
        _linear(vision.patch_values, vision.hidden)
        + vision.position_grid**2 * vision.hidden
        + vision.layers * _block_parameters(vision.hidden, vision.inner)
        + (merger + 2 * vision.hidden)
        + len(vision.deepstack_layers) * (merger + 2 * merged)
    )


def _audio_parameters(audio: AudioShape, out: int) -> int:
    channels = audio.conv_channels
    # The key projection of the published encoder has a bias too, though the softmax does not see it.
    return (
        _linear(9, channels)
        + 2 * _linear(9 * channels, channels)
        + channels * audio.mel_rows_after_conv * audio.hidden
        + audio.layers * _block_parameters(audio.hidden, audio.inner)
        + 2 * audio.hidden
        + _linear(audio.hidden, audio.hidden)
        + _linear(audio.hidden, out)
    )


def _block_flops(hidden: int, inner: int, tokens: int, keys: int) -> int:
    return tokens * (2 * (4 * hidden * hidden + 2 * hidden * inner) + 4 * keys * hidden)


def _grid_flops(vision: VisionShape, out: int, grid: tuple[int, int, int]) -> int:
    frame = grid[1] * grid[2]
    patches = grid[0] * frame
    merged = vision.hidden * vision.merge_unit
    mergers = 1 + len(vision.deepstack_layers)
    return (
        2 * patches * vision.patch_values * vision.hidden
        + vision.layers * _block_flops(vision.hidden, vision.inner, patches, frame)
        + mergers * patches // vision.merge_unit * 2 * (merged * merged + merged * out)
    )


def _clip_flops(audio: AudioShape, out: int, frames: int, longest: int) -> int:
    """Convolutions run on chunks padded to the batch's longest; attention on windows of valid tokens."""
    chunk = min(audio.chunk_frames, longest)
    chunks = -(-frames // audio.chunk_frames)
    tokens = audio.tokens(frames)
    window = audio.tokens(chunk) * (audio.window_frames // audio.chunk_frames)
    full, tail = divmod(tokens, window)
    a_layer = full * _block_flops(audio.hidden, audio.inner, window, window)
    a_layer += _block_flops(audio.hidden, audio.inner, tail, tail)
    return (
        chunks * _chunk_flops(audio, chunk)
        + audio.layers * a_layer
        + 2 * tokens * (audio.hidden * audio.hidden + audio.hidden * out)
    )


def _chunk_flops(audio: AudioShape, frames: int) -> int:
    """Three convolutions of kernel 3, stride 2 over [mel bins, frames], and the product that flattens their rows."""
    rows, flops, channels = audio.mel_bins, 0, 1
    for _ in range(3):
        rows, frames = (rows + 1) // 2, (frames + 1) // 2
        flops += 2 * 9 * channels * audio.conv_channels * rows * frames
        channels = audio.conv_channels
    return flops + 2 * frames * channels * rows * audio.hidden

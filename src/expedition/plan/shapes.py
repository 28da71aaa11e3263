"""What a model is made of, as data: every size that the programme decides, and the rules that a possible model obeys.

Symbols: H hidden, N query heads, K key/value heads, D head size, E experts, F expert inner size.
The layout is that of the Qwen3-Omni-MoE thinker; the model room builds it. No torch here: the planner reads shapes too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Literal, Self

import yaml
from pydantic import Field, model_validator

from expedition.plan.positions import RopePlan, RopeScaling
from expedition.plan.section import Section

__all__ = ["AudioShape", "ModelShape", "TokenIds", "VisionShape", "preset_shapes"]


class VisionShape(Section):
    """The vision encoder: patches of images and frame pairs, attention in a frame, 2×2 patches merged to a token."""

    hidden: int = Field(gt=0)
    """Width of a patch vector."""
    layers: int = Field(gt=0)
    """Encoder blocks."""
    heads: int = Field(gt=0)
    """Attention heads; `hidden / heads` must be a multiple of 4 (row and column rotary halves)."""
    inner: int = Field(gt=0)
    """Width inside the MLP."""
    patch: int = Field(default=16, gt=0)
    """Side of a square patch in pixels."""
    temporal_patch: int = Field(default=2, gt=0)
    """Frames in one patch; an image is repeated to fill it."""
    merge: int = Field(default=2, gt=0)
    """`merge`×`merge` neighbouring patches become one token of the decoder."""
    position_grid: int = Field(default=48, gt=0)
    """Side of the learned square position table, resampled bilinearly to each frame's grid."""
    deepstack_layers: tuple[int, ...] = (8, 16, 24)
    """Encoder blocks (from 0) whose merged output is added to decoder layers 0, 1, 2 …; may be empty."""

    @property
    def patch_values(self) -> int:
        """Numbers in one flattened patch: 3 × temporal_patch × patch²."""
        return 3 * self.temporal_patch * self.patch * self.patch

    @property
    def merge_unit(self) -> int:
        """Patches in one decoder token."""
        return self.merge * self.merge

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 4:
            raise ValueError(
                f"vision: hidden {self.hidden} / heads {self.heads} must be a whole multiple of 4 (rotary halves)"
            )
        if list(self.deepstack_layers) != sorted(set(self.deepstack_layers)):
            raise ValueError(f"vision: deepstack_layers {self.deepstack_layers} must rise without repeats")
        if any(not 0 <= layer < self.layers for layer in self.deepstack_layers):
            raise ValueError(f"vision: deepstack_layers {self.deepstack_layers} must lie in 0..{self.layers - 1}")
        return self


class AudioShape(Section):
    """The audio encoder: log-mel frames (10 ms), three stride-2 convolutions a chunk, attention in windows."""

    hidden: int = Field(gt=0)
    """Width of an audio vector; even, at least 4 (sines and cosines)."""
    layers: int = Field(gt=0)
    """Encoder layers."""
    heads: int = Field(gt=0)
    """Attention heads."""
    inner: int = Field(gt=0)
    """Width inside the MLP."""
    mel_bins: int = Field(default=128, gt=0)
    """Mel filters of the input."""
    conv_channels: int = Field(default=480, gt=0)
    """Channels of the three convolutions."""
    chunk_frames: int = Field(default=100, gt=0)
    """Mel frames in one convolution chunk; even. 100 frames (1 s) become 13 tokens."""
    window_frames: int = Field(default=800, gt=0)
    """Mel frames that one attention window covers; a multiple of `chunk_frames`."""
    max_positions: int = Field(default=1500, gt=0)
    """Rows of the fixed sinusoidal table (positions inside a chunk)."""

    @property
    def mel_rows_after_conv(self) -> int:
        """Rows that three stride-2 convolutions leave of `mel_bins`."""
        return (((self.mel_bins + 1) // 2 + 1) // 2 + 1) // 2

    def tokens(self, frames: int) -> int:
        """Decoder tokens of one clip of `frames` mel frames: each full chunk gives a fixed number, the tail its own."""
        full, tail = divmod(frames, self.chunk_frames)
        return full * _after_conv(self.chunk_frames) + _after_conv(tail)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"audio: hidden {self.hidden} must be a multiple of heads {self.heads}")
        if self.hidden % 2 or self.hidden < 4:
            raise ValueError(f"audio: hidden {self.hidden} must be even and at least 4 (sine and cosine halves)")
        if self.chunk_frames % 2:
            raise ValueError(f"audio: chunk_frames {self.chunk_frames} must be even (two halves of the window)")
        if _after_conv(self.chunk_frames) != 13:
            # The published length formula has the 13 of a 100-frame chunk in it; other classes count with it.
            raise ValueError(f"audio: chunk_frames {self.chunk_frames} must give 13 tokens a chunk: 97..104, even")
        if self.window_frames % self.chunk_frames:
            raise ValueError(
                f"audio: window_frames {self.window_frames} must be a multiple of chunk_frames {self.chunk_frames}"
            )
        return self


def _after_conv(frames: int) -> int:
    """Length after three convolutions of kernel 3, stride 2, padding 1; nothing stays nothing."""
    for _ in range(3):
        frames = (frames - 1) // 2 + 1
    return frames


class ModelShape(Section):
    """One omni MoE model: decoder, vision encoder, audio encoder, and how its weights begin."""

    hidden: int = Field(gt=0)
    """H, width of the residual stream."""
    layers: int = Field(gt=0)
    """Decoder layers."""
    heads: int = Field(gt=0)
    """N, query heads."""
    kv_heads: int = Field(gt=0)
    """K, key and value heads; divides `heads`."""
    head_dim: int = Field(gt=0)
    """D, size of one head; even. N·D need not equal H."""
    experts: int = Field(gt=0)
    """E, experts in each MoE layer."""
    top_k: int = Field(gt=0)
    """Experts that each token uses; at most `experts`."""
    expert_inner: int = Field(gt=0)
    """F, width inside one expert."""
    dense_layers: tuple[int, ...] = ()
    """Decoder layers (from 0) with one dense MLP instead of experts."""
    dense_inner: int = Field(default=0, ge=0)
    """Width inside the dense MLP; needed where `dense_layers` is not empty."""
    tied_embeddings: bool = False
    """Whether the head is the transposed embedding table."""
    rope_theta: float = Field(default=1_000_000.0, gt=0)
    """Base of the decoder's rotary frequencies."""
    rope_scaling: RopeScaling | None = None
    """How the frequencies are stretched to longer texts; None: not at all."""
    mrope_section: tuple[int, int, int]
    """Rotary frequency pairs that turn with time, row and column; they sum to `head_dim` / 2."""
    norm_eps: float = Field(default=1e-6, gt=0)
    """Added to the mean square in every RMS norm of the decoder."""
    max_positions: int = Field(default=32768, gt=0)
    """Longest position that the exported config states, in tokens."""
    init: Literal["fan_in", "normal"] = "normal"
    """Weights of every product begin normal with std 1/sqrt(fan-in) ("fan_in") or `init_std` ("normal")."""
    init_std: float = Field(default=0.02, gt=0)
    """Std of the embedding table and of every product where `init` is "normal"."""
    position_std: float = Field(default=0.02, gt=0)
    """Std of the learned vision position table; small models do not learn place and order from 0.02."""
    vision: VisionShape
    """The vision encoder."""
    audio: AudioShape
    """The audio encoder."""

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Decoder layers that have experts, in order."""
        return tuple(layer for layer in range(self.layers) if layer not in self.dense_layers)

    def with_positions(self, rope: RopePlan) -> ModelShape:
        """The same parameters under a run's rotary positions."""
        scaled = rope.scaling.max_positions if rope.scaling is not None else self.max_positions
        return self.model_copy(
            update={
                "rope_theta": self.rope_theta if rope.theta is None else rope.theta,
                "rope_scaling": rope.scaling,
                "max_positions": scaled if rope.max_positions is None else rope.max_positions,
            }
        )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problem = self._attention_problem() or self._expert_problem()
        if problem:
            raise ValueError(problem)
        return self

    def _attention_problem(self) -> str | None:
        half = self.head_dim // 2
        time, row, column = self.mrope_section
        if self.heads % self.kv_heads:
            return f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}"
        if self.head_dim % 2:
            return f"head_dim {self.head_dim} must be even (rotary pairs)"
        if time + row + column != half:
            return f"mrope_section {self.mrope_section} sums to {time + row + column}, must be head_dim / 2 = {half}"
        if min(self.mrope_section) < 0 or (row and 3 * row - 2 >= half) or (column and 3 * column - 1 >= half):
            return f"mrope_section {self.mrope_section}: rows and columns take every third of {half} and do not fit"
        return None

    def _expert_problem(self) -> str | None:
        if self.top_k > self.experts:
            return f"top_k {self.top_k} must be at most experts {self.experts}"
        if list(self.dense_layers) != sorted(set(self.dense_layers)):
            return f"dense_layers {self.dense_layers} must rise without repeats"
        if any(not 0 <= layer < self.layers for layer in self.dense_layers):
            return f"dense_layers {self.dense_layers} must lie in 0..{self.layers - 1}"
        if self.dense_layers and not self.dense_inner:
            return f"dense_inner must be given where dense_layers {self.dense_layers} is not empty"
        if len(self.vision.deepstack_layers) > self.layers:
            return f"{len(self.vision.deepstack_layers)} deepstack levels do not fit into {self.layers} decoder layers"
        return None


@dataclass(frozen=True, slots=True)
class TokenIds:
    """The token ids that a model must know; names as in the tokenizer, defaults Qwen's own and our first ones."""

    end_of_text: int = 151643
    im_start: int = 151644
    im_end: int = 151645
    vision_start: int = 151652
    vision_end: int = 151653
    image_pad: int = 151655
    video_pad: int = 151656
    audio_start: int = 151669
    audio_end: int = 151670
    audio_pad: int = 151671

    @classmethod
    def from_tokenizer(cls, special: Callable[[str], int]) -> TokenIds:
        """Ask a tokenizer's `special("<|image_pad|>") -> id` for each of them."""
        names = {"end_of_text": "endoftext"}
        return cls(**{f.name: special(f"<|{names.get(f.name, f.name)}|>") for f in fields(cls)})


@cache
def preset_shapes() -> dict[str, ModelShape]:
    """The shapes that come with the programme presets: tiny, 1b, 10b, 10b-active."""
    text = files("expedition.plan").joinpath("presets/models.yaml").read_text(encoding="utf-8")
    return {name: ModelShape(**shape) for name, shape in yaml.safe_load(text).items()}

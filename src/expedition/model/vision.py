"""The vision encoder: packed patches of images and video frames → one feature a merge block, and deepstack levels.

Shapes: P patches (of all images and videos, merge blocks consecutive), C numbers in a patch, V encoder width,
G images and videos, N = P / merge² features, H decoder width, U distinct places in distinct frame sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from expedition.kernels.attention import Segments, plan_segments, segment_attention
from expedition.kernels.host import send
from expedition.kernels.qk_norm_rope import qk_rope
from expedition.model.rope import vision_rotary
from expedition.plan.shapes import VisionShape

__all__ = ["VisionEncoder", "VisionFeatures", "VisionPlan", "plan_vision"]


class VisionFeatures(NamedTuple):
    """What the decoder gets: features [N, H] and one [N, H] for each deepstack level."""

    features_NH: Tensor
    deepstack: list[Tensor]


@dataclass(frozen=True, slots=True)
class VisionPlan:
    """All index tensors of a batch's grids; made once on the host."""

    row_column_2P: Tensor
    """Row and column of each patch in its frame."""
    taps_U4: Tensor
    """Four rows of the position table for each distinct place."""
    weights_U4: Tensor
    """Their bilinear weights, float32."""
    place_P: Tensor
    """Which distinct place each patch has."""
    segments: Segments
    """One segment a frame."""


def plan_vision(
    grid_G3: Tensor, shape: VisionShape, device: torch.device, dtype: torch.dtype = torch.float32
) -> VisionPlan:
    """Index tensors for grids (frames, rows, columns in patches); `grid_G3` is best on the host (it is read there).

    Frames are attended in `dtype`.
    """
    grids: list[list[int]] = grid_G3.tolist()
    starts: dict[tuple[int, int], int] = {}
    tables: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    places: list[Tensor] = []
    lengths: list[int] = []
    used = 0
    for frames, rows, columns in grids:
        if (rows, columns) not in starts:
            starts[rows, columns] = used
            tables.append(_frame_table(rows, columns, shape.merge, shape.position_grid))
            used += rows * columns
        start = starts[rows, columns]
        places.append(torch.arange(start, start + rows * columns).repeat(frames))
        lengths.extend([rows * columns] * frames)
    place_P = torch.cat(places)
    row_column_2U, taps_U4, weights_U4 = (
        torch.from_numpy(np.concatenate(parts, axis=-1)) for parts in zip(*tables, strict=True)
    )
    return VisionPlan(
        row_column_2P=send(row_column_2U.index_select(1, place_P), device),
        taps_U4=send(taps_U4.t().contiguous(), device),
        weights_U4=send(weights_U4.t().contiguous(), device),
        place_P=send(place_P, device),
        segments=plan_segments(lengths, device, dtype),
    )


@lru_cache(maxsize=4096)
def _frame_table(rows: int, columns: int, merge: int, side: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """For one frame size, patches in merge-block order: row and column [2, U], taps [4, U], weights [4, U].

    As arrays: what is kept from one batch to the next must not be a tensor that was made while tensors are fake.
    """
    blocks = np.arange(rows * columns).reshape(rows // merge, merge, columns // merge, merge)
    row, column = np.divmod(blocks.swapaxes(1, 2).ravel(), columns)
    row_taps, row_weights = _axis_taps(row, rows, side)
    column_taps, column_weights = _axis_taps(column, columns, side)
    taps = (row_taps[:, None] * side + column_taps[None, :]).reshape(4, -1)
    weights = (row_weights[:, None] * column_weights[None, :]).reshape(4, -1)
    return np.stack((row, column)), taps, weights


def _axis_taps(index: NDArray[Any], size: int, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two taps [2, U] into an axis of `side` learned positions and their linear weights; ends meet ends."""
    source = index.astype(np.float32) * np.float32(side - 1) / np.float32(max(size - 1, 1))
    floor = np.floor(source)
    offset = np.arange(2)[:, None]
    taps = (floor.astype(np.int64) + offset).clip(0, side - 1)
    return taps, (1 - np.abs(source - floor - offset.astype(np.float32))).clip(min=0)


class PatchEmbed(nn.Module):
    """A product with each patch; the weight lies as in the convolution it equals: [V, 3, temporal, patch, patch]."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        kernel = (shape.temporal_patch, shape.patch, shape.patch)
        self.proj = nn.Conv3d(3, shape.hidden, kernel, kernel)

    def forward(self, patches_PC: Tensor) -> Tensor:
        weight = self.proj.weight
        return F.linear(patches_PC.to(weight.dtype), weight.flatten(1), self.proj.bias)


class VisionAttention(nn.Module):
    """Full attention inside each frame, rows and columns as rotary positions."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.proj = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x_PV: Tensor, rotary: tuple[Tensor, Tensor], segments: Segments) -> Tensor:
        q, k, v = self.qkv(x_PV).view(x_PV.shape[0], 3, self.heads, -1).unbind(1)
        # Angles reach hundreds of radians in large frames: the turn is float32 also where activations are bf16.
        cos, sin = (table.unsqueeze(0) for table in rotary)
        q_1PND, k_1PND = qk_rope(q.unsqueeze(0), k.unsqueeze(0), (cos, sin))
        out: Tensor = self.proj(segment_attention(q_1PND[0], k_1PND[0], v, segments).flatten(1))
        return out


class VisionMLP(nn.Module):
    """Two products with the tanh GELU between."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(shape.hidden, shape.inner)
        self.linear_fc2 = nn.Linear(shape.inner, shape.hidden)

    def forward(self, x_PV: Tensor) -> Tensor:
        out: Tensor = self.linear_fc2(F.gelu(self.linear_fc1(x_PV), approximate="tanh"))
        return out


class VisionBlock(nn.Module):
    """Attention and MLP, each after a layer norm and around a residual."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.hidden, eps=1e-6)
        self.norm2 = nn.LayerNorm(shape.hidden, eps=1e-6)
        self.attn = VisionAttention(shape)
        self.mlp = VisionMLP(shape)

    def forward(self, x_PV: Tensor, rotary: tuple[Tensor, Tensor], segments: Segments) -> Tensor:
        x_PV = x_PV + self.attn(self.norm1(x_PV), rotary, segments)
        out: Tensor = x_PV + self.mlp(self.norm2(x_PV))
        return out


class PatchMerger(nn.Module):
    """A merge block's patches side by side through two products into the decoder's width."""

    def __init__(self, shape: VisionShape, out: int, *, norm_after_merge: bool) -> None:
        super().__init__()
        self.merged = shape.hidden * shape.merge_unit
        self.norm_after_merge = norm_after_merge
        self.ln_q = nn.LayerNorm(self.merged if norm_after_merge else shape.hidden, eps=1e-6)
        self.mlp = nn.ModuleList((nn.Linear(self.merged, self.merged), nn.GELU(), nn.Linear(self.merged, out)))

    def forward(self, x_PV: Tensor) -> Tensor:
        x: Tensor = self.ln_q(x_PV.view(-1, self.merged) if self.norm_after_merge else x_PV).view(-1, self.merged)
        for layer in self.mlp:
            x = layer(x)
        return x


class VisionEncoder(nn.Module):
    """Patches → features at the decoder's width, with a merger for the last block and for each deepstack block."""

    def __init__(self, shape: VisionShape, out: int) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.pos_embed = nn.Embedding(shape.position_grid**2, shape.hidden)
        self.blocks = nn.ModuleList(VisionBlock(shape) for _ in range(shape.layers))
        self.merger = PatchMerger(shape, out, norm_after_merge=False)
        self.merger_list = nn.ModuleList(PatchMerger(shape, out, norm_after_merge=True) for _ in shape.deepstack_layers)

    def idle_input(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Patches and grid of one merge block of zeros, in the type and on the device of `like`: for a process that has
        nothing to encode and must take part."""
        shape = self.shape
        return like.new_zeros(shape.merge_unit, shape.patch_values), torch.tensor([[1, shape.merge, shape.merge]])

    def forward(self, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        """`patches_PC` in the order (frame, block row, block column, row, column in block); grids in patches."""
        plan = plan_vision(grid_G3, self.shape, patches_PC.device, self.patch_embed.proj.weight.dtype)
        x_PV = self.patch_embed(patches_PC)
        positions_UV = (self.pos_embed(plan.taps_U4) * plan.weights_U4.unsqueeze(-1)).sum(1)
        x_PV = x_PV + positions_UV.to(x_PV.dtype).index_select(0, plan.place_P)
        rotary = vision_rotary(plan.row_column_2P, self.shape.hidden // self.shape.heads)
        deepstack: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x_PV = block(x_PV, rotary, plan.segments)
            if number in self.shape.deepstack_layers:
                deepstack.append(self.merger_list[len(deepstack)](x_PV))
        return VisionFeatures(self.merger(x_PV), deepstack)

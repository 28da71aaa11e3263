"""Decoder attention: grouped queries, RMS norm on each head, rotary positions, and a key/value cache for generation.

Shapes: B batch, S sequence (new tokens), L keys (cached and new), H hidden, N query heads, K key/value heads,
D head size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expedition.kernels.attention import Documents, attend, document_attention
from expedition.kernels.qk_norm_rope import qk_norm_rope
from expedition.kernels.rms_norm import add_rms_norm, rms_norm
from expedition.model.spread import Spread
from expedition.plan.shapes import ModelShape

__all__ = ["DecoderAttention", "LayerCache", "RMSNorm"]


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight, over the last size."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)

    def after_adding(self, x: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
        """`x + update`, and its norm."""
        return add_rms_norm(x, update, self.weight, self.eps)


class LayerCache:
    """Keys and values of one layer, in buffers of a fixed length that fill from the left."""

    def __init__(self, batch: int, length: int, shape: ModelShape, like: Tensor) -> None:
        self.keys_BLKD = like.new_zeros(batch, length, shape.kv_heads, shape.head_dim)
        self.values_BLKD = torch.zeros_like(self.keys_BLKD)
        self.filled = 0

    def append(self, k_BSKD: Tensor, v_BSKD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values, return all that are stored."""
        end = self.filled + k_BSKD.shape[1]
        self.keys_BLKD[:, self.filled : end] = k_BSKD
        self.values_BLKD[:, self.filled : end] = v_BSKD
        self.filled = end
        return self.keys_BLKD[:, :end], self.values_BLKD[:, :end]

    def repeat(self, times: int) -> None:
        """Each row `times` times, one after the other: several answers to one prompt."""
        self.keys_BLKD = self.keys_BLKD.repeat_interleave(times, dim=0)
        self.values_BLKD = self.values_BLKD.repeat_interleave(times, dim=0)


class DecoderAttention(nn.Module):
    """One attention of the decoder; no biases."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.head_dim = shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps)
        self.spread: Spread | None = None
        """Where other processes have keys and values of the same rows."""

    def forward(
        self, x_BSH: Tensor, rotary: tuple[Tensor, Tensor], seen: Documents, cache: LayerCache | None = None
    ) -> Tensor:
        """→ [B, S, H]; `rotary` by `decoder_rotary`, `seen` by `plan_documents` (with a cache: a mask [B, 1, S, L])."""
        heads = (*x_BSH.shape[:2], -1, self.head_dim)
        q_BSND, k_BSKD, v_BSKD = (part.view(heads) for part in self.project(x_BSH))
        weights = self.q_norm.weight, self.k_norm.weight
        q_BSND, k_BSKD = qk_norm_rope(q_BSND, k_BSKD, *weights, rotary, self.q_norm.eps)
        if self.spread is not None:
            k_BSKD, v_BSKD = self.spread.gather(k_BSKD, v_BSKD)
        if cache is None:
            out_BSND = document_attention(q_BSND, k_BSKD, v_BSKD, seen)
        else:
            assert isinstance(seen, Tensor)
            out_BSND = attend(q_BSND, *cache.append(k_BSKD, v_BSKD), seen)
        out: Tensor = self.o_proj(out_BSND.flatten(2))
        return out

    def project(self, x_BSH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, heads beside each other; parts of one tensor's rows where one product gives them."""
        return self.q_proj(x_BSH), self.k_proj(x_BSH), self.v_proj(x_BSH)

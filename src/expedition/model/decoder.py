"""The decoder: embeddings in, normalised hidden states out, with vision features added after its first layers.

Shapes: B batch, S sequence, L keys, T = B·S tokens, H hidden, D head size, N features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from expedition.kernels.attention import Documents
from expedition.model.attention import DecoderAttention, LayerCache, RMSNorm
from expedition.model.fusion import add_features
from expedition.model.moe import DenseMLP, MoE, RouterOutput
from expedition.model.rope import decoder_rotary
from expedition.plan.shapes import ModelShape

__all__ = ["Decoder", "DecoderLayer"]


class DecoderLayer(nn.Module):
    """Attention and experts, each after a norm and around a residual: the unit of sharding and recomputation."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(shape)
        self.mlp: nn.Module = DenseMLP(shape) if layer in shape.dense_layers else MoE(shape)
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)

    def forward(
        self, x_BSH: Tensor, rotary: tuple[Tensor, Tensor], seen: Documents, cache: LayerCache | None = None
    ) -> tuple[Tensor, RouterOutput | None]:
        """→ hidden [B, S, H] and the router's output (None for a dense layer)."""
        update_BSH = self.self_attn(self.input_layernorm(x_BSH), rotary, seen, cache)
        x_BSH, normed_BSH = self.post_attention_layernorm.after_adding(x_BSH, update_BSH)
        update_BSH, router = self.mlp(normed_BSH)
        return x_BSH + update_BSH, router


class Decoder(nn.Module):
    """Embedding table, layers, final norm; the head is beside it in `OmniModel`."""

    def __init__(self, shape: ModelShape, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(vocabulary, shape.hidden)
        self.layers = nn.ModuleList(DecoderLayer(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)

    def forward(
        self,
        x_BSH: Tensor,
        positions_3BS: Tensor,
        seen: Documents,
        visual_index_N: Tensor | None = None,
        deepstack: Sequence[Tensor] = (),
        caches: Sequence[LayerCache] | None = None,
    ) -> tuple[Tensor, list[RouterOutput]]:
        """Hidden states after the final norm, and the router output of each MoE layer.

        `seen` as `DecoderAttention` takes it; after layer i `deepstack[i]` [N, H] is added to the flat tokens
        `visual_index_N`, or [B, S, H] to all where that is None. Positions are those of the queries (`spread.Spread`).
        """
        rotary = self.rotary(positions_3BS, x_BSH.dtype)
        numbers = range(len(self.layers))
        x_BSH, routers = self.through(numbers, x_BSH, rotary, seen, visual_index_N, deepstack, caches)
        return self.norm(x_BSH), routers

    def rotary(self, positions_3BS: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines of these positions, for every layer."""
        shape = self.shape
        return decoder_rotary(
            positions_3BS, shape.head_dim, shape.rope_theta, shape.mrope_section, dtype, shape.rope_scaling
        )

    def through(
        self,
        numbers: Iterable[int],
        x_BSH: Tensor,
        rotary: tuple[Tensor, Tensor],
        seen: Documents,
        visual_index_N: Tensor | None = None,
        deepstack: Sequence[Tensor] = (),
        caches: Sequence[LayerCache] | None = None,
    ) -> tuple[Tensor, list[RouterOutput]]:
        """Hidden states after the layers `numbers`, in order, without the final norm."""
        routers: list[RouterOutput] = []
        for number in numbers:
            x_BSH, router = self.layers[number](x_BSH, rotary, seen, None if caches is None else caches[number])
            if router is not None:
                routers.append(router)
            if number < len(deepstack):
                x_BSH = add_features(x_BSH, visual_index_N, deepstack[number])
        return x_BSH, routers

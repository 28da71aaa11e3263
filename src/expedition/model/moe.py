"""Mixture of experts: a router that picks k of E experts for each token, and the experts, stacked in two parameters.

Shapes: B batch, S sequence, T = B·S tokens, H hidden, E experts, K experts a token, F expert inner size.
The router has no bias and no noise: the exported class has neither, and the same input always takes the same way.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expedition.kernels.grouped_experts import expert_layer, expert_products
from expedition.kernels.top_experts import top_experts
from expedition.model.dispatch import LocalDispatcher, TokenDispatcher
from expedition.plan.shapes import ModelShape

__all__ = ["DenseMLP", "Experts", "MoE", "Router", "RouterOutput"]


class RouterOutput(NamedTuple):
    """What balance and z losses and the watch rules need of one layer's router."""

    logits_TE: Tensor
    """Before the softmax, in the dtype of the activations."""
    topk_TK: Tensor
    """Chosen experts, int64, heaviest first."""


class Router(nn.Module):
    """`softmax(x W)` in float32, the k largest, normalised to sum to one."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.top_k = shape.top_k
        self.weight = nn.Parameter(torch.empty(shape.experts, shape.hidden))

    def forward(self, x_TH: Tensor) -> tuple[Tensor, RouterOutput]:
        """→ weights [T, K] in x's dtype, and the router's output."""
        logits_TE = F.linear(x_TH, self.weight)
        weight_TK, topk_TK = top_experts(logits_TE, self.top_k)
        return weight_TK, RouterOutput(logits_TE, topk_TK)


class Experts(nn.Module):
    """All experts of a layer as two stacked parameters: gate and up [E, 2F, H] (gate first), down [E, H, F].

    `dispatcher` says which of them are held here and how tokens reach the others.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(shape.experts, 2 * shape.expert_inner, shape.hidden))
        self.down_proj = nn.Parameter(torch.empty(shape.experts, shape.hidden, shape.expert_inner))
        self.dispatcher: TokenDispatcher = LocalDispatcher(shape.experts)

    def forward(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Tensor:
        gate_up_e2FH, down_eHF = self.dispatcher.held(self.gate_up_proj), self.dispatcher.held(self.down_proj)
        if isinstance(self.dispatcher, LocalDispatcher):
            return expert_layer(x_TH, topk_TK, weight_TK, gate_up_e2FH, down_eHF)
        sent = self.dispatcher.dispatch(x_TH, topk_TK, weight_TK)
        out_RH = expert_products(sent.rows_RH, sent.weight_R, sent.counts_e, gate_up_e2FH, down_eHF)
        return sent.combine(out_RH)


class MoE(nn.Module):
    """Router and experts in the place of an MLP."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate = Router(shape)
        self.experts = Experts(shape)

    def forward(self, x_BSH: Tensor) -> tuple[Tensor, RouterOutput]:
        x_TH = x_BSH.flatten(0, 1)
        weight_TK, router = self.gate(x_TH)
        return self.experts(x_TH, router.topk_TK, weight_TK).view_as(x_BSH), router


class DenseMLP(nn.Module):
    """One SwiGLU for every token, in the layers that `dense_layers` names."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.dense_inner, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.dense_inner, bias=False)
        self.down_proj = nn.Linear(shape.dense_inner, shape.hidden, bias=False)

    def forward(self, x_BSH: Tensor) -> tuple[Tensor, None]:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x_BSH)) * self.up_proj(x_BSH))
        return out, None

"""The experts' layer of Hopper's kernels: `hopper_rows` and `hopper_weights` in the order with the lowest peak of memory.

Shapes: T tokens, H hidden, E experts, K experts a token, F expert inner size, R rows sorted by expert.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expedition.kernels.gather_rows import gather_rows
from expedition.kernels.hopper_rows import Tiles, hidden_and_act, plan_tiles, product
from expedition.kernels.hopper_weights import weight_gradient
from expedition.kernels.once import Once
from expedition.kernels.sum_rows import gather_sum
from expedition.kernels.swiglu import weighted_swiglu_gradient

__all__ = ["HopperLayer", "HopperProducts"]


class HopperLayer(torch.autograd.Function):
    """Tokens to tokens; keeps the tokens and the hidden rows [R, 2F], which its backward pass writes over."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TH: Tensor,
        weight_TK: Tensor,
        order_R: Tensor,
        place_TK: Tensor,
        counts_E: Tensor,
        gate_up_E2FH: Tensor,
        down_EHF: Tensor,
    ) -> Tensor:
        ends_E = counts_E.cumsum(0, dtype=torch.int32)
        tiles = plan_tiles(ends_E, order_R.shape[0])
        weight_R = weight_TK.flatten().index_select(0, order_R)
        top_k = place_TK.shape[1]
        hidden_R2F, act_RF = hidden_and_act(x_TH, order_R, top_k, weight_R, ends_E, tiles, gate_up_E2FH)
        ctx.once = Once()
        ctx.save_for_backward(x_TH, weight_R, order_R, place_TK, ends_E, *tiles, gate_up_E2FH, down_EHF, hidden_R2F)
        return gather_sum(product(act_RF, ends_E, tiles, down_EHF, transposed=True), place_TK)

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor | None, ...]:
        ctx.once.spend()
        x_TH, weight_R, order_R, place_TK, ends_E, *tiled, gate_up_E2FH, down_EHF, hidden_R2F = ctx.saved_tensors
        tiles = Tiles(*tiled)
        grad_RH = gather_rows(grad_TH, order_R, place_TK)
        grad_act_RF = product(grad_RH, ends_E, tiles, down_EHF, transposed=False)
        grad_R2F, act_RF, grad_weight_R = weighted_swiglu_gradient(hidden_R2F, weight_R, grad_act_RF)
        grad_down_EHF = grad_gate_up_E2FH = grad_x_TH = None
        if ctx.needs_input_grad[6]:
            grad_down_EHF = weight_gradient(grad_RH, act_RF, ends_E, tiles.heavy_E)
        del grad_RH, grad_act_RF, act_RF
        if ctx.needs_input_grad[0]:
            grad_x_TH = gather_sum(product(grad_R2F, ends_E, tiles, gate_up_E2FH, transposed=False), place_TK)
        if ctx.needs_input_grad[5]:
            rows_RH = gather_rows(x_TH, order_R, place_TK)
            grad_gate_up_E2FH = weight_gradient(grad_R2F, rows_RH, ends_E, tiles.heavy_E)
        grad_weight_TK = grad_weight_R.index_select(0, place_TK.flatten()).view_as(place_TK).to(weight_R.dtype)
        return grad_x_TH, grad_weight_TK, None, None, None, grad_gate_up_E2FH, grad_down_EHF


class HopperProducts(torch.autograd.Function):
    """Sorted rows to sorted rows, as above."""

    @staticmethod
    def forward(
        ctx: Any, rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
    ) -> Tensor:
        ends_E = counts_E.cumsum(0, dtype=torch.int32)
        tiles = plan_tiles(ends_E, rows_RH.shape[0])
        rows_RH = rows_RH.contiguous()
        hidden_R2F, act_RF = hidden_and_act(rows_RH, None, 1, weight_R, ends_E, tiles, gate_up_E2FH)
        ctx.once = Once()
        ctx.save_for_backward(rows_RH, weight_R, ends_E, *tiles, gate_up_E2FH, down_EHF, hidden_R2F)
        return product(act_RF, ends_E, tiles, down_EHF, transposed=True)

    @staticmethod
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor | None, ...]:
        ctx.once.spend()
        rows_RH, weight_R, ends_E, *tiled, gate_up_E2FH, down_EHF, hidden_R2F = ctx.saved_tensors
        tiles, grad_RH = Tiles(*tiled), grad_RH.contiguous()
        grad_act_RF = product(grad_RH, ends_E, tiles, down_EHF, transposed=False)
        grad_R2F, act_RF, grad_weight_R = weighted_swiglu_gradient(hidden_R2F, weight_R, grad_act_RF)
        grad_down_EHF = grad_gate_up_E2FH = grad_rows_RH = None
        if ctx.needs_input_grad[4]:
            grad_down_EHF = weight_gradient(grad_RH, act_RF, ends_E, tiles.heavy_E)
        del grad_act_RF, act_RF
        if ctx.needs_input_grad[3]:
            grad_gate_up_E2FH = weight_gradient(grad_R2F, rows_RH, ends_E, tiles.heavy_E)
        if ctx.needs_input_grad[0]:
            grad_rows_RH = product(grad_R2F, ends_E, tiles, gate_up_E2FH, transposed=False)
        return grad_rows_RH, grad_weight_R.to(weight_R.dtype), None, grad_gate_up_E2FH, grad_down_EHF

"""Experts: the products of each expert's rows, and the whole layer from tokens to tokens; deterministic.

Shapes: T tokens, H hidden, E experts, K experts a token, F expert inner size, R = T·K routed rows sorted by expert.
Where rows are sent to other ranks between sorting and products, E and R are those of the rank that multiplies.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels.gather_rows import gather_rows
from expedition.kernels.hopper_check import fits
from expedition.kernels.hopper_layer import HopperLayer, HopperProducts
from expedition.kernels.host import is_readable
from expedition.kernels.once import Once
from expedition.kernels.routing import Routing, route
from expedition.kernels.sorted_rows import expert_rows, expert_weights, sum_rows
from expedition.kernels.sum_rows import gather_sum
from expedition.kernels.swiglu import weighted_swiglu, weighted_swiglu_gradient

__all__ = ["Recomputed", "expert_layer", "expert_products", "grouped_experts_reference"]

Recomputed = Literal["both", "rows", "act", "none"]
"""What the layer's backward pass makes again instead of keeping: gathered rows [R, H], weighted SwiGLU [R, F]."""


def grouped_experts_reference(
    x_TH: Tensor, ids_TK: Tensor, weight_TK: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
) -> Tensor:
    """The definition: `y_t = Σ_k weight_tk · down_e(silu(gate_e(x_t)) · up_e(x_t))` with e = ids_tk."""
    y_TH = torch.zeros_like(x_TH)
    for expert in range(gate_up_E2FH.shape[0]):
        token, slot = torch.where(ids_TK == expert)
        gate, up = F.linear(x_TH[token], gate_up_E2FH[expert]).chunk(2, dim=-1)
        out = F.linear(F.silu(gate) * up, down_EHF[expert]) * weight_TK[token, slot, None]
        y_TH = y_TH.index_add(0, token, out.to(y_TH.dtype))
    return y_TH


def expert_layer(
    x_TH: Tensor,
    ids_TK: Tensor,
    weight_TK: Tensor,
    gate_up_E2FH: Tensor,
    down_EHF: Tensor,
    recompute: Recomputed = "both",
) -> Tensor:
    """`grouped_experts_reference` for experts that are all here: sort, gather, products, weighted SwiGLU, gather and sum.

    CUDA bf16, fake and meta tensors: one function of grouped products, no host synchronisation, no atomics. It keeps
    `x_TH` and the hidden rows [R, 2F], plus what `recompute` leaves; its backward pass runs once. Everything else: a
    product an expert, counts read on the host.
    """
    routing = route(ids_TK, gate_up_E2FH.shape[0])
    if _grouped_product_fits(x_TH):
        if fits(x_TH, gate_up_E2FH, down_EHF):
            y_TH: Tensor = HopperLayer.apply(x_TH, weight_TK, *routing, gate_up_E2FH, down_EHF)  # type: ignore[no-untyped-call]
            return y_TH
        return _layer(x_TH, weight_TK, routing, gate_up_E2FH, down_EHF, recompute)
    rows_RH, weight_R = expert_rows(x_TH, routing), expert_weights(weight_TK, routing)
    return sum_rows(expert_products(rows_RH, weight_R, routing.counts_E, gate_up_E2FH, down_EHF), routing)


def expert_products(
    rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
) -> Tensor:
    """`down_e(weight_r · silu(gate_e(x_r)) · up_e(x_r))` for rows sorted by expert → [R, H].

    `weight_R` in the rows' dtype. CUDA bf16, fake and meta tensors: grouped products, group ends stay on the device (no
    host synchronisation), and the backward pass runs once. Everything else: a product an expert, counts read on the host.
    """
    if _grouped_product_fits(rows_RH):
        if fits(rows_RH, gate_up_E2FH, down_EHF):
            y_RH: Tensor = HopperProducts.apply(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)  # type: ignore[no-untyped-call]
            return y_RH
        return _grouped(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)
    out_RH: Tensor = _ExpertLoop.apply(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)  # type: ignore[no-untyped-call]
    return out_RH


def _grouped_product_fits(rows_RH: Tensor) -> bool:
    """Where counts cannot or should not be read on the host."""
    if rows_RH.is_cuda and (rows_RH.dtype != torch.bfloat16 or not rows_RH.shape[0]):
        return False  # no rows at all: nothing to multiply, whatever a kernel makes of empty groups
    return not is_readable(rows_RH)


def _layer(
    x_TH: Tensor, weight_TK: Tensor, routing: Routing, gate_up_E2FH: Tensor, down_EHF: Tensor, recompute: Recomputed
) -> Tensor:
    y_TH: Tensor = _ExpertLayer.apply(x_TH, weight_TK, *routing, gate_up_E2FH, down_EHF, recompute)  # type: ignore[no-untyped-call]
    return y_TH


def _grouped(rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor) -> Tensor:
    out_RH: Tensor = _GroupedProducts.apply(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)  # type: ignore[no-untyped-call]
    return out_RH


def _ends(counts_E: Tensor) -> Tensor:
    return counts_E.cumsum(0).to(torch.int32)


class _ExpertLayer(torch.autograd.Function):
    """From tokens to tokens; the order of the backward pass is the one with the lowest peak of memory."""

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
        recompute: Recomputed,
    ) -> Tensor:
        ends_E = _ends(counts_E)
        weight_R = weight_TK.flatten().index_select(0, order_R)
        rows_RH = gather_rows(x_TH, order_R, place_TK)
        hidden_R2F = F.grouped_mm(rows_RH, gate_up_E2FH.transpose(-1, -2), offs=ends_E)
        kept_RH = rows_RH if recompute in ("act", "none") else None
        del rows_RH
        act_RF = weighted_swiglu(hidden_R2F, weight_R)
        out_RH = F.grouped_mm(act_RF, down_EHF.transpose(-1, -2), offs=ends_E)
        kept_RF = act_RF if recompute in ("rows", "none") else None
        ctx.once = Once()
        ctx.save_for_backward(
            x_TH, weight_R, order_R, place_TK, ends_E, gate_up_E2FH, down_EHF, hidden_R2F, kept_RH, kept_RF
        )
        return gather_sum(out_RH, place_TK)

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor | None, ...]:
        ctx.once.spend()
        x_TH, weight_R, order_R, place_TK, ends_E, gate_up_E2FH, down_EHF, hidden_R2F, rows_RH, kept_RF = (
            ctx.saved_tensors
        )
        grad_RH = gather_rows(grad_TH, order_R, place_TK)
        grad_RF = F.grouped_mm(grad_RH, down_EHF, offs=ends_E)
        grad_R2F, act_RF, grad_weight_R = weighted_swiglu_gradient(hidden_R2F, weight_R, grad_RF, act=kept_RF is None)
        act_RF = act_RF if kept_RF is None else kept_RF
        grad_down_EHF = F.grouped_mm(grad_RH.t(), act_RF, offs=ends_E) if ctx.needs_input_grad[6] else None
        del grad_RH, grad_RF, act_RF, kept_RF, hidden_R2F
        grad_gate_up_E2FH = None
        if ctx.needs_input_grad[5]:
            rows_RH = gather_rows(x_TH, order_R, place_TK) if rows_RH is None else rows_RH
            grad_gate_up_E2FH = F.grouped_mm(grad_R2F.t(), rows_RH, offs=ends_E)
        del rows_RH
        grad_x_TH = None
        if ctx.needs_input_grad[0]:
            grad_x_TH = gather_sum(F.grouped_mm(grad_R2F, gate_up_E2FH, offs=ends_E), place_TK)
        grad_weight_TK = grad_weight_R.index_select(0, place_TK.flatten()).view_as(place_TK).to(weight_R.dtype)
        return grad_x_TH, grad_weight_TK, None, None, None, grad_gate_up_E2FH, grad_down_EHF, None


class _GroupedProducts(torch.autograd.Function):
    """Sorted rows to sorted rows; the weighted SwiGLU is made again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
    ) -> Tensor:
        ends_E = _ends(counts_E)
        hidden_R2F = F.grouped_mm(rows_RH, gate_up_E2FH.transpose(-1, -2), offs=ends_E)
        ctx.once = Once()
        ctx.save_for_backward(rows_RH, weight_R, ends_E, gate_up_E2FH, down_EHF, hidden_R2F)
        return F.grouped_mm(weighted_swiglu(hidden_R2F, weight_R), down_EHF.transpose(-1, -2), offs=ends_E)

    @staticmethod
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor | None, ...]:
        ctx.once.spend()
        rows_RH, weight_R, ends_E, gate_up_E2FH, down_EHF, hidden_R2F = ctx.saved_tensors
        grad_RH = grad_RH.contiguous()
        grad_RF = F.grouped_mm(grad_RH, down_EHF, offs=ends_E)
        grad_R2F, act_RF, grad_weight_R = weighted_swiglu_gradient(hidden_R2F, weight_R, grad_RF)
        grad_down_EHF = F.grouped_mm(grad_RH.t(), act_RF, offs=ends_E) if ctx.needs_input_grad[4] else None
        del grad_RF, act_RF, hidden_R2F
        grad_gate_up_E2FH = F.grouped_mm(grad_R2F.t(), rows_RH, offs=ends_E) if ctx.needs_input_grad[3] else None
        grad_rows_RH = F.grouped_mm(grad_R2F, gate_up_E2FH, offs=ends_E) if ctx.needs_input_grad[0] else None
        return grad_rows_RH, grad_weight_R.to(weight_R.dtype), None, grad_gate_up_E2FH, grad_down_EHF


class _ExpertLoop(torch.autograd.Function):
    """A product an expert, written into whole buffers in both directions: no gradient of the full stack per expert."""

    @staticmethod
    def forward(
        ctx: Any, rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
    ) -> Tensor:
        parts = _parts(counts_E.tolist())
        weight_R1 = weight_R.unsqueeze(-1)
        hidden_R2F = rows_RH.new_empty(rows_RH.shape[0], gate_up_E2FH.shape[1])
        for expert, part in parts:
            torch.mm(rows_RH[part], gate_up_E2FH[expert].t(), out=hidden_R2F[part])
        gate, up = hidden_R2F.chunk(2, dim=-1)
        act_RF = F.silu(gate).mul_(up)
        weighted_RF = act_RF * weight_R1
        out_RH = torch.empty_like(rows_RH)
        for expert, part in parts:
            torch.mm(weighted_RF[part], down_EHF[expert].t(), out=out_RH[part])
        ctx.parts = parts
        ctx.save_for_backward(rows_RH, weight_R1, gate_up_E2FH, down_EHF, hidden_R2F, act_RF)
        return out_RH

    @staticmethod
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor]:
        rows_RH, weight_R1, gate_up_E2FH, down_EHF, hidden_R2F, act_RF = ctx.saved_tensors
        weighted_RF = act_RF * weight_R1
        grad_act_RF = torch.empty_like(act_RF)
        grad_down_EHF = torch.zeros_like(down_EHF)
        for expert, part in ctx.parts:
            torch.mm(grad_RH[part], down_EHF[expert], out=grad_act_RF[part])
            torch.mm(grad_RH[part].t(), weighted_RF[part], out=grad_down_EHF[expert])
        grad_weight_R = (grad_act_RF * act_RF).sum(-1)
        gate, up = hidden_R2F.chunk(2, dim=-1)
        sigmoid_RF = torch.sigmoid(gate)
        silu_RF = gate * sigmoid_RF
        grad_act_RF.mul_(weight_R1)
        slope_RF = torch.addcmul(sigmoid_RF, silu_RF, 1 - sigmoid_RF)
        grad_hidden_R2F = torch.cat((slope_RF.mul_(up).mul_(grad_act_RF), silu_RF.mul_(grad_act_RF)), dim=-1)
        grad_rows_RH = torch.empty_like(rows_RH)
        grad_gate_up_E2FH = torch.zeros_like(gate_up_E2FH)
        for expert, part in ctx.parts:
            torch.mm(grad_hidden_R2F[part], gate_up_E2FH[expert], out=grad_rows_RH[part])
            torch.mm(grad_hidden_R2F[part].t(), rows_RH[part], out=grad_gate_up_E2FH[expert])
        return grad_rows_RH, grad_weight_R, None, grad_gate_up_E2FH, grad_down_EHF


def _parts(counts: list[int]) -> list[tuple[int, slice]]:
    """Expert and its rows, for each expert that has any."""
    parts, start = [], 0
    for expert, count in enumerate(counts):
        if count:
            parts.append((expert, slice(start, start + count)))
        start += count
    return parts

"""Experts: tokens sorted by expert, the products of each expert's rows, and rows back to tokens; deterministic.

Shapes: T tokens, H hidden, E experts, K experts a token, F expert inner size, R = T·K routed rows sorted by expert.
Where rows are sent to other ranks between sorting and products, E and R are those of the rank that multiplies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels.host import is_readable

__all__ = [
    "Routing",
    "expert_products",
    "expert_rows",
    "expert_weights",
    "grouped_experts_reference",
    "permute",
    "route",
    "sum_rows",
]


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


class Routing(NamedTuple):
    """Where rows come from and go to."""

    order_R: Tensor
    """Which of the T·K choices each row is."""
    place_TK: Tensor
    """Row of each choice: the inverse of `order_R`. A choice without a row (fewer rows than T·K) has place R."""
    counts_E: Tensor
    """Rows of each expert, int64."""


def route(ids_TK: Tensor, experts: int) -> Routing:
    """Sort choices of experts (int64 in 0..E-1) by expert, tokens in order within one: no atomics, no values read."""
    flat_R = ids_TK.flatten()
    order_R = torch.argsort(flat_R, stable=True)
    place_R = torch.empty_like(order_R)
    place_R[order_R] = torch.arange(order_R.numel(), device=order_R.device)
    # Not bincount: its result has no shape before it runs, and it is not deterministic on CUDA.
    counts_E = (flat_R[:, None] == torch.arange(experts, device=flat_R.device)).sum(0)
    return Routing(order_R, place_R.view_as(ids_TK), counts_E)


def expert_rows(x_TH: Tensor, routing: Routing) -> Tensor:
    """Tokens as rows in expert order [R, H]; the gradient gathers each token's K rows and sums them."""
    rows_RH: Tensor = _Rows.apply(x_TH, routing.order_R, routing.place_TK)  # type: ignore[no-untyped-call]
    return rows_RH


def expert_weights(weight_TK: Tensor, routing: Routing) -> Tensor:
    """Weights in expert order [R]."""
    return permute(weight_TK.flatten(), routing.order_R, routing.place_TK.flatten())


def sum_rows(out_RH: Tensor, routing: Routing) -> Tensor:
    """Each token's K rows summed, in the order of its choices [T, H]; the gradient is rows in expert order."""
    y_TH: Tensor = _Sum.apply(out_RH, routing.order_R, routing.place_TK)  # type: ignore[no-untyped-call]
    return y_TH


def permute(rows: Tensor, order_R: Tensor, place_R: Tensor) -> Tensor:
    """`rows[order_R]` of an order and its inverse (place R: in no row); the gradient is a gather too."""
    permuted: Tensor = _Permute.apply(rows, order_R, place_R)  # type: ignore[no-untyped-call]
    return permuted


def expert_products(
    rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor
) -> Tensor:
    """`down_e(weight_r · silu(gate_e(x_r)) · up_e(x_r))` for rows sorted by expert → [R, H].

    `weight_R` in the rows' dtype. CUDA bf16, fake and meta tensors: one grouped product, group ends stay on the device
    (no host synchronisation). Everything else: a product an expert, counts read on the host.
    """
    if _grouped_product_fits(rows_RH):
        return _grouped(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)
    out_RH: Tensor = _ExpertLoop.apply(rows_RH, weight_R, counts_E, gate_up_E2FH, down_EHF)  # type: ignore[no-untyped-call]
    return out_RH


def _grouped_product_fits(rows_RH: Tensor) -> bool:
    """Where counts cannot or should not be read on the host."""
    if rows_RH.is_cuda and (rows_RH.dtype != torch.bfloat16 or not rows_RH.shape[0]):
        return False  # no rows at all: nothing to multiply, whatever a kernel makes of empty groups
    return not is_readable(rows_RH)


def _grouped(rows_RH: Tensor, weight_R: Tensor, counts_E: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor) -> Tensor:
    ends_E = counts_E.cumsum(0).to(torch.int32)
    gate, up = F.grouped_mm(rows_RH, gate_up_E2FH.transpose(-1, -2), offs=ends_E).chunk(2, dim=-1)
    act_RF = F.silu(gate) * up * weight_R.unsqueeze(-1)
    return F.grouped_mm(act_RF, down_EHF.transpose(-1, -2), offs=ends_E)


class _Rows(torch.autograd.Function):
    """Rows in expert order; the gradient gathers each token's K rows and sums them."""

    @staticmethod
    def forward(ctx: Any, x_TH: Tensor, order_R: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(place_TK)
        return x_TH.index_select(0, order_R // place_TK.shape[1])

    @staticmethod
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor, None, None]:
        (place_TK,) = ctx.saved_tensors
        return _gather_sum(grad_RH, place_TK), None, None


class _Sum(torch.autograd.Function):
    """Each token's K rows gathered and summed; the gradient is rows in expert order."""

    @staticmethod
    def forward(ctx: Any, out_RH: Tensor, order_R: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(order_R)
        ctx.top_k = place_TK.shape[1]
        return _gather_sum(out_RH, place_TK)

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor, None, None]:
        (order_R,) = ctx.saved_tensors
        return grad_TH.index_select(0, order_R // ctx.top_k), None, None


def _with_nothing(rows: Tensor, place: Tensor) -> Tensor:
    """A row of zeros after the last where some choices have no row."""
    return rows if place.numel() == rows.shape[0] else torch.cat((rows, rows.new_zeros(1, *rows.shape[1:])))


def _gather_sum(rows_RH: Tensor, place_TK: Tensor) -> Tensor:
    rows_RH = _with_nothing(rows_RH, place_TK)
    total_TH = rows_RH.index_select(0, place_TK[:, 0])
    for slot in range(1, place_TK.shape[1]):
        total_TH = total_TH + rows_RH.index_select(0, place_TK[:, slot])
    return total_TH


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order_R: Tensor, place_R: Tensor) -> Tensor:
        ctx.save_for_backward(place_R)
        return rows.index_select(0, order_R)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (place_R,) = ctx.saved_tensors
        return _with_nothing(grad, place_R).index_select(0, place_R), None, None


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

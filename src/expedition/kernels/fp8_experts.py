"""Experts in FP8: rows rounded where they are made (gather, SwiGLU and its gradient), products by group.

Weight gradients in FP8 need both factors of a row under one scale for each expert. With scales of rows that
is moved from one factor to the other: Σ_r (s_r a_r)(t_r b_r) = S Σ_r a_r (b_r s_r t_r / S), S the largest s_r t_r of the
expert's rows; with powers of two nothing is rounded again but what becomes too small to count in the sum.

Shapes: T tokens (or rows that arrived sorted: then K is 1), H hidden, K experts a token, E experts, F expert inner size,
R = T·K choices, P padded rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels import fp8_experts_triton as fast
from expedition.kernels import quantize_triton
from expedition.kernels.fp8_swiglu import (
    Padded,
    RowRecipe,
    SwigluGradients,
    fits_kernels,
    outer_factors,
    swiglu_backward,
    swiglu_rows,
)
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.host import is_readable
from expedition.kernels.quantize import BLOCK, Columns, Quantized, quantize_rows, transposed
from expedition.kernels.routing import Routing, route
from expedition.kernels.scaled_products import grouped_outer, grouped_product
from expedition.kernels.sum_rows import gather_sum

__all__ = ["ExpertCopies", "RowRecipe", "expert_layer_fp8", "expert_products_fp8"]


Watch = Callable[[str, Quantized], None]
"""Told of each rounded tensor by name."""


class ExpertCopies(NamedTuple):
    """FP8 copies of the two stacked weights."""

    gate_up: WeightCopies
    down: WeightCopies


def expert_layer_fp8(
    x_TH: Tensor,
    ids_TK: Tensor,
    weight_TK: Tensor,
    gate_up_E2FH: Tensor,
    down_EHF: Tensor,
    copies: ExpertCopies,
    recipe: RowRecipe,
    watch: Watch | None = None,
) -> Tensor:
    """`grouped_experts.expert_layer` with products of FP8 factors: experts that are all here, tokens to tokens."""
    padded = _pad(route(ids_TK, gate_up_E2FH.shape[0]))
    return _apply(x_TH, weight_TK, gate_up_E2FH, down_EHF, _How(padded, copies, recipe, watch))


def expert_products_fp8(
    rows_RH: Tensor,
    weight_R: Tensor,
    counts_E: Tensor,
    gate_up_E2FH: Tensor,
    down_EHF: Tensor,
    copies: ExpertCopies,
    recipe: RowRecipe,
    watch: Watch | None = None,
) -> Tensor:
    """`grouped_experts.expert_products` with products of FP8 factors: rows that are sorted by expert → [R, H]."""
    padded = _pad(_arrived(rows_RH.shape[0], counts_E))
    return _apply(rows_RH, weight_R.unsqueeze(1), gate_up_E2FH, down_EHF, _How(padded, copies, recipe, watch))


class _How(NamedTuple):
    padded: Padded
    copies: ExpertCopies
    recipe: RowRecipe
    watch: Watch | None

    def saw(self, name: str, rounded: Quantized) -> None:
        if self.watch is not None:
            self.watch(name, rounded)


def _apply(x_TH: Tensor, weight_TK: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor, how: _How) -> Tensor:
    y_TH: Tensor = _Experts.apply(x_TH, weight_TK, gate_up_E2FH, down_EHF, how)  # type: ignore[no-untyped-call]
    return y_TH


def _pad(routing: Routing) -> Padded:
    counts_E, int32 = routing.counts_E, torch.int32
    return Padded(routing.order_R.to(int32), routing.place_TK.to(int32), counts_E.cumsum(0, dtype=int32))


def _arrived(rows: int, counts_E: Tensor) -> Routing:
    """Of rows that are sorted already: one choice each."""
    order_R = torch.arange(rows, dtype=torch.int32, device=counts_E.device)
    return Routing(order_R, order_R.unsqueeze(1), counts_E)


def _rows_product(
    x_TH: Tensor, format_name: str, weight: Quantized, padded: Padded, recipe: RowRecipe
) -> tuple[Quantized, Tensor]:
    """Tokens rounded once, and their rows times each expert's matrix [P, N]: gathered by the product's own loads."""
    rounded = quantize_rows(x_TH, format_name, recipe.power_of_two)
    choice = padded.choice_P, padded.top_k
    ends_E, emulated = padded.ends_E, recipe.emulated
    return rounded, grouped_product(rounded, weight, ends_E, x_TH.dtype, choice=choice, emulated=emulated)


def _aligned(padded: Padded) -> tuple[Columns, Tensor]:
    """Columns of turned rows, each expert's from a multiple of 128 on, and their ends: a product that sums over them takes
    whole blocks then."""
    ends_E, rows, experts = padded.ends_E, padded.choice_P.shape[0], padded.ends_E.shape[0]
    places = -(-rows // BLOCK) * BLOCK + experts * BLOCK
    if fits_kernels(ends_E):
        row_Q, aligned_E = quantize_triton.aligned(ends_E, places, BLOCK)
        return Columns(row_Q, padded.choice_P, padded.top_k), aligned_E
    start_E = F.pad(ends_E, (1, 0))[:-1]
    count_E = ends_E - start_E
    length_E = (count_E + BLOCK - 1).div(BLOCK, rounding_mode="floor") * BLOCK
    aligned_E = length_E.cumsum(0, dtype=torch.int32)
    place_Q = torch.arange(places, dtype=torch.int32, device=ends_E.device)
    expert_Q = torch.searchsorted(aligned_E, place_Q, right=True).clamp(max=experts - 1)
    offset_Q = place_Q - (aligned_E - length_E)[expert_Q]
    real_Q = (offset_Q >= 0) & (offset_Q < count_E[expert_Q])
    row_Q = torch.where(real_Q, start_E[expert_Q] + offset_Q, -1).to(torch.int32)
    return Columns(row_Q, padded.choice_P, padded.top_k), aligned_E


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TH: Tensor, weight_TK: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor, how: _How) -> Tensor:
        ctx.how, ctx.empty = how, not x_TH.shape[0]
        if ctx.empty:
            ctx.save_for_backward(weight_TK, gate_up_E2FH, down_EHF)
            return torch.zeros_like(x_TH)
        padded, recipe, dtype = how.padded, how.recipe, x_TH.dtype
        gate_up = how.copies.gate_up.forward(gate_up_E2FH)
        kept, gate_up_P2F = _rows_product(x_TH, recipe.forward, gate_up, padded, recipe)
        hidden, down = swiglu_rows(gate_up_P2F, weight_TK, padded, recipe), how.copies.down.forward(down_EHF)
        out_PH = grouped_product(hidden, down, padded.ends_E, dtype, emulated=recipe.emulated)
        for name, rounded in (("input", kept), ("hidden", hidden), ("gate_up", gate_up), ("down", down)):
            how.saw(name, rounded)
        ctx.save_for_backward(
            kept.values if recipe.weight_gradient else x_TH, kept.inverse, weight_TK, gate_up_E2FH, down_EHF,
            gate_up_P2F, hidden.inverse,
        )  # fmt: skip
        return gather_sum(out_PH, padded.place_TK)

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.empty:
            return torch.zeros_like(grad_TH), *(torch.zeros_like(t) for t in ctx.saved_tensors), None
        x_TH, x_inverse_T, weight_TK, gate_up_E2FH, down_EHF, gate_up_P2F, hidden_inverse_P = ctx.saved_tensors
        padded, copies, recipe, _ = how = ctx.how
        dtype, emulated = grad_TH.dtype, recipe.emulated
        kept, grad_hidden_PF = _rows_product(grad_TH, recipe.gradient, copies.down.backward(down_EHF), padded, recipe)
        how.saw("gradient", kept)
        factor_P = scale_E = grad_gate_up = grad_down = None
        if recipe.weight_gradient:
            factor_P, scale_E = outer_factors(hidden_inverse_P, kept.inverse, padded, both=False)
        found = swiglu_backward(gate_up_P2F, weight_TK, padded, grad_hidden_PF, factor_P, recipe)
        how.saw("gate_up_gradient", found.gate_up)
        del grad_hidden_PF, factor_P
        if scale_E is not None and (ctx.needs_input_grad[2] or ctx.needs_input_grad[3]):
            x = Quantized(x_TH, None, x_inverse_T)
            grad_gate_up, grad_down = _low_gradients(x, kept, found, scale_E, how, dtype)
        elif scale_E is None:
            assert found.plain_P2F is not None
            if ctx.needs_input_grad[3]:
                grad_down = _plain_outer(_gather(grad_TH, padded), found.hidden_PF, padded.ends_E)
            if ctx.needs_input_grad[2]:
                grad_gate_up = _plain_outer(found.plain_P2F, _gather(x_TH, padded), padded.ends_E)
        grad_x_TH = None
        if ctx.needs_input_grad[0]:
            weight = copies.gate_up.backward(gate_up_E2FH)
            grad_rows_PH = grouped_product(found.gate_up, weight, padded.ends_E, dtype, emulated=emulated)
            grad_x_TH = gather_sum(grad_rows_PH, padded.place_TK)
        grad_weight_TK = found.weight_P[padded.place_TK.long()].to(weight_TK.dtype)
        return grad_x_TH, grad_weight_TK, grad_gate_up, grad_down, None


def _low_gradients(
    x: Quantized, gradient: Quantized, found: SwigluGradients, scale_E: Tensor, how: _How, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up, and of down, from FP8 factors; `x` and the output's gradient by token."""
    padded, emulated = how.padded, how.recipe.emulated
    columns, ends_E = _aligned(padded)
    turned = transposed(gradient.values, columns, by_token=True), transposed(found.hidden_PF, columns)
    grad_down = grouped_outer(*turned, scale_E, ends_E, dtype, emulated=emulated)
    shift_P, scale_E = outer_factors(found.gate_up.inverse, x.inverse, padded, both=True)
    turned = transposed(found.gate_up.values, columns), transposed(x.values, columns, shift_P, by_token=True)
    return grouped_outer(*turned, scale_E, ends_E, dtype, emulated=emulated), grad_down


def _gather(x_TH: Tensor, padded: Padded) -> Tensor:
    """Padded rows in the type of `x_TH`, zeros in padding."""
    if fits_kernels(x_TH):
        return fast.gather_padded(x_TH, padded.choice_P, padded.top_k)
    picked = x_TH.index_select(0, padded.source_P.clamp(min=0).long())
    return torch.where((padded.choice_P >= 0).unsqueeze(1), picked, 0.0)


def _plain_outer(a_PC: Tensor, b_PK: Tensor, ends_E: Tensor) -> Tensor:
    """`a[rows of e].T @ b[rows of e]` → [E, C, K], in the type of the factors."""
    if not is_readable(a_PC):
        return torch.nn.functional.grouped_mm(a_PC.t(), b_PK, offs=ends_E)
    out = a_PC.new_zeros(ends_E.shape[0], a_PC.shape[1], b_PK.shape[1])
    start = 0
    for expert, end in enumerate(ends_E.tolist()):
        torch.mm(a_PC[start:end].t(), b_PK[start:end], out=out[expert])
        start = end
    return out

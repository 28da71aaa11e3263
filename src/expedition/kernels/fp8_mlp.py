"""A dense SwiGLU in FP8 with scales of rows: gate and up as one product, the hidden rows rounded where they are made.

Beside three linear layers in FP8 it rounds nothing twice and keeps the input and gate and up alone for its backward pass.

Shapes: T positions, H hidden, F inner size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expedition.kernels.fp8_swiglu import Padded, RowRecipe, outer_factors, swiglu_backward, swiglu_rows
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.quantize import Quantized, quantize_rows, transposed
from expedition.kernels.scaled_products import ALIGNMENT, scaled_product

__all__ = ["mlp_fp8"]

Watch = Callable[[str, Quantized], None]


class _How(NamedTuple):
    gate_up: WeightCopies
    """Of gate over up [2F, H]."""
    down: WeightCopies
    recipe: RowRecipe
    watch: Watch | None

    def saw(self, name: str, rounded: Quantized) -> None:
        if self.watch is not None:
            self.watch(name, rounded)


def mlp_fp8(
    x: Tensor,
    gate_FH: Tensor,
    up_FH: Tensor,
    down_HF: Tensor,
    copies: tuple[WeightCopies, WeightCopies],
    recipe: RowRecipe,
    watch: Watch | None = None,
) -> Tensor:
    """`down(silu(gate(x)) · up(x))`, [.., H] → [.., H]; `copies` of gate over up, and of down, with scales of rows.

    Weight gradients are plain where the positions are no multiple of 16.
    """
    y: Tensor = _Mlp.apply(x, gate_FH, up_FH, down_HF, _How(*copies, recipe, watch))  # type: ignore[no-untyped-call]
    return y


def _all_rows(rows: int, device: torch.device) -> tuple[Padded, Tensor]:
    """Every row its own choice with weight one, all of one expert."""
    row_T = torch.arange(rows, dtype=torch.int32, device=device)
    end = torch.full((1,), rows, dtype=torch.int32, device=device)
    return Padded(row_T, row_T.unsqueeze(1), end), torch.ones(rows, 1, dtype=torch.bfloat16, device=device)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_FH: Tensor, up_FH: Tensor, down_HF: Tensor, how: _How) -> Tensor:
        recipe = how.recipe
        low = recipe.weight_gradient and x[..., 0].numel() % ALIGNMENT == 0
        ctx.how, ctx.recipe = how, recipe._replace(weight_gradient=low)
        x_TH = x.flatten(0, -2)
        every, one_T1 = _all_rows(x_TH.shape[0], x.device)
        rounded = quantize_rows(x_TH, recipe.forward, recipe.power_of_two)
        gate_up, down = how.gate_up.forward(gate_FH, up_FH), how.down.forward(down_HF)
        gate_up_T2F = scaled_product(rounded, gate_up, x.dtype, emulated=recipe.emulated)
        hidden = swiglu_rows(gate_up_T2F, one_T1, every, recipe)
        out_TH = scaled_product(hidden, down, x.dtype, emulated=recipe.emulated)
        for name, seen in (("input", rounded), ("hidden", hidden), ("gate_up", gate_up), ("down", down)):
            how.saw(name, seen)
        kept = rounded.values if low else x_TH
        ctx.save_for_backward(kept, rounded.inverse, gate_FH, up_FH, down_HF, gate_up_T2F, hidden.inverse)
        return out_TH.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept_TH, x_inverse_T, gate_FH, up_FH, down_HF, gate_up_T2F, hidden_inverse_T = ctx.saved_tensors
        how: _How = ctx.how
        recipe: RowRecipe = ctx.recipe
        dtype, emulated = grad.dtype, recipe.emulated
        grad_TH = grad.flatten(0, -2).contiguous()
        every, one_T1 = _all_rows(grad_TH.shape[0], grad.device)
        rounded = quantize_rows(grad_TH, recipe.gradient, recipe.power_of_two)
        how.saw("gradient", rounded)
        grad_hidden_TF = scaled_product(rounded, how.down.backward(down_HF), dtype, emulated=emulated)
        factor_T = down_scale = None
        if recipe.weight_gradient:
            factor_T, down_scale = outer_factors(hidden_inverse_T, rounded.inverse, every, both=False)
        found = swiglu_backward(gate_up_T2F, one_T1, every, grad_hidden_TF, factor_T, recipe)
        how.saw("gate_up_gradient", found.gate_up)
        del grad_hidden_TF
        if down_scale is not None:
            down_turned = transposed(rounded.values)
            grad_down = _outer(down_turned, transposed(found.hidden_PF), down_scale, dtype, emulated)
            shift_T, scale = outer_factors(found.gate_up.inverse, x_inverse_T, every, both=True)
            x_turned = transposed(kept_TH, factor_P=shift_T)
            grad_gate_up = _outer(transposed(found.gate_up.values), x_turned, scale, dtype, emulated)
        else:
            assert found.plain_P2F is not None
            grad_down = grad_TH.t() @ found.hidden_PF
            grad_gate_up = found.plain_P2F.t() @ kept_TH
        weight = how.gate_up.backward(gate_FH, up_FH)
        grad_x = scaled_product(found.gate_up, weight, dtype, emulated=emulated).view_as(grad)
        grad_gate, grad_up = grad_gate_up.chunk(2)
        return grad_x, grad_gate, grad_up, grad_down, None


def _outer(a_CT: Tensor, b_KT: Tensor, scale: Tensor, dtype: torch.dtype, emulated: bool) -> Tensor:
    """scale · Σ_t a_t b_t → [C, K]."""
    one = torch.ones((), dtype=torch.float32, device=scale.device)
    return scaled_product(Quantized(a_CT, None, one), Quantized(b_KT, None, scale.view(())), dtype, emulated=emulated)

"""SwiGLU between FP8 products: its result rounded where it is made, and its gradient.

Shapes: P rows, F inner size, E experts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels import fp8_experts_triton as fast
from expedition.kernels.quantize import FORMATS, Quantized, quantize_rows
from expedition.kernels.triton_jit import launches

__all__ = ["Padded", "RowRecipe", "SwigluGradients", "fits_kernels", "outer_factors", "swiglu_backward", "swiglu_rows"]


class RowRecipe(NamedTuple):
    """How the products around a SwiGLU are rounded; scales are of rows."""

    forward: str = "e4m3"
    gradient: str = "e4m3"
    weight_gradient: bool = True
    """Weight gradients from FP8 factors; else from the plain ones."""
    power_of_two: bool = True
    emulated: bool = False


class Padded(NamedTuple):
    """Rows in expert order."""

    choice_P: Tensor
    """int32: choice of each row (token · K + slot); -1: none, a row of zeros."""
    place_TK: Tensor
    """int32: row of each choice."""
    ends_E: Tensor
    """int32: end of each expert's rows."""

    @property
    def top_k(self) -> int:
        return self.place_TK.shape[1]

    @property
    def source_P(self) -> Tensor:
        """Token of each row, -1 of padding."""
        return torch.where(self.choice_P < 0, -1, self.choice_P // self.top_k)


def swiglu_rows(gate_up_P2F: Tensor, weight_TK: Tensor, padded: Padded, recipe: RowRecipe) -> Quantized:
    """`weight · silu(gate) · up` of each row's choice [P, F]; zeros in padding."""
    if fits_kernels(gate_up_P2F):
        values, inverse = fast.swiglu_rows(
            gate_up_P2F, weight_TK, padded.choice_P, FORMATS[recipe.forward], recipe.power_of_two
        )
        return Quantized(values, None, inverse)
    act_PF, share_P = _act(gate_up_P2F, weight_TK, padded)
    return quantize_rows(act_PF * share_P.unsqueeze(1), recipe.forward, recipe.power_of_two)


def _act(gate_up_P2F: Tensor, weight_TK: Tensor, padded: Padded) -> tuple[Tensor, Tensor]:
    """silu(gate) · up in float32 and the router's weight, zeros in padding."""
    real_P = padded.choice_P >= 0
    gate, up = torch.where(real_P.unsqueeze(1), gate_up_P2F.float(), 0.0).chunk(2, dim=-1)
    return gate * torch.sigmoid(gate) * up, _by_choice(weight_TK, padded)


def _by_choice(weight_TK: Tensor, padded: Padded) -> Tensor:
    weight_P = weight_TK.flatten().float()[padded.choice_P.clamp(min=0).long()]
    return torch.where(padded.choice_P >= 0, weight_P, 0.0)


class SwigluGradients(NamedTuple):
    """What the backward pass of SwiGLU gives."""

    gate_up: Quantized
    """Gradient of gate and up [P, 2F]."""
    weight_P: Tensor
    hidden_PF: Tensor
    """The hidden rows again: times the factor, FP8; plain without one."""
    plain_P2F: Tensor | None
    """The gradient as it is, without a factor: for weight gradients of plain factors."""


def swiglu_backward(
    gate_up_P2F: Tensor,
    weight_TK: Tensor,
    padded: Padded,
    grad_hidden_PF: Tensor,
    factor_P: Tensor | None,
    recipe: RowRecipe,
) -> SwigluGradients:
    """Gradients of gate and up and of the router's weight, and the hidden rows again: times `factor_P` in FP8, or plain
    with the plain gradient where there is none."""
    formats = FORMATS[recipe.gradient], FORMATS[recipe.forward]
    if fits_kernels(gate_up_P2F):
        grad, inverse, grad_weight, hidden, plain = fast.swiglu_backward(
            gate_up_P2F, weight_TK, padded.choice_P, grad_hidden_PF, factor_P, formats, recipe.power_of_two
        )
        return SwigluGradients(Quantized(grad, None, inverse), grad_weight, hidden, plain)
    act_PF, share_P = _act(gate_up_P2F, weight_TK, padded)
    real_P1 = (padded.choice_P >= 0).unsqueeze(1)
    gate, up = torch.where(real_P1, gate_up_P2F.float(), 0.0).chunk(2, dim=-1)
    slope_PF = torch.where(real_P1, grad_hidden_PF.float(), 0.0)
    grad_weight_P = (slope_PF * act_PF).sum(-1)
    slope_PF = slope_PF * share_P.unsqueeze(1)
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    grad_P2F = torch.cat((slope_PF * up * (sigmoid + silu * (1 - sigmoid)), slope_PF * silu), dim=-1)
    hidden_PF = act_PF * share_P.unsqueeze(1)
    rounded = quantize_rows(grad_P2F, recipe.gradient, recipe.power_of_two)
    if factor_P is None:
        dtype = gate_up_P2F.dtype
        return SwigluGradients(rounded, grad_weight_P, hidden_PF.to(dtype), grad_P2F.to(dtype))
    hidden_PF = torch.where(real_P1, hidden_PF * factor_P.unsqueeze(1), 0.0).to(formats[1])
    return SwigluGradients(rounded, grad_weight_P, hidden_PF, None)


def outer_factors(a_P: Tensor, b_T: Tensor, padded: Padded, *, both: bool) -> tuple[Tensor, Tensor]:
    """Scales of a sum over rows moved to one factor: scale_E = largest a · b of an expert's rows; factor_P = b, or a · b
    where `both`, ÷ scale. `a` is by row, `b` by token."""
    if fits_kernels(a_P):
        return fast.factors(a_P, b_T, padded.choice_P, padded.ends_E, padded.top_k, both)
    real_P = padded.choice_P >= 0
    b_P = torch.where(real_P, b_T[padded.source_P.clamp(min=0).long()], 0.0)
    product_P = torch.where(real_P, a_P * b_P, 0.0)
    experts = padded.ends_E.shape[0]
    expert_P = torch.searchsorted(padded.ends_E, torch.arange(a_P.shape[0], device=a_P.device), right=True)
    expert_P = expert_P.clamp(max=experts - 1)
    scale_E = a_P.new_zeros(experts).scatter_reduce(0, expert_P, product_P, "amax").clamp(min=2.0**-100)
    return (product_P if both else b_P) / scale_E[expert_P], scale_E


def fits_kernels(tensor: Tensor) -> bool:
    """Whether the kernels take it."""
    return launches(tensor) and not is_fake(tensor) and tensor.numel() > 0

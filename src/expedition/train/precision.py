"""Numerics of the forward and backward pass: compute type, and FP8 linear layers by the plan's policy.

Here FP8 is emulated: values are rounded to the grid of `torch.float8_e4m3fn` or `float8_e5m2` with a scale, and the
products run in the compute dtype. So the numbers are FP8's and the speed is not; every report says "emulated fp8".
Weights stay fp32 masters. Scheme: Micikevicius et al. 2022 (arXiv:2209.05433): E4M3 for activations and weights, E5M2
for output gradients; scale = amax ÷ largest value of the format. Weight-gradient products stay unquantised.

Shapes: T positions, I inputs, O outputs of a layer.
"""

from __future__ import annotations

import fnmatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expedition.errors import ProgrammeError
from expedition.model.moe import Experts
from expedition.plan.runs import Fp8Plan, PrecisionPlan

_FORMATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


def compute_dtype(plan: PrecisionPlan) -> torch.dtype:
    """The type that parameters and inputs are cast to for the forward pass; gradients come back to fp32."""
    return torch.bfloat16 if plan.compute == "bf16" else torch.float32


def quantize(value: Tensor, format_name: str, rows: bool) -> Tensor:
    """`value` rounded to an FP8 grid, in its own dtype.

    `rows`: one scale a slice of the last dimension (the dimension that a product sums over), else one for the tensor.
    Zeros stay zero; non-finite values stay non-finite, so the bad-step decision sees them.
    """
    if not value.numel():
        return value
    target = _FORMATS[format_name]
    largest = torch.finfo(target).max
    amax = value.detach().abs().float()
    amax = amax.amax(dim=-1, keepdim=True) if rows else amax.amax()
    scale = torch.where(amax > 0, largest / amax, torch.ones_like(amax))
    scaled = (value.float() * scale).clamp(-largest, largest)
    return (scaled.to(target).float() / scale).to(value.dtype)


class _Fp8Product(torch.autograd.Function):
    """x_TI @ w_OI.T with quantised factors, and the quantised gradient of the input."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, *arguments: object) -> Tensor:
        x, weight, plan = arguments
        assert isinstance(x, Tensor) and isinstance(weight, Tensor) and isinstance(plan, Fp8Plan)
        rows = plan.scale == "rowwise"
        ctx.save_for_backward(x, weight)
        ctx.plan = plan  # type: ignore[attr-defined]
        return quantize(x, plan.forward, rows) @ quantize(weight, plan.forward, rows).t()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        plan: Fp8Plan = ctx.plan  # type: ignore[attr-defined]
        (gradient,) = gradients
        rows = plan.scale == "rowwise"
        weight_IO = quantize(weight.t().contiguous(), plan.forward, rows)
        x_gradient = quantize(gradient, plan.gradient, rows) @ weight_IO.t()
        return x_gradient, gradient.flatten(0, -2).t() @ x.flatten(0, -2), None


class Fp8Linear(nn.Linear):
    """A linear layer whose two data products see FP8 values. Same parameters and names as `nn.Linear`."""

    fp8: Fp8Plan

    def forward(self, input: Tensor) -> Tensor:
        product = linear_fp8(input, self.weight, self.fp8)
        return product if self.bias is None else product + self.bias


class Fp8Experts(Experts):
    """Experts whose products see FP8 values, one expert at a time. Same parameters and names as `Experts`."""

    fp8: Fp8Plan

    def forward(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Tensor:
        y_TH = torch.zeros_like(x_TH)
        for expert in range(self.gate_up_proj.shape[0]):
            token, slot = torch.where(topk_TK == expert)
            gate, up = linear_fp8(x_TH[token], self.gate_up_proj[expert], self.fp8).chunk(2, dim=-1)
            out = linear_fp8(F.silu(gate) * up, self.down_proj[expert], self.fp8)
            y_TH = y_TH.index_add(0, token, out * weight_TK[token, slot, None])
        return y_TH


def apply_fp8(model: nn.Module, plan: Fp8Plan) -> list[str]:
    """Turn the linear layers and experts that the policy names into their FP8 kinds, in place; the names in order.

    Raises ProgrammeError for a pattern that matches none of them.
    """
    kinds: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Fp8Linear, Experts: Fp8Experts}
    able = {name: module for name, module in model.named_modules() if type(module) in kinds}
    for pattern in plan.modules:
        if not fnmatch.filter(able, pattern):
            raise ProgrammeError(
                f"no linear layer or expert layer of the model is named like {pattern!r}",
                where="precision.fp8.modules",
                fix=f"names are for example {', '.join(sorted(able)[:3])}",
            )
    included = {name for pattern in plan.modules for name in fnmatch.filter(able, pattern)}
    excluded = {name for pattern in plan.exclude for name in fnmatch.filter(able, pattern)}
    chosen = [name for name in able if name in included - excluded]
    for name in chosen:
        module = able[name]
        module.__class__ = kinds[type(module)]
        module.fp8 = plan
    return chosen


def linear_fp8(x_TI: Tensor, weight_OI: Tensor, plan: Fp8Plan) -> Tensor:
    """x @ weight.T, [..., I] and [O, I] → [..., O], by the policy's formats and scales."""
    product: Tensor = _Fp8Product.apply(x_TI, weight_OI, plan)  # type: ignore[no-untyped-call]
    return product

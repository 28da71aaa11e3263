"""A linear layer whose products see FP8 factors: forward, gradient of the input and, where asked for, of the weight.

Scheme: Micikevicius et al. 2022 (arXiv:2209.05433). Several layers that read one input (queries, keys, values; gate and up)
share its rounded copy.

Shapes: T positions, I inputs, O outputs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expedition.kernels.fp8_weights import WeightCopies, quantize_activation
from expedition.kernels.quantize import Granularity, Quantized, quantize_joined, transposed
from expedition.kernels.scaled_products import ALIGNMENT, scaled_product

__all__ = ["LinearRecipe", "joined_linear_fp8", "linear_fp8"]


class LinearRecipe(NamedTuple):
    """How the products of a layer are rounded."""

    granularity: Granularity = "rowwise"
    forward: str = "e4m3"
    gradient: str = "e5m2"
    weight_gradient: bool = False
    """The weight's gradient from FP8 factors too; else from the plain ones. Not for blocks, and not where the positions
    are no multiple of 16: those are plain."""
    power_of_two: bool = False
    emulated: bool = False


class _Shared:
    """The newest rounded input: one entry, found again while the same tensor has not been written to."""

    def __init__(self) -> None:
        self._of: weakref.ref[Tensor] | None = None
        self._key: tuple[Any, ...] = ()
        self._made: Quantized | None = None

    def get(self, x: Tensor, recipe: LinearRecipe) -> Quantized:
        key = (x._version, recipe.granularity, recipe.forward, recipe.power_of_two)
        if self._made is None or self._of is None or self._of() is not x or self._key != key:
            flat = x.detach().flatten(0, -2)
            self._made = quantize_activation(flat, recipe.forward, recipe.granularity, recipe.power_of_two)
            self._of, self._key = weakref.ref(x, self._forget), key
        return self._made

    def _forget(self, dead: weakref.ref[Tensor]) -> None:
        if self._of is dead:
            self._of, self._made = None, None


_shared = _Shared()


Watch = Callable[[str, Quantized], None]
"""Told of each rounded tensor by name."""


def linear_fp8(
    x: Tensor, weight_OI: Tensor, copies: WeightCopies, recipe: LinearRecipe, watch: Watch | None = None
) -> Tensor:
    """`x @ weight.T`, [.., I] → [.., O]. `copies` gives the weight's FP8 copies by the recipe's granularity and format."""
    rounded = _shared.get(x, recipe)
    out: Tensor = _Linear.apply(x, weight_OI, rounded, copies, recipe, watch)  # type: ignore[no-untyped-call]
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, *rest: Any) -> Tensor:
        rounded, copies, recipe, watch = rest
        weight = copies.forward(weight_OI)
        out_TO = scaled_product(rounded, weight, x.dtype, emulated=recipe.emulated)
        if watch is not None:
            watch("input", rounded)
            watch("weight", weight)
        ctx.low = (
            recipe.weight_gradient and recipe.granularity != "blockwise" and rounded.values.shape[0] % ALIGNMENT == 0
        )
        kept = (rounded.values, rounded.inverse) if ctx.low else (x, x)
        ctx.save_for_backward(*kept, weight_OI)
        ctx.copies, ctx.recipe, ctx.watch = copies, recipe, watch
        return out_TO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, inverse, weight_OI = ctx.saved_tensors
        recipe: LinearRecipe = ctx.recipe
        (gradient,) = gradients
        flat_TO = gradient.flatten(0, -2)
        rounded = quantize_activation(flat_TO, recipe.gradient, recipe.granularity, recipe.power_of_two)
        if ctx.watch is not None:
            ctx.watch("gradient", rounded)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            product = scaled_product(rounded, ctx.copies.backward(weight_OI), gradient.dtype, emulated=recipe.emulated)
            grad_x = product.view(*gradient.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            if ctx.low:
                grad_weight = _weight_gradient(rounded, kept, inverse, gradient.dtype, recipe.emulated)
            else:
                grad_weight = flat_TO.t() @ kept.flatten(0, -2)
        return grad_x, grad_weight, None, None, None, None


def joined_linear_fp8(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor],
    copies: WeightCopies,
    recipe: LinearRecipe,
    watch: Watch | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Three layers of one input as one product, scales of rows: queries, keys and values. Results are parts of one tensor's
    rows; `copies` is of the weights one over the other, and gradients of a row share a scale."""
    rounded = _shared.get(x, recipe)
    a, b, c = _Joined.apply(x, *weights, rounded, copies, recipe, watch)  # type: ignore[no-untyped-call]
    return a, b, c


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        *weights, rounded, copies, recipe, watch = rest
        weight = copies.forward(*weights)
        out_TO = scaled_product(rounded, weight, x.dtype, emulated=recipe.emulated)
        if watch is not None:
            watch("input", rounded)
            watch("weight", weight)
        ctx.low = recipe.weight_gradient and rounded.values.shape[0] % ALIGNMENT == 0
        ctx.save_for_backward(rounded.values if ctx.low else x, rounded.inverse, *weights)
        ctx.copies, ctx.recipe, ctx.watch, ctx.shape = copies, recipe, watch, x.shape
        sizes = [weight.shape[0] for weight in weights]
        return tuple(part.view(*x.shape[:-1], -1) for part in torch.split(out_TO, sizes, dim=-1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, inverse, *weights = ctx.saved_tensors
        recipe: LinearRecipe = ctx.recipe
        dtype = gradients[0].dtype
        a, b, c = (gradient.flatten(0, -2) for gradient in gradients)
        rounded = quantize_joined((a, b, c), recipe.gradient, recipe.power_of_two)
        if ctx.watch is not None:
            ctx.watch("gradient", rounded)
        grad_x = scaled_product(rounded, ctx.copies.backward(*weights), dtype, emulated=recipe.emulated).view(ctx.shape)
        if ctx.low:
            whole = _weight_gradient(rounded, kept, inverse, dtype, recipe.emulated)
            grad_weights = torch.split(whole, [weight.shape[0] for weight in weights])
        else:
            grad_weights = tuple(part.t() @ kept.flatten(0, -2) for part in (a, b, c))
        return grad_x, *grad_weights, None, None, None, None


def _weight_gradient(
    gradient_TO: Quantized, x_TI: Tensor, x_inverse: Tensor, dtype: torch.dtype, emulated: bool
) -> Tensor:
    """Σ_t g_t x_t: with scales of rows s_t, t_t it is S Σ_t g_t (x_t s_t t_t / S), S the largest s_t t_t."""
    inverse = gradient_TO.inverse * x_inverse
    factor_T = None
    if inverse.dim():
        products_T, inverse = inverse, inverse.amax().clamp(min=2.0**-100)
        factor_T = products_T / inverse
    one = torch.ones_like(inverse)
    left = Quantized(transposed(gradient_TO.values), None, one)
    right = Quantized(transposed(x_TI, factor_P=factor_T), None, inverse)
    return scaled_product(left, right, dtype, emulated=emulated)

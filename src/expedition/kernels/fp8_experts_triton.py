"""Triton kernels of `fp8_swiglu.py` and `fp8_experts.py`: SwiGLU with rounding in both directions, factors of outer products.

Shapes: R rows in expert order, P padded rows, F expert inner size, H hidden, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expedition.kernels.quantize_triton import inverse_of, scale_for
from expedition.kernels.triton_jit import jit, next_power_of_2, tl

__all__ = ["factors", "gather_padded", "swiglu_backward", "swiglu_rows"]

_SMALLEST = 2.0**-100


@jit
def _gather_kernel(x, choice_P, out, columns, TOP_K: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, C)
    choice = tl.load(choice_P + row).to(tl.int64)
    inside = (column < columns) & (choice >= 0)
    value = tl.load(x + choice // TOP_K * columns + column, mask=inside, other=0.0)
    tl.store(out + row * columns + column, value, mask=column < columns)


def gather_padded(x_TC: Tensor, choice_P: Tensor, top_k: int) -> Tensor:
    """Rows of choices [P, C]; zeros where there is none."""
    x_TC = x_TC.contiguous()
    out = x_TC.new_empty(choice_P.shape[0], x_TC.shape[1])
    width = next_power_of_2(x_TC.shape[1])
    _gather_kernel[(choice_P.shape[0],)](x_TC, choice_P, out, x_TC.shape[1], top_k, width, num_warps=4)
    return out


def _warps(inner: int) -> int:
    return min(16, max(4, next_power_of_2(inner) // 512))


@jit
def _swiglu_kernel(  # type: ignore[no-untyped-def]
    gate_up, weight, choice_P, hidden, inverses, inner, LARGEST: tl.constexpr, POWER: tl.constexpr, F: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, F)[None, :]
    choice = tl.load(choice_P + row)
    inside = (column < inner) & (choice >= 0)
    gate = tl.load(gate_up + row * 2 * inner + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * inner + inner + column, mask=inside, other=0.0).to(tl.float32)
    share = tl.load(weight + choice, mask=choice >= 0, other=0.0).to(tl.float32)
    value = gate * tl.sigmoid(gate) * up * share
    scale = scale_for(tl.max(tl.abs(value), axis=1), LARGEST, POWER)
    rounded = (value * scale[:, None]).to(hidden.dtype.element_ty)
    tl.store(hidden + row * inner + column, rounded, mask=column < inner)
    tl.store(inverses + row + tl.arange(0, 1), inverse_of(scale))


def swiglu_rows(
    gate_up_P2F: Tensor, weight: Tensor, choice_P: Tensor, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor]:
    """Rounded `weight · silu(gate) · up` [P, F] and inverses [P]."""
    rows, inner = gate_up_P2F.shape[0], gate_up_P2F.shape[1] // 2
    hidden = torch.empty(rows, inner, dtype=dtype, device=gate_up_P2F.device)
    inverse = torch.empty(rows, dtype=torch.float32, device=gate_up_P2F.device)
    _swiglu_kernel[(rows,)](
        gate_up_P2F, weight, choice_P, hidden, inverse, inner, torch.finfo(dtype).max, power_of_two,
        next_power_of_2(inner), num_warps=_warps(inner),
    )  # fmt: skip
    return hidden, inverse


@jit
def _swiglu_backward_kernel(  # type: ignore[no-untyped-def]
    gate_up,
    weight,
    choice_P,
    grad_hidden,
    factor_P,
    grad,
    inverses,
    grad_weight,
    hidden,
    grad_plain,
    inner,
    LARGEST: tl.constexpr,
    POWER: tl.constexpr,
    PLAIN: tl.constexpr,
    F: tl.constexpr,
):
    """PLAIN: hidden and the gradient also as they are, for weight gradients in bf16; else hidden · factor, rounded."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, F)[None, :]
    one = tl.arange(0, 1)
    choice = tl.load(choice_P + row)
    real = choice >= 0
    inside = (column < inner) & real
    gate = tl.load(gate_up + row * 2 * inner + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * inner + inner + column, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(grad_hidden + row * inner + column, mask=inside, other=0.0).to(tl.float32)
    share = tl.load(weight + choice, mask=real, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    silu = gate * sigmoid
    act = silu * up
    tl.store(grad_weight + row + one, tl.sum(slope * act, axis=1))
    slope = slope * share
    grad_gate = slope * up * (sigmoid + silu * (1 - sigmoid))
    grad_up = slope * silu
    scale = scale_for(tl.maximum(tl.max(tl.abs(grad_gate), axis=1), tl.max(tl.abs(grad_up), axis=1)), LARGEST, POWER)
    tl.store(inverses + row + one, inverse_of(scale))
    out = row * 2 * inner + column
    tl.store(grad + out, (grad_gate * scale[:, None]).to(grad.dtype.element_ty), mask=column < inner)
    tl.store(grad + out + inner, (grad_up * scale[:, None]).to(grad.dtype.element_ty), mask=column < inner)
    if PLAIN:
        tl.store(grad_plain + out, grad_gate.to(grad_plain.dtype.element_ty), mask=column < inner)
        tl.store(grad_plain + out + inner, grad_up.to(grad_plain.dtype.element_ty), mask=column < inner)
        tl.store(hidden + row * inner + column, (act * share).to(hidden.dtype.element_ty), mask=column < inner)
    else:
        factor = tl.load(factor_P + row, mask=real, other=0.0)
        tl.store(hidden + row * inner + column, (act * share * factor).to(hidden.dtype.element_ty), mask=column < inner)


def swiglu_backward(
    gate_up_P2F: Tensor,
    weight: Tensor,
    choice_P: Tensor,
    grad_hidden_PF: Tensor,
    factor_P: Tensor | None,
    formats: tuple[torch.dtype, torch.dtype],
    power_of_two: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Rounded gradient of gate and up [P, 2F], its inverses [P], the weight's gradient [P], hidden [P, F] (rounded after
    the factor; plain without one), the plain gradient. `formats`: of the gradient, of hidden."""
    rows, inner = grad_hidden_PF.shape
    device, plain = gate_up_P2F.device, factor_P is None
    grad = torch.empty(rows, 2 * inner, dtype=formats[0], device=device)
    inverse, grad_weight = (torch.empty(rows, dtype=torch.float32, device=device) for _ in range(2))
    hidden = torch.empty(rows, inner, dtype=gate_up_P2F.dtype if plain else formats[1], device=device)
    grad_plain = torch.empty_like(gate_up_P2F) if plain else None
    _swiglu_backward_kernel[(rows,)](
        gate_up_P2F, weight, choice_P, grad_hidden_PF, weight if factor_P is None else factor_P, grad, inverse, grad_weight,
        hidden, grad if grad_plain is None else grad_plain, inner, torch.finfo(formats[0]).max, power_of_two, plain,
        next_power_of_2(inner), num_warps=_warps(inner),
    )  # fmt: skip
    return grad, inverse, grad_weight, hidden, grad_plain


@jit
def _factor_kernel(a_P, b_T, choice_P, ends_E, factor_P, scale_E, TOP_K: tl.constexpr, BOTH: tl.constexpr, SMALLEST: tl.constexpr, P: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """One expert: the largest a · b of its rows, and each row's share of it."""
    expert = tl.program_id(0)
    end = tl.load(ends_E + expert)
    start = tl.load(ends_E + expert - 1, mask=expert > 0, other=0)
    lane = tl.arange(0, P)
    top = tl.zeros((P,), tl.float32)
    for first in range(start, end, P):
        choice = tl.load(choice_P + first + lane, mask=first + lane < end, other=-1)
        a = tl.load(a_P + first + lane, mask=choice >= 0, other=0.0)
        top = tl.maximum(top, a * tl.load(b_T + choice // TOP_K, mask=choice >= 0, other=0.0))
    scale = tl.zeros((1,), tl.float32) + tl.maximum(tl.max(top, axis=0), SMALLEST)
    tl.store(scale_E + expert + tl.arange(0, 1), scale)
    for first in range(start, end, P):
        choice = tl.load(choice_P + first + lane, mask=first + lane < end, other=-1)
        factor = tl.load(b_T + choice // TOP_K, mask=choice >= 0, other=0.0)
        if BOTH:
            factor *= tl.load(a_P + first + lane, mask=choice >= 0, other=0.0)
        tl.store(factor_P + first + lane, tl.div_rn(factor, scale), mask=first + lane < end)


def factors(
    a_P: Tensor, b_T: Tensor, choice_P: Tensor, ends_E: Tensor, top_k: int, both: bool
) -> tuple[Tensor, Tensor]:
    """factor_P = b, or a · b where `both`, ÷ scale of the row's expert; scale_E = largest a · b of the expert's rows."""
    factor_P = torch.empty_like(a_P)
    scale_E = torch.empty(ends_E.shape[0], dtype=torch.float32, device=a_P.device)
    _factor_kernel[(ends_E.shape[0],)](
        a_P, b_T, choice_P, ends_E, factor_P, scale_E, top_k, both, _SMALLEST, 1024, num_warps=8
    )
    return factor_P, scale_E

"""SwiGLU of sorted rows times the router's weight, and its gradient in one pass.

Shapes: R rows in expert order, F expert inner size; a hidden row is the gate's F values, then the up projection's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["weighted_swiglu", "weighted_swiglu_gradient"]


def weighted_swiglu(hidden_R2F: Tensor, weight_R: Tensor) -> Tensor:
    """`silu(gate) · up · weight` [R, F] in the rows' dtype; float32 inside on CUDA. No gradient of its own."""
    inner = hidden_R2F.shape[1] // 2
    if _valueless(hidden_R2F):
        return hidden_R2F.new_empty(hidden_R2F.shape[0], inner)
    if not _launches(hidden_R2F):
        gate, up = hidden_R2F.chunk(2, dim=-1)
        return F.silu(gate) * up * weight_R.unsqueeze(-1)
    act_RF = hidden_R2F.new_empty(hidden_R2F.shape[0], inner)
    columns, lines = _block(inner)
    _forward_kernel[(-(-act_RF.shape[0] // lines),)](
        hidden_R2F, weight_R, act_RF, act_RF.shape[0], inner, columns, lines, num_warps=4
    )
    return act_RF


def weighted_swiglu_gradient(
    hidden_R2F: Tensor, weight_R: Tensor, grad_RF: Tensor, act: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of `hidden_R2F`, the weighted SwiGLU itself again (unless `act` is False), gradient of weight [R] fp32.

    On CUDA the first two are written over `hidden_R2F` and `grad_RF`: the caller gives both up.
    """
    if _valueless(hidden_R2F):
        return hidden_R2F, grad_RF, torch.empty(grad_RF.shape[0], dtype=torch.float32, device=grad_RF.device)
    if not _launches(hidden_R2F):
        return _gradient_reference(hidden_R2F, weight_R, grad_RF)
    rows, inner = grad_RF.shape
    grad_weight_R = torch.empty(rows, dtype=torch.float32, device=grad_RF.device)
    columns, lines = _block(inner)
    _backward_kernel[(-(-rows // lines),)](
        hidden_R2F, weight_R, grad_RF, grad_weight_R, rows, inner, columns, lines, act, num_warps=4
    )
    return hidden_R2F, grad_RF, grad_weight_R


def _gradient_reference(hidden_R2F: Tensor, weight_R: Tensor, grad_RF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gate, up = hidden_R2F.chunk(2, dim=-1)
    sigmoid_RF, weight_R1 = torch.sigmoid(gate), weight_R.unsqueeze(-1)
    silu_RF = gate * sigmoid_RF
    grad_weight_R = (grad_RF * silu_RF * up).sum(-1)
    grad_act_RF = grad_RF * weight_R1
    slope_RF = sigmoid_RF + silu_RF * (1 - sigmoid_RF)
    grad_hidden_R2F = torch.cat((slope_RF * up * grad_act_RF, silu_RF * grad_act_RF), dim=-1)
    return grad_hidden_R2F, silu_RF * up * weight_R1, grad_weight_R


def _valueless(rows: Tensor) -> bool:
    """Fake and meta tensors: shapes alone, as the kernels allocate."""
    return rows.is_meta or is_fake(rows)


def _launches(rows: Tensor) -> bool:
    return launches(rows) and rows.dtype != torch.float64 and rows.numel() > 0


def _block(inner: int) -> tuple[int, int]:
    """Columns of a block (a power of two that wastes few lanes) and rows of a program, 1,024 values together."""
    columns = min(1024, next_power_of_2(inner))
    while columns > 128 and inner % columns:
        columns //= 2
    if inner % columns:
        columns = min(1024, next_power_of_2(inner))
    return columns, max(1, 1024 // columns)


@jit
def _forward_kernel(hidden_R2F, weight_R, act_RF, rows, inner, COLUMNS: tl.constexpr, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    exists = row < rows
    weight = tl.load(weight_R + row, mask=exists, other=0.0).to(tl.float32)
    for first in tl.range(0, inner, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        inside = exists[:, None] & (column < inner)[None, :]
        at = row[:, None] * (2 * inner) + column[None, :]
        gate = tl.load(hidden_R2F + at, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(hidden_R2F + at + inner, mask=inside, other=0.0).to(tl.float32)
        act = gate * tl.sigmoid(gate) * up * weight[:, None]
        tl.store(act_RF + row[:, None] * inner + column[None, :], act.to(act_RF.dtype.element_ty), mask=inside)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    hidden_R2F,
    weight_R,
    grad_RF,
    grad_weight_R,
    rows,
    inner,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    ACT: tl.constexpr,
):
    """In place: a program has read every value of a block before it writes it, and no other program touches it."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    exists = row < rows
    weight = tl.load(weight_R + row, mask=exists, other=0.0).to(tl.float32)
    grad_weight = tl.zeros((ROWS,), tl.float32)
    for first in tl.range(0, inner, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        inside = exists[:, None] & (column < inner)[None, :]
        at = row[:, None] * (2 * inner) + column[None, :]
        short = row[:, None] * inner + column[None, :]
        gate = tl.load(hidden_R2F + at, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(hidden_R2F + at + inner, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grad_RF + short, mask=inside, other=0.0).to(tl.float32)
        sigmoid = tl.sigmoid(gate)
        silu = gate * sigmoid
        act = silu * up
        grad_weight += tl.sum(grad * act, axis=1)
        grad_act = grad * weight[:, None]
        if ACT:
            tl.store(grad_RF + short, (act * weight[:, None]).to(grad_RF.dtype.element_ty), mask=inside)
        grad_gate = grad_act * up * (sigmoid + silu * (1 - sigmoid))
        tl.store(hidden_R2F + at, grad_gate.to(hidden_R2F.dtype.element_ty), mask=inside)
        tl.store(hidden_R2F + at + inner, (grad_act * silu).to(hidden_R2F.dtype.element_ty), mask=inside)
    tl.store(grad_weight_R + row, grad_weight, mask=exists)

"""RMS norm, alone or after a residual addition: plain torch, and one Triton kernel for each direction.

Shapes: T rows (all sizes but the last), H size that is normalised, P partial sums.

The kernels round where the reference does in its forward pass: mean square in float32, cast to x's dtype, product with the
weight. Their backward pass keeps float32 between the product with the weight and the result, where autograd of the
reference rounds twice more; the weight's gradient is summed in float32, by P programs and then over them, in fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.triton_jit import jit, jit_varying, launches, next_power_of_2, tl

__all__ = ["add_rms_norm", "rms_norm", "rms_norm_reference"]

PARTIALS = 1024
"""Most programs of a backward pass: enough for every multiprocessor, and few enough rows to sum."""


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The definition: `weight * (x / sqrt(mean(x²) + eps))` over the last size, in x's dtype.

    The mean square is float32, and the weight multiplies after the cast back, as in the exported class.
    """
    x32 = x.float()
    return weight * (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm of `x` [..., H] with `weight` [H], as `rms_norm_reference` defines it."""
    if not _fits(x, weight):
        return rms_norm_reference(x, weight, eps)
    out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def add_rms_norm(x: Tensor, update: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`x + update` and its RMS norm, read and written once; both [..., H]."""
    if not _fits(x, weight) or update.dtype != x.dtype:
        total = x + update
        return total, rms_norm_reference(total, weight, eps)
    total, out = _AddRMSNorm.apply(x, update, weight, eps)  # type: ignore[no-untyped-call]
    return total, out


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Where the kernels run: rows of one dtype, that fit in a program's registers."""
    return launches(x) and not is_fake(x) and x.dtype == weight.dtype and x.shape[-1] <= 16384 and x.numel() > 0


@jit
def _rms_norm_forward(  # type: ignore[no-untyped-def]
    x_at, update_at, weight_at, total_at, out_at, scale_at, eps, H: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    h = tl.arange(0, BLOCK)
    here = h < H
    x_H = tl.load(x_at + row * H + h, mask=here, other=0.0)
    if ADD:
        update_H = tl.load(update_at + row * H + h, mask=here, other=0.0)
        x_H = (x_H.to(tl.float32) + update_H.to(tl.float32)).to(x_H.dtype)
        tl.store(total_at + row * H + h, x_H, mask=here)
    x32_H = x_H.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x32_H * x32_H, 0) / H + eps)
    tl.store(scale_at + row, scale)
    normed_H = (x32_H * scale).to(x_H.dtype).to(tl.float32)
    weight_H = tl.load(weight_at + h, mask=here, other=0.0).to(tl.float32)
    tl.store(out_at + row * H + h, (normed_H * weight_H).to(x_H.dtype), mask=here)


@jit_varying("rows")
def _rms_norm_backward(  # type: ignore[no-untyped-def]
    x_at, weight_at, scale_at, dout_at, dtotal_at, dx_at, dweight_at, rows,
    H: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """Gradients of rows p, p + P, … and this program's part of the weight's."""
    h = tl.arange(0, BLOCK)
    here = h < H
    weight_H = tl.load(weight_at + h, mask=here, other=0.0).to(tl.float32)
    dweight_H = tl.zeros((BLOCK,), tl.float32)
    for number in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.cast(number, tl.int64)
        x_H = tl.load(x_at + row * H + h, mask=here, other=0.0)
        dout_H = tl.load(dout_at + row * H + h, mask=here, other=0.0).to(tl.float32)
        scale = tl.load(scale_at + row)
        unit_H = x_H.to(tl.float32) * scale
        dweight_H += dout_H * unit_H.to(x_H.dtype).to(tl.float32)
        dunit_H = dout_H * weight_H
        dx_H = (dunit_H - unit_H * (tl.sum(dunit_H * unit_H, 0) / H)) * scale
        if ADD:
            dx_H += tl.load(dtotal_at + row * H + h, mask=here, other=0.0).to(tl.float32)
        tl.store(dx_at + row * H + h, dx_H.to(x_H.dtype), mask=here)
    tl.store(dweight_at + tl.program_id(0) * H + h, dweight_H, mask=here)


def _warps(size: int) -> int:
    return max(1, min(8, size // 512))


def _norm(x_TH: Tensor, update_TH: Tensor | None, weight_H: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    rows, size = x_TH.shape
    out_TH = torch.empty_like(x_TH)
    total_TH = x_TH if update_TH is None else torch.empty_like(x_TH)
    scale_T = torch.empty(rows, dtype=torch.float32, device=x_TH.device)
    add = update_TH is not None
    _rms_norm_forward[(rows,)](
        x_TH, update_TH if add else x_TH, weight_H, total_TH, out_TH, scale_T, eps,
        H=size, BLOCK=next_power_of_2(size), ADD=add, num_warps=_warps(size),
    )  # fmt: skip
    return total_TH, out_TH, scale_T


def _gradients(
    x_TH: Tensor, weight_H: Tensor, scale_T: Tensor, dout_TH: Tensor, dtotal_TH: Tensor | None
) -> tuple[Tensor, Tensor]:
    rows, size = x_TH.shape
    programs = min(rows, PARTIALS)
    dx_TH = torch.empty_like(x_TH)
    dweight_PH = torch.empty(programs, size, dtype=torch.float32, device=x_TH.device)
    add = dtotal_TH is not None
    _rms_norm_backward[(programs,)](
        x_TH, weight_H, scale_T, dout_TH, dtotal_TH if add else dout_TH, dx_TH, dweight_PH, rows,
        H=size, BLOCK=next_power_of_2(size), ADD=add, num_warps=_warps(size),
    )  # fmt: skip
    return dx_TH, dweight_PH.sum(0).to(weight_H.dtype)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_H: Tensor, eps: float) -> Tensor:
        x_TH = _flat(x)
        _, out_TH, scale_T = _norm(x_TH, None, weight_H, eps)
        ctx.save_for_backward(x_TH, weight_H, scale_T)
        return out_TH.view(x.shape)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, None]:
        x_TH, weight_H, scale_T = ctx.saved_tensors
        dx_TH, dweight_H = _gradients(x_TH, weight_H, scale_T, _flat(dout), None)
        return dx_TH.view(dout.shape), dweight_H, None


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, update: Tensor, weight_H: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        total_TH, out_TH, scale_T = _norm(_flat(x), _flat(update), weight_H, eps)
        ctx.save_for_backward(total_TH, weight_H, scale_T)
        return total_TH.view(x.shape), out_TH.view(x.shape)

    @staticmethod
    def backward(ctx: Any, dtotal: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        total_TH, weight_H, scale_T = ctx.saved_tensors
        dx_TH, dweight_H = _gradients(total_TH, weight_H, scale_T, _flat(dout), _flat(dtotal))
        return dx_TH.view(dout.shape), dx_TH.view(dout.shape), dweight_H, None

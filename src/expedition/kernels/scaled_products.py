"""Products of FP8 factors with scales: dense, grouped by expert, and grouped outer products for weight gradients.

On CUDA with compute capability 9.0 or higher: `torch._scaled_mm`, and Triton's kernels for groups. Elsewhere, or when asked
for, emulated: factors are turned back into numbers of the output's type and multiplied there, which is equal up to the order
of sums. Both factors are row-major in what is summed over, as Hopper's FP8 units want them.

Shapes: M rows, N outputs, K inputs, E experts, P rows grouped by expert with ends [E] (int32), C columns.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels import scaled_products_triton
from expedition.kernels.host import is_readable
from expedition.kernels.quantize import Quantized, dequantize

__all__ = ["ALIGNMENT", "grouped_outer", "grouped_product", "has_fp8_products", "scaled_product"]

ALIGNMENT = 16
"""Numbers that the sizes of factors must be a multiple of, in what is summed over too."""


def has_fp8_products(tensor: Tensor) -> bool:
    """Whether FP8 factors on this tensor's device are multiplied by the hardware."""
    return tensor.is_cuda and _capability(tensor.device.index) >= (9, 0)


@cache
def _capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


def scaled_product(a_MK: Quantized, b_NK: Quantized, dtype: torch.dtype, *, emulated: bool = False) -> Tensor:
    """`a @ b.T` → [M, N] in `dtype`. Scales of both: one, of rows, or of blocks (1 × 128 of `a`; 128 × 128 of `b`)."""
    if emulated or not has_fp8_products(a_MK.values):
        return dequantize(a_MK, dtype) @ dequantize(b_NK, dtype).t()
    rows = a_MK.values.shape[0]
    a_MK = _whole_rows(a_MK)
    out = torch.bfloat16 if dtype == torch.float32 and a_MK.inverse.dim() == 1 else dtype
    if a_MK.inverse.dim() == 2:
        product = _block_product(a_MK, b_NK, out)
    else:
        scale_a, scale_b = a_MK.inverse, b_NK.inverse
        if scale_a.dim() == 1:
            scale_a, scale_b = scale_a.unsqueeze(1), scale_b.unsqueeze(0)
        product = torch._scaled_mm(
            a_MK.values, b_NK.values.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=out, use_fast_accum=True
        )
    return product[:rows].to(dtype)


def _whole_rows(a_MK: Quantized) -> Quantized:
    """With rows of zeros up to a multiple of 16: cuBLAS has no product of E5M2 for other numbers of rows."""
    missing = -a_MK.values.shape[0] % ALIGNMENT
    if not missing:
        return a_MK
    values = F.pad(a_MK.values.view(torch.uint8), (0, 0, 0, missing)).view(a_MK.values.dtype)
    if not a_MK.inverse.dim():
        return Quantized(values, None, a_MK.inverse)
    wider = (0, missing) if a_MK.inverse.dim() == 1 else (0, 0, 0, missing)
    return Quantized(values, None, F.pad(a_MK.inverse, wider))


def _block_product(a_MK: Quantized, b_NK: Quantized, dtype: torch.dtype) -> Tensor:
    """cuBLAS wants scales of 1 × 128 blocks with rows next to each other, of 128 × 128 with K blocks padded to 4."""
    from torch.nn.functional import ScalingType, scaled_mm

    blocks = b_NK.inverse.shape[1]
    scale_b = F.pad(b_NK.inverse, (0, -blocks % 4))
    return scaled_mm(
        a_MK.values,
        b_NK.values.t(),
        scale_a=a_MK.inverse.t().contiguous().t(),
        scale_recipe_a=ScalingType.BlockWise1x128,
        scale_b=scale_b.t(),
        scale_recipe_b=ScalingType.BlockWise128x128,
        output_dtype=dtype,
    )


def grouped_product(
    a_PK: Quantized,
    b_ENK: Quantized,
    ends_E: Tensor,
    dtype: torch.dtype,
    *,
    choice: tuple[Tensor, int] | None = None,
    emulated: bool = False,
) -> Tensor:
    """Each group's rows times its matrix: `a[rows of e] @ b[e].T` → [P, N]; scales of rows.

    `choice`: choices of rows [P] (int32, -1 of padding) and K choices a token; then `a` is by token, and rows are gathered
    inside. Rows after the last end come out as anything.
    """
    if emulated or not has_fp8_products(a_PK.values):
        rows_PK = dequantize(a_PK, dtype)
        if choice is not None:
            rows_PK = rows_PK.index_select(0, (choice[0].clamp(min=0) // choice[1]).long())
        return _emulated_grouped(rows_PK, dequantize(b_ENK, dtype), ends_E)
    return scaled_products_triton.grouped(
        a_PK.values, a_PK.inverse, b_ENK.values, b_ENK.inverse, ends_E, dtype, choice=choice
    )


def _emulated_grouped(a_PK: Tensor, b_ENK: Tensor, ends_E: Tensor) -> Tensor:
    if not is_readable(a_PK):
        return F.grouped_mm(a_PK, b_ENK.transpose(-1, -2), offs=ends_E)
    out_PN = a_PK.new_zeros(a_PK.shape[0], b_ENK.shape[1])
    start = 0
    for expert, end in enumerate(ends_E.tolist()):
        torch.mm(a_PK[start:end], b_ENK[expert].t(), out=out_PN[start:end])
        start = end
    return out_PN


def grouped_outer(
    a_CP: Tensor, b_KP: Tensor, scale_E: Tensor, ends_E: Tensor, dtype: torch.dtype, *, emulated: bool = False
) -> Tensor:
    """Each group's columns multiplied and summed: `scale[e] · a[:, columns of e] @ b[:, columns of e].T` → [E, C, K].

    `a_CP` and `b_KP` are FP8; ends are multiples of 128, and columns that no row stands in are zeros.
    """
    if emulated or not has_fp8_products(a_CP):
        return _emulated_outer(a_CP.to(dtype), b_KP.to(dtype), ends_E) * scale_E.to(dtype).view(-1, 1, 1)
    return scaled_products_triton.grouped_outer(a_CP, b_KP, scale_E, ends_E, dtype)


def _emulated_outer(a_CP: Tensor, b_KP: Tensor, ends_E: Tensor) -> Tensor:
    if not is_readable(a_CP):
        return F.grouped_mm(a_CP, b_KP.t(), offs=ends_E)
    out_ECK = a_CP.new_zeros(ends_E.shape[0], a_CP.shape[0], b_KP.shape[0])
    start = 0
    for expert, end in enumerate(ends_E.tolist()):
        torch.mm(a_CP[:, start:end], b_KP[:, start:end].t(), out=out_ECK[expert])
        start = end
    return out_ECK

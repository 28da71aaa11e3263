"""Rounding to FP8 with scales: of rows, of whole tensors, of blocks; of a weight in both orientations.

`values = round(x · scale)` in `torch.float8_e4m3fn` or `float8_e5m2`; `inverse = 1 / scale` is what a product is multiplied
by. A scale is the format's largest value ÷ the largest magnitude that shares it, as it is or rounded down to a power of two:
then it moves no mantissa, and moving values to another power of two (a transposed copy for weight gradients) rounds nothing
but what falls below the format's range. Zeros stay zero; values that are not finite stay so (they come out as NaN), so that
the bad-step decision sees them. On CUDA, and under Triton's interpreter, kernels of `quantize_triton.py`; elsewhere, and as
the definition, plain torch.

Shapes: R rows, C columns, E stacked matrices, N outputs, K inputs of a product, B blocks of 128.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels import quantize_triton as fast
from expedition.kernels.triton_jit import launches

__all__ = [
    "BLOCK",
    "FORMATS",
    "Columns",
    "Format",
    "Granularity",
    "Quantized",
    "WeightPair",
    "dequantize",
    "quantization_counts",
    "quantize_blocks",
    "quantize_joined",
    "quantize_rows",
    "quantize_tensor",
    "quantize_weight",
    "scale_of",
    "transposed",
]

Format = Literal["e4m3", "e5m2"]
Granularity = Literal["tensorwise", "rowwise", "blockwise"]

FORMATS: dict[str, torch.dtype] = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
BLOCK = 128
"""Side of a block of a blockwise scale: 1 × 128 of activations, 128 × 128 of weights (arXiv:2412.19437)."""
_STEEPEST = 2.0**126
"""Largest scale: its inverse is still a normal number. Rows of zeros have it, so that they never decide a shared scale."""


class Quantized(NamedTuple):
    """FP8 values and their scales."""

    values: Tensor
    """FP8, the shape of what was rounded."""
    scale: Tensor | None
    """float32: scalar for a tensor; without the last dimension for rows; with 1 ÷ 128 of it for blocks. None where a
    kernel wrote the inverse alone."""
    inverse: Tensor
    """1 / scale, of the same shape."""


class WeightPair(NamedTuple):
    """A weight [.., N, K] as the two products of its data need it: both row-major in what they sum over."""

    forward: Quantized
    """[.., N, K]."""
    backward: Quantized
    """[.., K, N]."""


def quantize_rows(x: Tensor, format_name: str, power_of_two: bool = False) -> Quantized:
    """One scale a slice of the last dimension: the dimension that a product sums over. [.., C] → scales [..]."""
    if _fast(x):
        flat = x.contiguous().flatten(0, -2)
        values, scale, inverse = fast.rows(flat, FORMATS[format_name], power_of_two)
        return Quantized(values.view(x.shape), scale.view(x.shape[:-1]), inverse.view(x.shape[:-1]))
    amax = x.detach().abs().float().amax(dim=-1) if x.shape[-1] else x.new_zeros(x.shape[:-1], dtype=torch.float32)
    scale = scale_of(amax, format_name, power_of_two)
    return Quantized(_round(x, scale.unsqueeze(-1), format_name), scale, scale.reciprocal())


def quantize_joined(parts: tuple[Tensor, Tensor, Tensor], format_name: str, power_of_two: bool = False) -> Quantized:
    """Three tensors [R, .] beside each other, with one scale for each whole row."""
    if all(_fast(part) for part in parts):
        values, inverse = fast.joined_rows(parts, FORMATS[format_name], power_of_two)
        return Quantized(values, None, inverse)
    return quantize_rows(torch.cat(parts, dim=-1), format_name, power_of_two)


def quantize_tensor(x: Tensor, format_name: str, power_of_two: bool = False) -> Quantized:
    """One scale for all of `x`."""
    if _fast(x):
        return Quantized(*fast.tensor(x.contiguous(), FORMATS[format_name], power_of_two))
    amax = x.detach().abs().float().amax() if x.numel() else x.new_zeros((), dtype=torch.float32)
    scale = scale_of(amax, format_name, power_of_two)
    return Quantized(_round(x, scale, format_name), scale, scale.reciprocal())


def quantize_blocks(x: Tensor, format_name: str, power_of_two: bool = False) -> Quantized:
    """One scale for 128 neighbours of the last dimension (a multiple of 128). [.., C] → scales [.., C / 128]."""
    if _fast(x):
        flat = x.contiguous().view(-1, BLOCK)
        values, scale, inverse = fast.rows(flat, FORMATS[format_name], power_of_two)
        shape = (*x.shape[:-1], x.shape[-1] // BLOCK)
        return Quantized(values.view(x.shape), scale.view(shape), inverse.view(shape))
    blocks = x.view(*x.shape[:-1], -1, BLOCK)
    scale = scale_of(blocks.detach().abs().float().amax(dim=-1), format_name, power_of_two)
    return Quantized(_round(blocks, scale.unsqueeze(-1), format_name).flatten(-2), scale, scale.reciprocal())


def quantize_weight(
    weight: Tensor, format_name: str, granularity: Granularity, power_of_two: bool = False
) -> WeightPair:
    """A weight [N, K] or stacked [E, N, K] in both orientations.

    tensorwise: one scale for all, and the same values twice. rowwise: scales of rows [.., N] and of columns [.., K].
    blockwise: scales of 128 × 128 blocks [.., N / 128, K / 128], and the same values twice.
    CUDA: one pass over the weight finds the magnitudes, one writes both copies.
    """
    if _fast(weight):
        found = fast.weight(weight.contiguous(), FORMATS[format_name], granularity, power_of_two)
        return WeightPair(Quantized(*found[0]), Quantized(*found[1]))
    if granularity == "rowwise":
        turned = weight.transpose(-1, -2).contiguous()
        return WeightPair(
            quantize_rows(weight, format_name, power_of_two), quantize_rows(turned, format_name, power_of_two)
        )
    if granularity == "tensorwise":
        one = quantize_tensor(weight, format_name, power_of_two)
        return WeightPair(one, Quantized(one.values.transpose(-1, -2).contiguous(), one.scale, one.inverse))
    rows, columns = weight.shape[-2:]
    blocks = weight.reshape(*weight.shape[:-2], rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    scale = scale_of(blocks.detach().abs().float().amax(dim=(-1, -3)), format_name, power_of_two)
    values = _round(blocks, scale.unsqueeze(-1).unsqueeze(-3), format_name).view(weight.shape)
    turned_scale = scale.transpose(-1, -2).contiguous()
    return WeightPair(
        Quantized(values, scale, scale.reciprocal()),
        Quantized(values.transpose(-1, -2).contiguous(), turned_scale, turned_scale.reciprocal()),
    )


class Columns(NamedTuple):
    """Where columns of turned rows come from."""

    row_Q: Tensor
    """int32: row of each column, -1: a column of zeros."""
    choice_P: Tensor
    """int32: choice of each row; its token is choice // top_k."""
    top_k: int


def transposed(
    values_RC: Tensor, columns: Columns | None = None, factor_P: Tensor | None = None, *, by_token: bool = False
) -> Tensor:
    """FP8 rows as columns [C, Q]: all of them, or those of `columns`, each multiplied by its row's factor. `by_token`: the
    values are of tokens, and a row's are its token's.

    A factor that is a power of two and at most one rounds nothing but what falls below the format's range.
    """
    if _fast(values_RC):
        return fast.transposed(values_RC, columns, factor_P, by_token)
    rows = values_RC.float()
    if columns is None:
        rows = rows if factor_P is None else rows * factor_P.unsqueeze(1)
        return rows.to(values_RC.dtype).t().contiguous()
    row_Q = columns.row_Q.clamp(min=0).long()
    origin_Q = columns.choice_P[row_Q].long() // columns.top_k if by_token else row_Q
    picked = rows.index_select(0, origin_Q)
    if factor_P is not None:
        picked = picked * factor_P[row_Q].unsqueeze(1)
    return torch.where((columns.row_Q >= 0).unsqueeze(1), picked, 0.0).to(values_RC.dtype).t().contiguous()


def dequantize(q: Quantized, dtype: torch.dtype) -> Tensor:
    """The numbers that the values stand for, rounded to `dtype`."""
    if q.scale is None:
        return (q.values.float() * _as_wide(q.inverse, q.values)).to(dtype)
    return (q.values.float() / _as_wide(q.scale, q.values)).to(dtype)


def _as_wide(scale: Tensor, values: Tensor) -> Tensor:
    """A scale in a shape that values can be multiplied by."""
    if scale.dim() < values.dim():
        return scale.unsqueeze(-1) if scale.dim() else scale
    wide = scale.repeat_interleave(BLOCK, -1)
    return wide if wide.shape == values.shape else wide.repeat_interleave(BLOCK, -2)


def scale_of(amax: Tensor, format_name: str, power_of_two: bool) -> Tensor:
    """The scale for values of at most this magnitude (float32); for zeros the steepest."""
    largest = torch.finfo(FORMATS[format_name]).max
    scale = torch.where(amax > 0, largest / amax, torch.full_like(amax, _STEEPEST)).clamp(max=_STEEPEST)
    if power_of_two:
        scale = (scale.view(torch.int32) & 0x7F800000).view(torch.float32)
    return scale


def quantization_counts(q: Quantized) -> Tensor:
    """int64 [3] on the device: values in slices that are not all zero, zeros among them, values at the format's largest.

    Zeros are what underflowed and what was zero before. With scales from the values themselves the largest of each slice is
    at the top by construction; more than that is clipping.
    """
    magnitude = q.values.view(torch.uint8) & 0x7F
    top = torch.tensor(torch.finfo(q.values.dtype).max).to(q.values.dtype).view(torch.uint8).item()
    used = (magnitude != 0).any(dim=-1, keepdim=True)
    values = used.sum() * magnitude.shape[-1]
    return torch.stack((values, ((magnitude == 0) & used).sum(), (magnitude == top).sum()))


def _fast(x: Tensor) -> bool:
    return launches(x) and not is_fake(x) and x.numel() > 0 and x.dim() > 1


def _round(x: Tensor, scale: Tensor, format_name: str) -> Tensor:
    target = FORMATS[format_name]
    largest = torch.finfo(target).max
    return (x.detach().float() * scale).clamp(-largest, largest).to(target)

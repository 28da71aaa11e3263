"""Rows back to tokens: each token's K rows gathered and summed, without atomics.

Shapes: T tokens, H hidden, K experts a token, R rows in expert order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["gather_sum", "with_nothing"]


def with_nothing(rows: Tensor, place: Tensor) -> Tensor:
    """A row of zeros after the last where some choices have no row."""
    return rows if place.numel() == rows.shape[0] else torch.cat((rows, rows.new_zeros(1, *rows.shape[1:])))


def gather_sum(rows_RH: Tensor, place_TK: Tensor) -> Tensor:
    """Each token's K rows summed [T, H], without a gradient; a choice with place R adds nothing.

    CUDA: the sum is float32 and rounded once. Elsewhere: in the rows' dtype, in the order of the token's choices.
    """
    if launches(rows_RH) and not is_fake(rows_RH) and place_TK.numel() and rows_RH.dtype != torch.float64:
        rows_RH = rows_RH.contiguous()
        (tokens, top_k), (rows, hidden) = place_TK.shape, rows_RH.shape
        y_TH = rows_RH.new_empty(tokens, hidden)
        _sum_kernel[(tokens,)](rows_RH, place_TK, y_TH, rows, hidden, top_k, next_power_of_2(hidden), num_warps=8)
        return y_TH
    rows_RH = with_nothing(rows_RH, place_TK)
    total_TH = rows_RH.index_select(0, place_TK[:, 0])
    for slot in range(1, place_TK.shape[1]):
        total_TH = total_TH + rows_RH.index_select(0, place_TK[:, slot])
    return total_TH


@jit
def _sum_kernel(rows_RH, place_TK, y_TH, rows, hidden, K: tl.constexpr, H: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, H)
    inside = column < hidden
    total = tl.zeros((H,), tl.float32)
    for slot in tl.static_range(K):
        place = tl.load(place_TK + token * K + slot).to(tl.int64)
        total += tl.load(rows_RH + place * hidden + column, mask=inside & (place < rows), other=0.0).to(tl.float32)
    tl.store(y_TH + token * hidden + column, total.to(y_TH.dtype.element_ty), mask=inside)

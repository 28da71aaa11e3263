"""Tokens as rows in expert order, each token read once.

Shapes: T tokens, H hidden, K experts a token, R rows in expert order.
"""

from __future__ import annotations

from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["gather_rows"]


def gather_rows(x_TH: Tensor, order_R: Tensor, place_TK: Tensor) -> Tensor:
    """`x_TH[order_R // K]` → [R, H], without a gradient.

    CUDA: each token is read once and written to its rows. Elsewhere: an index.
    """
    if launches(x_TH) and not is_fake(x_TH) and x_TH.numel():
        x_TH = x_TH.contiguous()
        rows_RH = x_TH.new_empty(order_R.shape[0], x_TH.shape[1])
        tokens, hidden = x_TH.shape
        _gather_kernel[(tokens,)](
            x_TH, place_TK, rows_RH, rows_RH.shape[0], hidden, place_TK.shape[1], next_power_of_2(hidden), num_warps=8
        )
        return rows_RH
    return x_TH.index_select(0, order_R // place_TK.shape[1])


@jit
def _gather_kernel(x_TH, place_TK, rows_RH, rows, hidden, K: tl.constexpr, H: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, H)
    inside = column < hidden
    value = tl.load(x_TH + token * hidden + column, mask=inside)
    for slot in tl.static_range(K):
        place = tl.load(place_TK + token * K + slot).to(tl.int64)
        tl.store(rows_RH + place * hidden + column, value, mask=inside & (place < rows))

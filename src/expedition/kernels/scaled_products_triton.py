"""Grouped products of FP8 factors of any two formats: each expert's rows by its matrix, and rows by rows summed.

Tiles come by the tensor memory accelerator, sums are float32, every program writes its own tile. torch's own grouped product
takes E4M3 alone, wants groups of multiples of 16 and gathers nothing on the way.

Shapes: P rows grouped by expert with ends [E], K inputs, N outputs, C columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expedition.kernels.triton_jit import jit, next_power_of_2, tl

__all__ = ["grouped", "grouped_outer"]

_LARGE = (128, 256, 128), 3, 8
_SMALL = (128, 128, 64), 4, 4
"""Tile of rows, columns and what is summed over, stages of loads, warps: the fastest of seven at the sizes of a MoE layer."""


@jit
def _grouped_kernel(  # type: ignore[no-untyped-def]
    a_PK,
    b_NK,
    a_TK,
    choice_P,
    out_PN,
    out_tiles,
    a_inverse,
    b_inverse,
    ends_E,
    outputs,
    inputs,
    experts,
    across,
    TOP_K: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    E: tl.constexpr,
):
    """A tile of one expert's rows. Tiles of one expert's weight lie next to each other: their rows come from the cache.

    TOP_K: rows are gathered on the way, each from the token of its choice; 0: they stand in order.
    """
    tile, column_tile = tl.program_id(0) // across, tl.program_id(0) % across
    expert_E = tl.arange(0, E)
    end_E = tl.load(ends_E + expert_E, mask=expert_E < experts, other=0)
    start_E = tl.load(ends_E + expert_E - 1, mask=(expert_E > 0) & (expert_E < experts), other=0)
    tiles_E = tl.where(expert_E < experts, (end_E - start_E + M - 1) // M, 0)
    until_E = tl.cumsum(tiles_E, axis=0)
    mine_E = (until_E > tile) & (until_E - tiles_E <= tile)
    if tl.sum(tiles_E, axis=0) > tile:
        expert = tl.sum(tl.where(mine_E, expert_E, 0), axis=0)
        end = tl.sum(tl.where(mine_E, end_E, 0), axis=0)
        first = tl.sum(tl.where(mine_E, start_E + (tile - until_E + tiles_E) * M, 0), axis=0)
        row = first + tl.arange(0, M)
        column = column_tile * N + tl.arange(0, N)
        origin = row
        if TOP_K:
            origin = tl.load(choice_P + row, mask=row < end, other=0) // TOP_K
            lane = tl.arange(0, K)
            at = a_TK + origin[:, None].to(tl.int64) * inputs + lane[None, :]
        total = tl.zeros((M, N), tl.float32)
        for k in range(0, inputs, K):
            if TOP_K:
                a = tl.load(at + k, mask=(k + lane < inputs)[None, :], other=0.0)
            else:
                a = a_PK.load([first, k])
            b = b_NK.load([expert * outputs + column_tile * N, k])
            total = tl.dot(a, b.T, total)
        total *= tl.load(a_inverse + origin, mask=row < end, other=0.0)[:, None]
        total *= tl.load(b_inverse + expert * outputs + column, mask=column < outputs, other=0.0)[None, :]
        result = total.to(out_PN.dtype.element_ty)
        if first + M <= end:
            out_tiles.store([first, column_tile * N], result)
        else:  # the rows after the group's end are the next one's
            place = row[:, None].to(tl.int64) * outputs + column[None, :]
            tl.store(out_PN + place, result, mask=(row < end)[:, None] & (column < outputs)[None, :])


def grouped(
    a_PK: Tensor,
    a_inverse_P: Tensor,
    b_ENK: Tensor,
    b_inverse_EN: Tensor,
    ends_E: Tensor,
    dtype: torch.dtype,
    *,
    choice: tuple[Tensor, int] | None = None,
    tile: tuple[int, int, int] | None = None,
    stages: int | None = None,
    warps: int | None = None,
) -> Tensor:
    """`a[rows of e] @ b[e].T` with scales of rows → [P, N]; rows after the last end are not written. K and N are multiples
    of 16.

    `choice`: choices of rows [P] (int32, -1 of padding) and K choices a token: then `a` and its inverses are of tokens.
    """
    from triton.tools.tensor_descriptor import TensorDescriptor

    inputs, (experts, outputs, _) = a_PK.shape[1], b_ENK.shape
    choice_P, top_k = (ends_E, 0) if choice is None else choice
    rows = a_PK.shape[0] if choice is None else choice_P.shape[0]
    # Few blocks to sum: the time goes to writing tiles, which two small programs a processor do beside each other's sums.
    chosen = _SMALL if inputs < 1024 and choice is None else _LARGE
    m, n, k = tile or chosen[0]
    out = torch.empty(rows, outputs, dtype=dtype, device=a_PK.device)
    across = -(-outputs // n)
    a = TensorDescriptor.from_tensor(a_PK, [m, k])
    b = TensorDescriptor.from_tensor(b_ENK.view(experts * outputs, inputs), [n, k])
    tiles = TensorDescriptor.from_tensor(out, [m, n])
    _grouped_kernel[((-(-rows // m) + experts) * across,)](
        a, b, a_PK, choice_P, out, tiles, a_inverse_P, b_inverse_EN, ends_E, outputs, inputs, experts, across, top_k, m, n, k,
        next_power_of_2(experts), num_warps=warps or chosen[2], num_stages=stages or chosen[1],
    )  # fmt: skip
    return out


@jit
def _outer_kernel(  # type: ignore[no-untyped-def]
    a_CP,
    b_KP,
    out_ECK,
    out_tiles,
    scale_E,
    ends_E,
    heights,
    widths,
    down,
    across,
    WHOLE: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
):
    """A tile of one expert's sum over its rows, in whole blocks of them."""
    expert = tl.program_id(0) // (down * across)
    tile = tl.program_id(0) % (down * across)
    row, column = tile // across * M, tile % across * N
    end = tl.load(ends_E + expert)
    start = tl.load(ends_E + expert - 1, mask=expert > 0, other=0)
    total = tl.zeros((M, N), tl.float32)
    for k in range(start, end, K):
        total = tl.dot(a_CP.load([row, k]), b_KP.load([column, k]).T, total)
    result = (total * tl.load(scale_E + expert)).to(out_ECK.dtype.element_ty)
    if WHOLE:
        out_tiles.store([expert * heights + row, column], result)
    else:
        height, width = row + tl.arange(0, M), column + tl.arange(0, N)
        place = (expert.to(tl.int64) * heights + height)[:, None] * widths + width[None, :]
        tl.store(out_ECK + place, result, mask=(height < heights)[:, None] & (width < widths)[None, :])


def grouped_outer(
    a_CP: Tensor,
    b_KP: Tensor,
    scale_E: Tensor,
    ends_E: Tensor,
    dtype: torch.dtype,
    *,
    tile: tuple[int, int, int] = (128, 256, 128),
    stages: int = 3,
    warps: int = 8,
) -> Tensor:
    """`scale[e] · a[:, rows of e] @ b[:, rows of e].T` → [E, C, K], zeros for an expert without rows. Ends are multiples of
    128, C and K of 16."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    heights, widths, experts = a_CP.shape[0], b_KP.shape[0], ends_E.shape[0]
    m, n, k = tile
    out = torch.empty(experts, heights, widths, dtype=dtype, device=a_CP.device)
    down, across = -(-heights // m), -(-widths // n)
    a, b = TensorDescriptor.from_tensor(a_CP, [m, k]), TensorDescriptor.from_tensor(b_KP, [n, k])
    tiles = TensorDescriptor.from_tensor(out.view(experts * heights, widths), [m, n])
    _outer_kernel[(experts * down * across,)](
        a, b, out, tiles, scale_E, ends_E, heights, widths, down, across, heights % m == 0, m, n, k, num_warps=warps,
        num_stages=stages,
    )  # fmt: skip
    return out

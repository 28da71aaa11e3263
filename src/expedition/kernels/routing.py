"""Routing: choices of experts sorted by expert, and how many each expert has; deterministic, nothing read on the host.

Shapes: T tokens, K experts a token, E experts, R rows in expert order (T·K where every choice has a row), B blocks of
choices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.host import is_readable
from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["Routing", "counts_by_expert", "route", "route_reference"]


class Routing(NamedTuple):
    """Where rows come from and go to; order and places int32 or int64."""

    order_R: Tensor
    """Which of the T·K choices each row is."""
    place_TK: Tensor
    """Row of each choice: the inverse of `order_R`. A choice without a row (fewer rows than T·K) has place R."""
    counts_E: Tensor
    """Rows of each expert, int64."""


def route(ids_TK: Tensor, experts: int) -> Routing:
    """Sort choices of experts (integers in 0..E-1) by expert, tokens in order within one: no atomics, no values read.

    CUDA: a counting sort in three kernels. Elsewhere: a stable sort.
    """
    if launches(ids_TK) and not is_fake(ids_TK) and ids_TK.numel():
        return _counting_sort(ids_TK.contiguous(), experts)
    return route_reference(ids_TK, experts)


def route_reference(ids_TK: Tensor, experts: int) -> Routing:
    """`route` in plain torch."""
    flat_R = ids_TK.flatten()
    order_R = torch.argsort(flat_R, stable=True)
    place_R = torch.empty_like(order_R)
    place_R[order_R] = torch.arange(order_R.numel(), device=order_R.device)
    return Routing(order_R, place_R.view_as(ids_TK), _counts(flat_R, experts))


def counts_by_expert(ids_TK: Tensor, real_T: Tensor, experts: int) -> Tensor:
    """Choices of each expert by tokens that are real (bool [T]), int64 [E]."""
    if is_readable(ids_TK) and not launches(ids_TK):
        return torch.bincount(ids_TK[real_T].flatten(), minlength=experts)
    if launches(ids_TK) and not is_fake(ids_TK) and ids_TK.numel():
        ids_TK = ids_TK.contiguous()
        return _block_counts(ids_TK, experts, real_T.contiguous()).sum(1, dtype=torch.int64)
    nowhere_TK = torch.where(real_T.unsqueeze(1), ids_TK, ids_TK.new_full((), experts))
    return _counts(nowhere_TK.flatten(), experts)


def _counts(flat_R: Tensor, experts: int) -> Tensor:
    # Not bincount: its result has no shape before it runs, and it is not deterministic on CUDA.
    return (flat_R[:, None] == torch.arange(experts, device=flat_R.device)).sum(0)


_BLOCK = 128
"""Choices a program sorts; ranks inside a block are found by comparing each pair."""
_SLICE = 64
"""Experts that a block is compared with at a time."""


@jit
def _count_kernel(  # type: ignore[no-untyped-def]
    ids_R,
    real_T,
    counts_EB,
    rows,
    top_k,
    blocks,
    experts,
    MASKED: tl.constexpr,
    E: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Choices of each expert in one block."""
    block = tl.program_id(0)
    choice = block * BLOCK + tl.arange(0, BLOCK)
    inside = choice < rows
    if MASKED:
        inside = inside & (tl.load(real_T + choice // top_k, mask=inside, other=0) != 0)
    expert_B = tl.load(ids_R + choice, mask=inside, other=-1).to(tl.int32)
    for first in tl.static_range(0, E, SLICE):
        expert = first + tl.arange(0, SLICE)
        count = tl.sum((expert_B[:, None] == expert[None, :]).to(tl.int32), axis=0)
        tl.store(counts_EB + expert * blocks + block, count, mask=expert < experts)


@jit
def _prefix_kernel(counts_EB, before_EB, total_E, blocks, BLOCKS: tl.constexpr):  # type: ignore[no-untyped-def]
    """For one expert: its choices in the blocks before each block, and in all."""
    expert = tl.program_id(0)
    block = tl.arange(0, BLOCKS)
    count = tl.load(counts_EB + expert * blocks + block, mask=block < blocks, other=0)
    until = tl.cumsum(count, axis=0)
    tl.store(before_EB + expert * blocks + block, until - count, mask=block < blocks)
    tl.store(total_E + expert, tl.sum(count, axis=0).to(tl.int64))


@jit
def _place_kernel(  # type: ignore[no-untyped-def]
    ids_R,
    before_EB,
    total_E,
    order_R,
    place_R,
    rows,
    blocks,
    experts,
    E: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Row of each choice of a block: rows of experts before its own, then of blocks before, then of the block."""
    block = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    choice = block * BLOCK + lane
    inside = choice < rows
    expert_B = tl.load(ids_R + choice, mask=inside, other=-1).to(tl.int32)
    again = tl.load(ids_R + choice, mask=inside, other=-1).to(tl.int32)
    earlier = (expert_B[:, None] == again[None, :]) & (lane[:, None] > lane[None, :])
    place = tl.sum(earlier.to(tl.int32), axis=1)
    place += tl.load(before_EB + expert_B * blocks + block, mask=inside, other=0)
    carried = 0
    for first in tl.static_range(0, E, SLICE):
        expert = first + tl.arange(0, SLICE)
        total = tl.load(total_E + expert, mask=expert < experts, other=0).to(tl.int32)
        start = carried + tl.cumsum(total, axis=0) - total
        place += tl.sum(tl.where(expert_B[:, None] == expert[None, :], start[None, :], 0), axis=1)
        carried += tl.sum(total, axis=0)
    tl.store(place_R + choice, place, mask=inside)
    tl.store(order_R + place, choice, mask=inside)


def _block_counts(ids_TK: Tensor, experts: int, real_T: Tensor | None = None) -> Tensor:
    """Choices of each expert by block [E, B], int32."""
    rows = ids_TK.numel()
    blocks = -(-rows // _BLOCK)
    counts_EB = torch.empty(experts, blocks, dtype=torch.int32, device=ids_TK.device)
    padded = max(_SLICE, next_power_of_2(experts))
    masked = real_T is not None
    _count_kernel[(blocks,)](
        ids_TK,
        real_T if masked else ids_TK,
        counts_EB,
        rows,
        ids_TK.shape[1],
        blocks,
        experts,
        masked,
        padded,
        _SLICE,
        _BLOCK,
    )
    return counts_EB


def _counting_sort(ids_TK: Tensor, experts: int) -> Routing:
    rows, device = ids_TK.numel(), ids_TK.device
    counts_EB = _block_counts(ids_TK, experts)
    blocks = counts_EB.shape[1]
    before_EB = torch.empty_like(counts_EB)
    total_E = torch.empty(experts, dtype=torch.int64, device=device)
    _prefix_kernel[(experts,)](counts_EB, before_EB, total_E, blocks, next_power_of_2(blocks))
    order_R = torch.empty(rows, dtype=torch.int32, device=device)
    place_TK = torch.empty(ids_TK.shape, dtype=torch.int32, device=device)
    padded = max(_SLICE, next_power_of_2(experts))
    _place_kernel[(blocks,)](
        ids_TK, before_EB, total_E, order_R, place_TK, rows, blocks, experts, padded, _SLICE, _BLOCK
    )
    return Routing(order_R, place_TK, total_E)

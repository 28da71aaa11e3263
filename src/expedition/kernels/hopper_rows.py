"""Products of experts' rows on Hopper: tokens are gathered on the way in, SwiGLU is made on the way out.

Shapes: R rows in expert order, T tokens, K experts a token, E experts, H hidden, F expert inner size, I columns of the rows
that are multiplied, N columns of the result, M tiles; in the kernels BM, BN, BK a tile's rows and columns and a step of I.

A program (one a multiprocessor) takes tiles of 128 rows of one expert in turn, and its warps share the work: one or two
bring blocks of both factors to a ring of stages in shared memory (weights and sorted rows by TMA, gathered rows by
asynchronous copies), two groups of four multiply 64 rows each (`wgmma`), two more warps store a tile while the next is
multiplied. No sum is made in an order that depends on timing.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expedition.kernels.gluon_jit import (
    TensorDescriptor,
    async_copy,
    fence_async_shared,
    gl,
    gluon_jit,
    gluon_kernel,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from expedition.kernels.triton_jit import jit, next_power_of_2, tl

__all__ = ["Tiles", "bind_thread", "hidden_and_act", "plan_tiles", "product"]

_ROWS, _COLUMNS, _STEP, _STAGES = 128, 256, 64, 3
"""A tile's rows and columns, a step along the summed dimension, steps that are under way at one time."""


class Tiles(NamedTuple):
    """Which rows each tile has; int32 on the device, nothing read on the host."""

    expert_M: Tensor
    row_M: Tensor
    """First row."""
    number: Tensor
    """Tiles that there are, [1]; the arrays are as long as there can be."""
    heavy_E: Tensor
    """Experts, those with most rows first."""


def plan_tiles(ends_E: Tensor, rows: int) -> Tiles:
    """Tiles of rows from the end of each expert's (int32)."""
    experts = ends_E.shape[0]
    most = rows // _ROWS + experts
    expert_M, row_M = (torch.empty(most, dtype=torch.int32, device=ends_E.device) for _ in range(2))
    count = torch.empty(1, dtype=torch.int32, device=ends_E.device)
    heavy_E = torch.empty_like(ends_E)
    padded = next_power_of_2(experts)
    _tiles_kernel[(most,)](ends_E, expert_M, row_M, count, heavy_E, experts, padded, _ROWS, num_warps=1)
    return Tiles(expert_M, row_M, count, heavy_E)


@jit
def _tiles_kernel(  # type: ignore[no-untyped-def]
    ends_E, expert_M, row_M, count, heavy_E, experts, E: tl.constexpr, ROWS: tl.constexpr
):
    expert = tl.arange(0, E)
    real = expert < experts
    end = tl.load(ends_E + expert, mask=real, other=0)
    begin = tl.load(ends_E + expert - 1, mask=real & (expert > 0), other=0)
    tiles = tl.where(real, (end - begin + ROWS - 1) // ROWS, 0)
    until = tl.cumsum(tiles, axis=0)
    tile = tl.program_id(0)
    owner = tl.sum((until <= tile).to(tl.int32), axis=0)
    mine = expert == owner
    before = tl.sum(tl.where(mine, until - tiles, 0), axis=0)
    first = tl.sum(tl.where(mine, begin, 0), axis=0)
    tl.store(expert_M + tile, owner, mask=owner < experts)
    tl.store(row_M + tile, first + (tile - before) * ROWS, mask=owner < experts)
    tl.store(count, tl.sum(tiles, axis=0), mask=tile == 0)
    rows = tl.where(real, end - begin, -1)
    own = tl.sum(tl.where(expert == tile, rows, 0), axis=0)
    above = (rows > own) | ((rows == own) & (expert < tile))
    tl.store(heavy_E + tl.sum((above & real).to(tl.int32), axis=0), tile, mask=tile < experts)


def hidden_and_act(
    x: Tensor, order_R: Tensor | None, top_k: int, weight_R: Tensor, ends_E: Tensor, tiles: Tiles, gate_up_E2FH: Tensor
) -> tuple[Tensor, Tensor]:
    """Hidden rows [R, 2F] and weighted SwiGLU [R, F]; with an order the rows are `x[order // top_k]`, else `x`."""
    rows = (x if order_R is None else order_R).shape[0]
    experts, columns, width = gate_up_E2FH.shape
    hidden_R2F, act_RF = x.new_empty(rows, columns), x.new_empty(rows, columns // 2)
    half = gate_up_E2FH.view(experts * 2, columns // 2, width)
    factor = TensorDescriptor.from_tensor(half, [2, _COLUMNS // 2, _STEP], _shared(3))
    stored = (hidden_R2F, act_RF, weight_R)
    _launch(x, order_R, top_k, factor, ends_E, tiles, stored, width, transposed=True, swiglu=True)
    return hidden_R2F, act_RF


def product(rows_RI: Tensor, ends_E: Tensor, tiles: Tiles, stack: Tensor, transposed: bool) -> Tensor:
    """Rows × their expert's matrix of a stack [E, N, I] if `transposed`, else [E, I, N] → [R, N]."""
    out_RN = rows_RI.new_empty(rows_RI.shape[0], stack.shape[1 if transposed else 2])
    block = [_COLUMNS, _STEP] if transposed else [_STEP, _COLUMNS]
    factor = TensorDescriptor.from_tensor(stack.view(-1, stack.shape[-1]), block, _shared(2))
    stored = (out_RN, out_RN, out_RN)
    _launch(rows_RI, None, 1, factor, ends_E, tiles, stored, rows_RI.shape[1], transposed, swiglu=False)
    return out_RN


def _shared(rank: int) -> Any:
    return gl.NVMMASharedLayout(128, 16, rank)


class _Bound(threading.local):
    """The device that a thread has called."""

    device: torch.device | None = None


_BOUND = _Bound()


def bind_thread(device: torch.device) -> None:
    """Call the device once from this thread: a new thread of autograd has no context yet, which a tensor map needs."""
    if _BOUND.device != device:
        torch.zeros(1, device=device)
        _BOUND.device = device


def _launch(
    x: Tensor,
    order_R: Tensor | None,
    top_k: int,
    factor: Any,
    ends_E: Tensor,
    tiles: Tiles,
    stored: tuple[Tensor, Tensor, Tensor],
    width: int,
    transposed: bool,
    swiglu: bool,
) -> None:
    """`stored`: the product, and with `swiglu` the weighted SwiGLU and the weights."""
    gathered = order_R is not None
    x = x.contiguous()
    bind_thread(x.device)
    columns = stored[0].shape[1]
    programs = torch.cuda.get_device_properties(x.device).multi_processor_count
    _rows_kernel[(programs,)](
        x if gathered else TensorDescriptor.from_tensor(x, [_ROWS, _STEP], _shared(2)),
        factor,
        *stored,
        order_R if gathered else ends_E,
        ends_E,
        tiles.expert_M,
        tiles.row_M,
        tiles.number,
        columns,
        -(-columns // _COLUMNS),
        width,
        top_k,
        transposed,
        gathered,
        swiglu,
        _ROWS,
        _COLUMNS,
        _STEP,
        _STAGES,
        programs,
        num_warps=4,
    )


@gluon_jit
def _produce(  # type: ignore[no-untyped-def]
    source,
    ring,
    plan,
    columns,
    width,
    top_k,
    TRANSPOSED: gl.constexpr,
    GATHERED: gl.constexpr,
    SWIGLU: gl.constexpr,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
):
    """Fill the ring: for each tile, for each step, a block of rows and a block of the expert's matrix."""
    x, factor, order_R, ends_E = source
    x_ring, factor_ring, ready, empty = ring
    expert_M, row_M, tiles, parts = plan
    BYTES: gl.constexpr = (BN * BK + (0 if GATHERED else BM * BK)) * 2
    COPY: gl.constexpr = gl.BlockedLayout([1, 8], [256 // BK, BK // 8], [2 if GATHERED else 1, 1], [1, 0])
    index = 0
    for tile in range(gl.program_id(0), tiles * parts, PROGRAMS):
        part = tile % parts
        expert = gl.load(expert_M + tile // parts)
        first = gl.load(row_M + tile // parts)
        if GATHERED:
            row = first + gl.arange(0, BM, layout=gl.SliceLayout(1, COPY))
            # Rows after the expert's last are token 0's: multiplied and not stored.
            choice = gl.load(order_R + row, mask=row < gl.load(ends_E + expert), other=0)
            at = gl.expand_dims((choice // top_k).to(gl.int64) * width, 1)
            rows = x + at + gl.expand_dims(gl.arange(0, BK, layout=gl.SliceLayout(0, COPY)), 0)
        for step in range(0, width, BK):
            stage = index % STAGES
            mbarrier.wait(empty.index(stage), ((index // STAGES) & 1) ^ 1)
            mbarrier.expect(ready.index(stage), BYTES)
            if GATHERED:
                async_copy.async_copy_global_to_shared(x_ring.index(stage), rows + step)
                async_copy.mbarrier_arrive(ready.index(stage), increment_count=False)
            else:
                tma.async_copy_global_to_shared(x, [first, step], ready.index(stage), x_ring.index(stage))
            into = factor_ring.index(stage)
            if SWIGLU:
                tma.async_copy_global_to_shared(factor, [expert * 2, part * (BN // 2), step], ready.index(stage), into)
            elif TRANSPOSED:
                tma.async_copy_global_to_shared(factor, [expert * columns + part * BN, step], ready.index(stage), into)
            else:
                tma.async_copy_global_to_shared(factor, [expert * width + step, part * BN], ready.index(stage), into)
            index += 1


@gluon_jit
def _consume(  # type: ignore[no-untyped-def]
    ring,
    wait,
    count,
    width,
    TRANSPOSED: gl.constexpr,
    GATHERED: gl.constexpr,
    SWIGLU: gl.constexpr,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
    HALF: gl.constexpr,
):
    """Multiply one half of each tile's rows; a stage is given back when its product is done, the sums go to `staged`."""
    x_ring, factor_ring, ready, empty = ring
    staged, full, free = wait
    ROWS: gl.constexpr = BM // 2
    MMA: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BN, 16])
    index = 0
    done = 0
    for _ in range(gl.program_id(0), count, PROGRAMS):
        total = gl.zeros((ROWS, BN), gl.float32, layout=MMA)
        for step in range(0, width, BK):
            stage = index % STAGES
            mbarrier.wait(ready.index(stage), (index // STAGES) & 1)
            if GATHERED:
                fence_async_shared()
            if SWIGLU:
                block = factor_ring.index(stage).reshape((BN, BK)).permute((1, 0))
            elif TRANSPOSED:
                block = factor_ring.index(stage).permute((1, 0))
            else:
                block = factor_ring.index(stage)
            total = warpgroup_mma(x_ring.index(stage).slice(HALF * ROWS, ROWS), block, total, is_async=True)
            total = warpgroup_mma_wait(1, deps=(total,))
            mbarrier.arrive(empty.index((index + STAGES - 1) % STAGES), count=1, pred=step > 0)
            index += 1
        total = warpgroup_mma_wait(0, deps=(total,))
        mbarrier.arrive(empty.index((index + STAGES - 1) % STAGES), count=1)
        mbarrier.wait(free.index(HALF), (done & 1) ^ 1)
        staged.index(HALF).store(total.to(gl.bfloat16))
        mbarrier.arrive(full.index(HALF), count=1)
        done += 1


@gluon_jit
def _store(  # type: ignore[no-untyped-def]
    wait,
    stored,
    ends_E,
    plan,
    columns,
    SWIGLU: gl.constexpr,
    BM: gl.constexpr,
    BN: gl.constexpr,
    PROGRAMS: gl.constexpr,
):
    """Store what the consumers have summed while they sum the next tile, a few rows at a time."""
    staged, full, free = wait
    out_RN, act_RF, weight_R = stored
    expert_M, row_M, tiles, parts = plan
    FEW: gl.constexpr = 8
    PASSES: gl.constexpr = BM // 2 // FEW
    done = 0
    for tile in range(gl.program_id(0), tiles * parts, PROGRAMS):
        part = tile % parts
        first = gl.load(row_M + tile // parts)
        end = gl.load(ends_E + gl.load(expert_M + tile // parts))
        for turn in range(2 * PASSES):
            mbarrier.wait(full.index(turn // PASSES), done & 1, pred=turn % PASSES == 0)
            top = first + turn * FEW
            sums = staged.index(turn)
            if SWIGLU:
                _store_swiglu(sums, out_RN, act_RF, weight_R, top, end, part * (BN // 2), columns // 2, FEW, BN)
            else:
                _store_product(sums, out_RN, top, end, part * BN, columns, FEW, BN)
            mbarrier.arrive(free.index(turn // PASSES), count=1, pred=turn % PASSES == PASSES - 1)
        done += 1


@gluon_jit
def _store_product(sums, out_RN, top, end, left, columns, FEW: gl.constexpr, BN: gl.constexpr):  # type: ignore[no-untyped-def]
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // BN, BN // 8], [2, 1], [1, 0])
    row = top + gl.arange(0, FEW, layout=gl.SliceLayout(1, LAYOUT))
    column = left + gl.arange(0, BN, layout=gl.SliceLayout(0, LAYOUT))
    inside = gl.expand_dims(row < end, 1) & gl.expand_dims(column < columns, 0)
    at = gl.expand_dims(row.to(gl.int64) * columns, 1) + gl.expand_dims(column, 0)
    gl.store(out_RN + at, sums.load(LAYOUT), mask=inside)


@gluon_jit
def _store_swiglu(  # type: ignore[no-untyped-def]
    sums, out_RN, act_RF, weight_R, top, end, left, inner, FEW: gl.constexpr, BN: gl.constexpr
):
    """Gate's columns are the tile's left half, those of the up projection its right half."""
    HALF: gl.constexpr = BN // 2
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HALF, HALF // 8], [2, 1], [1, 0])
    row = top + gl.arange(0, FEW, layout=gl.SliceLayout(1, LAYOUT))
    column = left + gl.arange(0, HALF, layout=gl.SliceLayout(0, LAYOUT))
    inside = gl.expand_dims(row < end, 1) & gl.expand_dims(column < inner, 0)
    at = gl.expand_dims(row.to(gl.int64), 1) * (2 * inner) + gl.expand_dims(column, 0)
    weight = gl.expand_dims(gl.load(weight_R + row, mask=row < end, other=0.0).to(gl.float32), 1)
    gate = sums.slice(0, HALF, dim=1).load(LAYOUT)
    up = sums.slice(HALF, HALF, dim=1).load(LAYOUT)
    gl.store(out_RN + at, gate, mask=inside)
    gl.store(out_RN + at + inner, up, mask=inside)
    gate = gate.to(gl.float32)
    act = gate / (1 + gl.exp(-gate)) * up.to(gl.float32) * weight
    short = gl.expand_dims(row.to(gl.int64), 1) * inner + gl.expand_dims(column, 0)
    gl.store(act_RF + short, act.to(gl.bfloat16), mask=inside)


@gluon_kernel("parts", "top_k")
def _rows_kernel(  # type: ignore[no-untyped-def]
    x,
    factor,
    out_RN,
    act_RF,
    weight_R,
    order_R,
    ends_E,
    expert_M,
    row_M,
    count,
    columns,
    parts,
    width,
    top_k,
    TRANSPOSED: gl.constexpr,
    GATHERED: gl.constexpr,
    SWIGLU: gl.constexpr,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
):
    x_ring = gl.allocate_shared_memory(gl.bfloat16, [STAGES, BM, BK], gl.NVMMASharedLayout(128, 16, 2))
    factor_ring = gl.allocate_shared_memory(gl.bfloat16, [STAGES] + factor.block_type.shape, factor.layout)
    ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        # TMA arrives once for all its bytes, each of the 64 copying threads for itself.
        mbarrier.init(ready.index(stage), count=65 if GATHERED else 1)
        mbarrier.init(empty.index(stage), count=2)
    # Eight rows repeat the pattern of this layout: half a tile and eight rows are views of the same memory.
    WAIT: gl.constexpr = gl.SwizzledSharedLayout(8, 1, 8, [1, 0])
    staged = gl.allocate_shared_memory(gl.bfloat16, [2, BM // 2, BN], WAIT)
    full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for half in gl.static_range(2):
        mbarrier.init(full.index(half), count=1)
        mbarrier.init(free.index(half), count=1)
    tiles = gl.load(count)
    source = (x, factor, order_R, ends_E)
    ring = (x_ring, factor_ring, ready, empty)
    half = (staged, full, free)
    few = (staged._reinterpret(gl.bfloat16, [BM // 8, 8, BN], WAIT), full, free)
    stored = (out_RN, act_RF, weight_R)
    plan = (expert_M, row_M, tiles, parts)
    work = tiles * parts
    gl.warp_specialize(
        [
            (_consume, (ring, half, work, width, TRANSPOSED, GATHERED, SWIGLU, BM, BN, BK, STAGES, PROGRAMS, 0)),
            (_consume, (ring, half, work, width, TRANSPOSED, GATHERED, SWIGLU, BM, BN, BK, STAGES, PROGRAMS, 1)),
            (_store, (few, stored, ends_E, plan, columns, SWIGLU, BM, BN, PROGRAMS)),
            (
                _produce,
                (source, ring, plan, columns, width, top_k, TRANSPOSED, GATHERED, SWIGLU, BM, BN, BK, STAGES, PROGRAMS),
            ),
        ],
        [4, 2, 2 if GATHERED else 1],
        [184, 136, 136],
    )

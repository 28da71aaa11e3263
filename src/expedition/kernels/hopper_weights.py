"""Weight gradients of experts on Hopper: for each expert its rows of one factor, transposed, times its rows of the other.

Shapes: R rows in expert order, E experts, M and N columns of the left and the right factor; in the kernels BM × BN a tile
of the result, BK rows a step.

The same division of work as in `hopper_rows`. Both factors come by TMA through a descriptor of ragged rows
(`triton.tools.ragged_tma`): rows after an expert's last arrive as zeros, so an expert without a row gets zeros, and no row
of another expert has a part in any sum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expedition.kernels.gluon_jit import (
    TensorDescriptor,
    create_ragged_descriptor,
    gl,
    gluon_jit,
    gluon_kernel,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from expedition.kernels.hopper_rows import bind_thread

__all__ = ["weight_gradient"]

_LINES, _COLUMNS, _STEP, _STAGES = 128, 256, 64, 3
"""A tile's rows and columns, rows of the factors a step, steps that are under way at one time."""


def weight_gradient(left_RM: Tensor, right_RN: Tensor, ends_E: Tensor, heavy_E: Tensor) -> Tensor:
    """`left[rows of e].T @ right[rows of e]` → [E, M, N].

    `heavy_E` is the order in which experts are taken: the longest first, so that no program is left with one at the end.
    """
    left_RM, right_RN = left_RM.contiguous(), right_RN.contiguous()
    bind_thread(left_RM.device)
    experts, lines, columns = ends_E.shape[0], left_RM.shape[1], right_RN.shape[1]
    out_EMN = left_RM.new_empty(experts, lines, columns)
    programs = torch.cuda.get_device_properties(left_RM.device).multi_processor_count
    _weights_kernel[(programs,)](
        _ragged(left_RM, _LINES),
        _ragged(right_RN, _COLUMNS),
        out_EMN,
        ends_E,
        heavy_E,
        lines,
        columns,
        experts,
        _LINES,
        _COLUMNS,
        _STEP,
        _STAGES,
        programs,
        num_warps=4,
    )
    return out_EMN


def _ragged(factor: Tensor, columns: int) -> Any:
    made = create_ragged_descriptor(factor, [_STEP, columns])
    return TensorDescriptor(made.base, made.shape, made.strides, made.block_shape, gl.NVMMASharedLayout(128, 16, 4))


@gluon_jit
def _produce(  # type: ignore[no-untyped-def]
    left,
    right,
    ring,
    plan,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
):
    """Fill the ring: for each tile, for each step, a block of either factor's rows."""
    left_ring, right_ring, ready, empty = ring
    ends_E, heavy_E, lines, columns, experts = plan
    # What a ragged descriptor takes for the number of rows: its coordinates count down from there.
    BIG: gl.constexpr = 0x40000000
    across = (columns + BN - 1) // BN
    tiles = across * ((lines + BM - 1) // BM)
    index = 0
    for tile in range(gl.program_id(0), experts * tiles, PROGRAMS):
        expert = gl.load(heavy_E + tile // tiles)
        top = (tile % tiles) // across * BM
        side = (tile % tiles) % across * BN
        end = gl.load(ends_E + expert)
        rows = end - gl.load(ends_E + expert - 1, mask=expert > 0, other=0)
        for step in range(0, rows, BK):
            stage = index % STAGES
            mbarrier.wait(empty.index(stage), ((index // STAGES) & 1) ^ 1)
            mbarrier.expect(ready.index(stage), (BM + BN) * BK * 2)
            row = BIG - rows + step
            tma.async_copy_global_to_shared(left, [BIG, end, row, top], ready.index(stage), left_ring.index(stage))
            tma.async_copy_global_to_shared(right, [BIG, end, row, side], ready.index(stage), right_ring.index(stage))
            index += 1


@gluon_jit
def _consume(  # type: ignore[no-untyped-def]
    ring,
    wait,
    plan,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
    HALF: gl.constexpr,
):
    """Multiply for one half of each tile's lines; a stage is given back when its product is done."""
    left_ring, right_ring, ready, empty = ring
    staged, full, free = wait
    ends_E, heavy_E, lines, columns, experts = plan
    ROWS: gl.constexpr = BM // 2
    MMA: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BN, 16])
    across = (columns + BN - 1) // BN
    tiles = across * ((lines + BM - 1) // BM)
    index = 0
    done = 0
    for tile in range(gl.program_id(0), experts * tiles, PROGRAMS):
        expert = gl.load(heavy_E + tile // tiles)
        rows = gl.load(ends_E + expert) - gl.load(ends_E + expert - 1, mask=expert > 0, other=0)
        total = gl.zeros((ROWS, BN), gl.float32, layout=MMA)
        for step in range(0, rows, BK):
            stage = index % STAGES
            mbarrier.wait(ready.index(stage), (index // STAGES) & 1)
            left = left_ring.index(stage).reshape((BK, BM)).slice(HALF * ROWS, ROWS, dim=1).permute((1, 0))
            right = right_ring.index(stage).reshape((BK, BN))
            total = warpgroup_mma(left, right, total, is_async=True)
            total = warpgroup_mma_wait(1, deps=(total,))
            mbarrier.arrive(empty.index((index + STAGES - 1) % STAGES), count=1, pred=step > 0)
            index += 1
        total = warpgroup_mma_wait(0, deps=(total,))
        mbarrier.arrive(empty.index((index + STAGES - 1) % STAGES), count=1, pred=rows > 0)
        mbarrier.wait(free.index(HALF), (done & 1) ^ 1)
        staged.index(HALF).store(total.to(gl.bfloat16))
        mbarrier.arrive(full.index(HALF), count=1)
        done += 1


@gluon_jit
def _store(wait, out_EMN, plan, BM: gl.constexpr, BN: gl.constexpr, PROGRAMS: gl.constexpr):  # type: ignore[no-untyped-def]
    """Store what the consumers have summed while they sum the next tile, eight rows at a time."""
    staged, full, free = wait
    _, heavy_E, lines, columns, experts = plan
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // BN, BN // 8], [2, 1], [1, 0])
    TURNS: gl.constexpr = BM // 8
    across = (columns + BN - 1) // BN
    tiles = across * ((lines + BM - 1) // BM)
    done = 0
    for tile in range(gl.program_id(0), experts * tiles, PROGRAMS):
        expert = gl.load(heavy_E + tile // tiles)
        top = (tile % tiles) // across * BM
        column = (tile % tiles) % across * BN + gl.arange(0, BN, layout=gl.SliceLayout(0, LAYOUT))
        for turn in range(TURNS):
            mbarrier.wait(full.index(turn // (TURNS // 2)), done & 1, pred=turn % (TURNS // 2) == 0)
            line = top + turn * 8 + gl.arange(0, 8, layout=gl.SliceLayout(1, LAYOUT))
            inside = gl.expand_dims(line < lines, 1) & gl.expand_dims(column < columns, 0)
            at = gl.expand_dims((expert * lines + line).to(gl.int64) * columns, 1) + gl.expand_dims(column, 0)
            gl.store(out_EMN + at, staged.index(turn).load(LAYOUT), mask=inside)
            mbarrier.arrive(free.index(turn // (TURNS // 2)), count=1, pred=turn % (TURNS // 2) == TURNS // 2 - 1)
        done += 1


@gluon_kernel("experts")
def _weights_kernel(  # type: ignore[no-untyped-def]
    left,
    right,
    out_EMN,
    ends_E,
    heavy_E,
    lines,
    columns,
    experts,
    BM: gl.constexpr,
    BN: gl.constexpr,
    BK: gl.constexpr,
    STAGES: gl.constexpr,
    PROGRAMS: gl.constexpr,
):
    left_ring = gl.allocate_shared_memory(gl.bfloat16, [STAGES] + left.block_type.shape, left.layout)
    right_ring = gl.allocate_shared_memory(gl.bfloat16, [STAGES] + right.block_type.shape, right.layout)
    ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(ready.index(stage), count=1)
        mbarrier.init(empty.index(stage), count=2)
    # Eight rows repeat the pattern of this layout: half a tile and eight rows are views of the same memory.
    WAIT: gl.constexpr = gl.SwizzledSharedLayout(8, 1, 8, [1, 0])
    staged = gl.allocate_shared_memory(gl.bfloat16, [2, BM // 2, BN], WAIT)
    full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for half in gl.static_range(2):
        mbarrier.init(full.index(half), count=1)
        mbarrier.init(free.index(half), count=1)
    ring = (left_ring, right_ring, ready, empty)
    half = (staged, full, free)
    few = (staged._reinterpret(gl.bfloat16, [BM // 8, 8, BN], WAIT), full, free)
    plan = (ends_E, heavy_E, lines, columns, experts)
    gl.warp_specialize(
        [
            (_consume, (ring, half, plan, BM, BN, BK, STAGES, PROGRAMS, 0)),
            (_consume, (ring, half, plan, BM, BN, BK, STAGES, PROGRAMS, 1)),
            (_store, (few, out_EMN, plan, BM, BN, PROGRAMS)),
            (_produce, (left, right, ring, plan, BM, BN, BK, STAGES, PROGRAMS)),
        ],
        [4, 2, 1],
        [184, 136, 136],
    )

"""Triton kernels of `quantize.py`: every program writes its own part, so the same input gives the same bits.

Shapes: R rows, C columns, E stacked matrices, N outputs, K inputs of a product, T given rows, P rows where they go to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expedition.kernels.triton_jit import jit, next_power_of_2, tl

__all__ = ["aligned", "inverse_of", "joined_rows", "rows", "scale_for", "tensor", "transposed", "weight"]

Parts = tuple[Tensor, Tensor, Tensor]
_TILE = 128
_PROGRAMS = 1024
_MOST_PARTS = 32


@jit
def inverse_of(scale):  # type: ignore[no-untyped-def]
    return tl.div_rn(tl.full(scale.shape, 1.0, tl.float32), scale)


@jit
def scale_for(amax, LARGEST: tl.constexpr, POWER: tl.constexpr):  # type: ignore[no-untyped-def]
    """`quantize.scale_of` for a block of magnitudes."""
    # As torch divides a number by a tensor.
    scale = tl.where(amax > 0, inverse_of(amax) * LARGEST, 8.507059173023462e37)
    scale = tl.minimum(scale, 8.507059173023462e37)
    if POWER:
        scale = (scale.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    return scale


@jit
def _rows_kernel(x, values, scales, inverses, rows, columns, LARGEST: tl.constexpr, POWER: tl.constexpr, R: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """Rows rounded with their own scales."""
    row = (tl.program_id(0) * R + tl.arange(0, R)).to(tl.int64)
    column = tl.arange(0, C)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    place = row[:, None] * columns + column[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    scale = scale_for(tl.max(tl.abs(value), axis=1), LARGEST, POWER)
    tl.store(values + place, (value * scale[:, None]).to(values.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale, mask=row < rows)
    tl.store(inverses + row, inverse_of(scale), mask=row < rows)


def rows(x_RC: Tensor, dtype: torch.dtype, power_of_two: bool) -> Parts:
    """Values, scales [R], inverses [R]."""
    values = torch.empty_like(x_RC, dtype=dtype)
    scale, inverse = _floats(x_RC, 2, x_RC.shape[0])
    count, columns = x_RC.shape
    width = next_power_of_2(columns)
    height = max(1, min(16, 2048 // width))
    _rows_kernel[(-(-count // height),)](
        x_RC, values, scale, inverse, count, columns, torch.finfo(dtype).max, power_of_two, height, width,
        num_warps=4 if width <= 4096 else 8,
    )  # fmt: skip
    return values, scale, inverse


@jit
def _joined_kernel(a, b, c, values, inverses, rows, a_columns, b_columns, c_columns, a_stride, b_stride, c_stride, LARGEST: tl.constexpr, POWER: tl.constexpr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """A row of three tensors beside each other, rounded with one scale."""
    row = tl.program_id(0).to(tl.int64)
    at_a, at_b, at_c = tl.arange(0, A)[None, :], tl.arange(0, B)[None, :], tl.arange(0, C)[None, :]
    in_a, in_b, in_c = at_a < a_columns, at_b < b_columns, at_c < c_columns
    value_a = tl.load(a + row * a_stride + at_a, mask=in_a, other=0.0).to(tl.float32)
    value_b = tl.load(b + row * b_stride + at_b, mask=in_b, other=0.0).to(tl.float32)
    value_c = tl.load(c + row * c_stride + at_c, mask=in_c, other=0.0).to(tl.float32)
    top = tl.maximum(tl.max(tl.abs(value_a), axis=1), tl.max(tl.abs(value_b), axis=1))
    scale = scale_for(tl.maximum(top, tl.max(tl.abs(value_c), axis=1)), LARGEST, POWER)
    tl.store(inverses + row + tl.arange(0, 1), inverse_of(scale))
    kind = values.dtype.element_ty
    out = values + row * (a_columns + b_columns + c_columns)
    tl.store(out + at_a, (value_a * scale[:, None]).to(kind), mask=in_a)
    tl.store(out + a_columns + at_b, (value_b * scale[:, None]).to(kind), mask=in_b)
    tl.store(out + a_columns + b_columns + at_c, (value_c * scale[:, None]).to(kind), mask=in_c)


def joined_rows(parts: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """Rows of three tensors [R, .] beside each other, rounded with one scale a row → values, inverses [R]."""
    a, b, c = (part if part.stride(-1) == 1 else part.contiguous() for part in parts)
    sizes = [part.shape[1] for part in (a, b, c)]
    rows = a.shape[0]
    values = torch.empty(rows, sum(sizes), dtype=dtype, device=a.device)
    (inverse,) = _floats(a, 1, rows)
    _joined_kernel[(rows,)](
        a, b, c, values, inverse, rows, *sizes, a.stride(0), b.stride(0), c.stride(0), torch.finfo(dtype).max, power_of_two,
        *(next_power_of_2(size) for size in sizes), num_warps=4,
    )  # fmt: skip
    return values, inverse


@jit
def _amax_kernel(x, partial, count, programs, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    program = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, SIZE)
    top = tl.zeros((SIZE,), tl.float32)
    for first in range(program * SIZE, count, programs * SIZE):
        value = tl.load(x + first + lane, mask=first + lane < count, other=0.0).to(tl.float32)
        top = tl.maximum(top, tl.abs(value))
    tl.store(partial + program, tl.max(top, axis=0))


@jit
def _tensor_kernel(  # type: ignore[no-untyped-def]
    x,
    partial,
    values,
    scales,
    inverses,
    count,
    programs,
    LARGEST: tl.constexpr,
    POWER: tl.constexpr,
    PROGRAMS: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Every program finds the scale again from the partial magnitudes: no launch between."""
    lane = tl.arange(0, PROGRAMS)
    top = tl.max(tl.load(partial + lane, mask=lane < programs, other=0.0), axis=0)
    scale = scale_for(tl.zeros((1,), tl.float32) + top, LARGEST, POWER)
    place = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float32)
    tl.store(values + place, (value * scale).to(values.dtype.element_ty), mask=place < count)
    if tl.program_id(0) == 0:
        one = tl.arange(0, 1)
        tl.store(scales + one, scale)
        tl.store(inverses + one, inverse_of(scale))


def tensor(x: Tensor, dtype: torch.dtype, power_of_two: bool) -> Parts:
    """Values, scale [], inverse []."""
    count, size = x.numel(), 4096
    programs = min(_PROGRAMS, -(-count // size))
    (partial,) = _floats(x, 1, programs)
    _amax_kernel[(programs,)](x, partial, count, programs, size, num_warps=8)
    values = torch.empty_like(x, dtype=dtype)
    scale, inverse = x.new_empty((), dtype=torch.float32), x.new_empty((), dtype=torch.float32)
    _tensor_kernel[(-(-count // size),)](
        x, partial, values, scale, inverse, count, programs, torch.finfo(dtype).max, power_of_two,
        next_power_of_2(programs), size, num_warps=8,
    )  # fmt: skip
    return values, scale, inverse


@jit
def _tile_amax_kernel(w, row_amax, column_amax, outputs, inputs, row_tiles, column_tiles, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Largest magnitudes of a tile's rows [E, K tiles, N] and columns [E, N tiles, K]."""
    row_tile, column_tile, matrix = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    row = row_tile * TILE + tl.arange(0, TILE)
    column = column_tile * TILE + tl.arange(0, TILE)
    inside = (row < outputs)[:, None] & (column < inputs)[None, :]
    place = matrix * outputs * inputs + row[:, None] * inputs + column[None, :]
    size = tl.abs(tl.load(w + place, mask=inside, other=0.0).to(tl.float32))
    tl.store(row_amax + (matrix * column_tiles + column_tile) * outputs + row, tl.max(size, axis=1), mask=row < outputs)
    tl.store(
        column_amax + (matrix * row_tiles + row_tile) * inputs + column, tl.max(size, axis=0), mask=column < inputs
    )


@jit
def _tile_scale(  # type: ignore[no-untyped-def]
    amax, first, length, parts, PARTS: tl.constexpr, TILE: tl.constexpr, LARGEST: tl.constexpr, POWER: tl.constexpr
):
    """Scales of TILE neighbours from the magnitudes that each of `parts` tiles found for them."""
    part = tl.arange(0, PARTS)
    lane = first + tl.arange(0, TILE)
    inside = (part < parts)[:, None] & (lane < length)[None, :]
    found = tl.load(amax + part[:, None] * length + lane[None, :], mask=inside, other=0.0)
    return scale_for(tl.max(found, axis=0), LARGEST, POWER)


@jit
def _tile_kernel(w, row_amax, column_amax, v, v_scale, v_inverse, t, t_scale, t_inverse, outputs, inputs, row_tiles, column_tiles, ROW_PARTS: tl.constexpr, COLUMN_PARTS: tl.constexpr, LARGEST: tl.constexpr, POWER: tl.constexpr, TILE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """A tile rounded with the scales of its rows, and turned with those of its columns."""
    row_tile, column_tile, matrix = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    row = row_tile * TILE + tl.arange(0, TILE)
    column = column_tile * TILE + tl.arange(0, TILE)
    inside = (row < outputs)[:, None] & (column < inputs)[None, :]
    start = matrix * outputs * inputs
    value = tl.load(w + start + row[:, None] * inputs + column[None, :], mask=inside, other=0.0).to(tl.float32)
    down = _tile_scale(
        row_amax + matrix * column_tiles * outputs,
        row_tile * TILE,
        outputs,
        column_tiles,
        ROW_PARTS,
        TILE,
        LARGEST,
        POWER,
    )
    across = _tile_scale(
        column_amax + matrix * row_tiles * inputs,
        column_tile * TILE,
        inputs,
        row_tiles,
        COLUMN_PARTS,
        TILE,
        LARGEST,
        POWER,
    )
    if column_tile == 0:
        tl.store(v_scale + matrix * outputs + row, down, mask=row < outputs)
        tl.store(v_inverse + matrix * outputs + row, inverse_of(down), mask=row < outputs)
    if row_tile == 0:
        tl.store(t_scale + matrix * inputs + column, across, mask=column < inputs)
        tl.store(t_inverse + matrix * inputs + column, inverse_of(across), mask=column < inputs)
    rounded = (value * down[:, None]).to(v.dtype.element_ty)
    turned = (value * across[None, :]).to(v.dtype.element_ty)
    tl.store(v + start + row[:, None] * inputs + column[None, :], rounded, mask=inside)
    _store_turned(t + start, turned, row, column, outputs, inputs)


@jit
def _block_kernel(w, v, v_scale, v_inverse, outputs, inputs, row_tiles, column_tiles, LARGEST: tl.constexpr, POWER: tl.constexpr, TILE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """A tile rounded with one scale of its own."""
    row_tile, column_tile, matrix = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    row = row_tile * TILE + tl.arange(0, TILE)
    column = column_tile * TILE + tl.arange(0, TILE)
    inside = (row < outputs)[:, None] & (column < inputs)[None, :]
    place = matrix * outputs * inputs + row[:, None] * inputs + column[None, :]
    value = tl.load(w + place, mask=inside, other=0.0).to(tl.float32)
    scale = scale_for(tl.zeros((1,), tl.float32) + tl.max(tl.max(tl.abs(value), axis=1), axis=0), LARGEST, POWER)
    here = (matrix * row_tiles + row_tile) * column_tiles + column_tile + tl.arange(0, 1)
    tl.store(v_scale + here, scale)
    tl.store(v_inverse + here, inverse_of(scale))
    tl.store(v + place, (value * scale[:, None]).to(v.dtype.element_ty), mask=inside)


@jit
def _store_turned(t, tile, row, column, outputs, inputs):  # type: ignore[no-untyped-def]
    """A tile [N, K] to its place in [K, N]; turned as bytes, for which no meaning of theirs matters."""
    kept = (column < inputs)[:, None] & (row < outputs)[None, :]
    place = column[:, None] * outputs + row[None, :]
    tl.store(t + place, tl.trans(tile.to(tl.uint8, bitcast=True)), mask=kept)


def weight(w: Tensor, dtype: torch.dtype, granularity: str, power_of_two: bool) -> tuple[Parts, Parts]:
    """Parts of [.., N, K] and of [.., K, N]."""
    outputs, inputs = w.shape[-2:]
    stacked = w.shape[:-2]
    matrices = w.numel() // (outputs * inputs)
    if granularity == "tensorwise":
        values, scale, inverse = tensor(w, dtype, power_of_two)
        return (values, scale, inverse), (_turned(values), scale, inverse)
    row_tiles, column_tiles = -(-outputs // _TILE), -(-inputs // _TILE)
    grid = (row_tiles, column_tiles, matrices)
    sizes = outputs, inputs, row_tiles, column_tiles
    values, largest = torch.empty_like(w, dtype=dtype), torch.finfo(dtype).max
    if granularity == "blockwise":
        scale, inverse = _floats(w, 2, *stacked, row_tiles, column_tiles)
        _block_kernel[grid](w, values, scale, inverse, *sizes, largest, power_of_two, _TILE, num_warps=8)
        scales = scale.transpose(-1, -2).contiguous(), inverse.transpose(-1, -2).contiguous()
        return (values, scale, inverse), (_turned(values), *scales)
    turned = torch.empty(*stacked, inputs, outputs, dtype=dtype, device=w.device)
    here, there = _floats(w, 2, *stacked, outputs), _floats(w, 2, *stacked, inputs)
    (row_amax,) = _floats(w, 1, matrices * column_tiles * outputs)
    (column_amax,) = _floats(w, 1, matrices * row_tiles * inputs)
    _tile_amax_kernel[grid](w, row_amax, column_amax, *sizes, _TILE, num_warps=8)
    # Each tile reads what all tiles of its row or column found: many (a head's rows) are joined before.
    if row_tiles > _MOST_PARTS:
        column_amax, row_tiles = column_amax.view(matrices, row_tiles, inputs).amax(1), 1
    if column_tiles > _MOST_PARTS:
        row_amax, column_tiles = row_amax.view(matrices, column_tiles, outputs).amax(1), 1
    sizes = outputs, inputs, row_tiles, column_tiles
    _tile_kernel[grid](
        w, row_amax, column_amax, values, *here, turned.view(torch.uint8), *there, *sizes, next_power_of_2(column_tiles),
        next_power_of_2(row_tiles), largest, power_of_two, _TILE, num_warps=8,
    )  # fmt: skip
    return (values, here[0], here[1]), (turned, there[0], there[1])


def _turned(values: Tensor) -> Tensor:
    """[.., N, K] → [.., K, N]."""
    outputs, inputs = values.shape[-2:]
    turned = torch.empty(*values.shape[:-2], inputs, outputs, dtype=values.dtype, device=values.device)
    for source, target in zip(values.view(-1, outputs, inputs), turned.view(-1, inputs, outputs), strict=True):
        _transpose_into(source, None, None, target)
    return turned


@jit
def _transpose_kernel(values, row_Q, choice_P, factor, out, places, columns, LISTED: tl.constexpr, TOP_K: tl.constexpr, FACTOR: tl.constexpr, Q: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E501  # fmt: skip
    """LISTED: columns come from `row_Q`; TOP_K: values are of the tokens of these rows."""
    place = tl.program_id(0) * Q + tl.arange(0, Q)
    column = tl.program_id(1) * C + tl.arange(0, C)
    if LISTED:
        row = tl.load(row_Q + place, mask=place < places, other=-1)
    else:
        row = tl.where(place < places, place, -1)
    origin = row
    if TOP_K:
        origin = tl.load(choice_P + row, mask=row >= 0, other=0) // TOP_K
    inside = (row >= 0)[:, None] & (column < columns)[None, :]
    value = tl.load(values + origin[:, None].to(tl.int64) * columns + column[None, :], mask=inside, other=0.0)
    if FACTOR:
        scale = tl.load(factor + row, mask=row >= 0, other=0.0)
        value = (value.to(tl.float32) * scale[:, None]).to(values.dtype.element_ty)
    turned = tl.trans(value.to(tl.uint8, bitcast=True))
    kept = (column < columns)[:, None] & (place < places)[None, :]
    tl.store(out + column[:, None].to(tl.int64) * places + place[None, :], turned, mask=kept)


def transposed(values_RC: Tensor, columns: Any, factor_P: Tensor | None, by_token: bool) -> Tensor:
    """[C, Q]; `columns` is `quantize.Columns`."""
    count = values_RC.shape[0] if columns is None else columns.row_Q.shape[0]
    out = torch.empty(values_RC.shape[1], count, dtype=values_RC.dtype, device=values_RC.device)
    _transpose_into(values_RC, columns, factor_P, out, by_token)
    return out


def _transpose_into(values: Tensor, columns: Any, factor: Tensor | None, out: Tensor, by_token: bool = False) -> None:
    width, count = out.shape
    row_Q, choice_P, top_k = (values, values, 0) if columns is None else columns
    _transpose_kernel[(-(-count // _TILE), -(-width // _TILE))](
        values, row_Q, choice_P, values if factor is None else factor, out.view(torch.uint8), count, width,
        columns is not None, top_k if by_token else 0, factor is not None, _TILE, _TILE, num_warps=8,
    )  # fmt: skip


@jit
def _align_kernel(ends_E, row_Q, aligned_E, experts, places, ALIGNMENT: tl.constexpr, E: tl.constexpr, Q: tl.constexpr):  # type: ignore[no-untyped-def]  # fmt: skip
    """Columns of groups that each begin at a multiple of ALIGNMENT."""
    expert = tl.arange(0, E)
    end = tl.load(ends_E + expert, mask=expert < experts, other=0)
    start = tl.load(ends_E + expert - 1, mask=(expert > 0) & (expert < experts), other=0)
    count = tl.where(expert < experts, end - start, 0)
    length = (count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    until = tl.cumsum(length, axis=0)
    if tl.program_id(0) == 0:
        tl.store(aligned_E + expert, until, mask=expert < experts)
    place = tl.program_id(0) * Q + tl.arange(0, Q)
    offset = place[:, None] - (until - length)[None, :]
    mine = (offset >= 0) & (offset < count[None, :])
    row = tl.sum(tl.where(mine, start[None, :] + offset, 0), axis=1)
    row = tl.where(tl.sum(mine.to(tl.int32), axis=1) > 0, row, -1)
    tl.store(row_Q + place, row, mask=place < places)


def aligned(ends_E: Tensor, places: int, alignment: int) -> tuple[Tensor, Tensor]:
    """Row of each of `places` columns (-1: none), and the ends of the aligned groups, int32."""
    experts = ends_E.shape[0]
    row_Q = torch.empty(places, dtype=torch.int32, device=ends_E.device)
    aligned_E = torch.empty_like(ends_E)
    _align_kernel[(-(-places // 128),)](
        ends_E, row_Q, aligned_E, experts, places, alignment, next_power_of_2(experts), 128, num_warps=4
    )
    return row_Q, aligned_E


def _floats(like: Tensor, count: int, *shape: int) -> list[Tensor]:
    return [torch.empty(*shape, dtype=torch.float32, device=like.device) for _ in range(count)]

"""AdamW's update of many parameters in one launch: a table on the device says where their tensors lie.

The table is made in each step, since gradients are new tensors in each, in page-locked memory and copied without waiting.
A program updates one block of one parameter.

Shapes: P parameters, B blocks of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from expedition.kernels.rounding import BLOCK, Stream
from expedition.kernels.triton_jit import jit, tl

if TYPE_CHECKING:
    from expedition.kernels.adamw import AdamWRates, AdamWTensors

__all__ = ["Entry", "Kind", "entry_of", "launch"]

_BLOCK = 1024
_WARPS, _SCALED_WARPS = 4, 8
_COLUMNS = 16
_TYPES = (
    {}
    if tl is None
    else {
        torch.float32: tl.float32,
        torch.bfloat16: tl.bfloat16,
        torch.float16: tl.float16,
        torch.float8_e4m3fn: tl.float8e4nv,
    }
)


Kind = tuple[object, ...]
"""What a kernel is compiled for: the tensors' types (None: absent), one stretch or several, addresses aligned or not."""


class Entry(NamedTuple):
    """One parameter in the table."""

    kind: Kind
    tensors: AdamWTensors
    stream: Stream
    addresses: list[int]
    """0: absent."""


def entry_of(tensors: AdamWTensors, stream: Stream) -> Entry | None:
    """None where a tensor is not contiguous or three numbers do not say where its elements lie. Called for every parameter
    in every step, so in one pass."""
    if stream.stretches is None:
        return None
    kinds: list[object] = []
    addresses: list[int] = []
    together = 0
    for value in tensors:
        if value is None:
            kinds.append(None)
            addresses.append(0)
            continue
        if not value.is_contiguous():
            return None
        address = value.data_ptr()
        together |= address
        kinds.append(value.dtype)
        addresses.append(address)
    kinds.append(stream.stretches.run >= tensors.weight.numel())
    kinds.append(together % 16 == 0)
    return Entry(tuple(kinds), tensors, stream, addresses)


def launch(entries: Sequence[Entry], rates: AdamWRates, scalars_4: Tensor) -> None:
    """Update parameters of one kind.

    `scalars_4`: scale of the gradient, keep (0 or 1), both corrections.
    """
    one = entries[0].tensors
    counts = tuple(entry.tensors.weight.numel() for entry in entries)
    owner_B, first_P = _blocks(counts, _BLOCK, one.weight.device)
    if not owner_B.shape[0]:
        return
    changed = [
        value for entry in entries for value in (entry.tensors.weight, entry.tensors.first, entry.tensors.second)
    ]
    changed += [entry.tensors.working for entry in entries if entry.tensors.working is not None]
    # Autograd and caches of what is made of weights count changes; a kernel's they do not see.
    torch.autograd.graph.increment_version(changed)
    rows = [_row(entry, count, first) for entry, count, first in zip(entries, counts, first_P, strict=True)]
    table = torch.tensor(rows, dtype=torch.int64)
    if one.weight.is_cuda:
        table = table.pin_memory().to(one.weight.device, non_blocking=True)
    working = torch.bfloat16 if one.working is None else one.working.dtype
    *_, one_stretch, aligned = entries[0].kind
    _update_kernel[(owner_B.shape[0],)](
        table,
        owner_B,
        scalars_4,
        entries[0].stream.update,
        float(rates.learning_rate),
        1.0 - rates.learning_rate * rates.decay,
        float(rates.beta1),
        1.0 - rates.beta1,
        float(rates.beta2),
        1.0 - rates.beta2,
        float(rates.eps),
        WEIGHT=_TYPES[one.weight.dtype],
        GRADIENT=_TYPES[one.gradient.dtype],
        MOMENT=_TYPES[one.first.dtype],
        COPY=_TYPES[working],
        WORKING=one.working is not None,
        SCALED=one.first_scale is not None,
        ROUNDS=one.weight.dtype != torch.float32 or one.first.dtype != torch.float32,
        ONE_STRETCH=one_stretch,
        ALIGNED=aligned,
        COLUMNS=_COLUMNS,
        GROUP=BLOCK,
        BLOCK=_BLOCK,
        num_warps=_WARPS if one.first_scale is None else _SCALED_WARPS,
    )


def _row(entry: Entry, count: int, first_block: int) -> list[int]:
    """Addresses, key, elements, number of the first block, stretches, and room."""
    first, run, jump = entry.stream.stretches or (0, count, 0)
    return [*entry.addresses, entry.stream.key, count, first_block, first, run, jump, 0, 0, 0]


@lru_cache(maxsize=64)
def _blocks(counts: tuple[int, ...], block: int, device: torch.device) -> tuple[Tensor, list[int]]:
    """(parameter of each block, int32 on the device; first block of each parameter)."""
    sizes = torch.tensor([-(-count // block) for count in counts], dtype=torch.int64)
    owner_B = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), sizes)
    return owner_B.to(device), (sizes.cumsum(0) - sizes).tolist()


@jit
def _update_kernel(  # type: ignore[no-untyped-def]
    table,
    owners,
    scalars,
    update,
    learning_rate,
    shrink,
    beta1,
    rest1,
    beta2,
    rest2,
    eps,
    WEIGHT: tl.constexpr,
    GRADIENT: tl.constexpr,
    MOMENT: tl.constexpr,
    COPY: tl.constexpr,
    WORKING: tl.constexpr,
    SCALED: tl.constexpr,
    ROUNDS: tl.constexpr,
    ONE_STRETCH: tl.constexpr,
    ALIGNED: tl.constexpr,
    COLUMNS: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # A dropped update reads and writes nothing.
    if tl.load(scalars + 1) != 0.0:
        row = table + tl.load(owners + tl.program_id(0)) * COLUMNS
        begin = (tl.program_id(0) - tl.load(row + 9)) * BLOCK
        count = tl.load(row + 8)
        weight = _place(row, WEIGHT, begin, ALIGNED)
        gradient = _place(row + 1, GRADIENT, begin, ALIGNED)
        first = _place(row + 2, MOMENT, begin, ALIGNED)
        second = _place(row + 3, MOMENT, begin, ALIGNED)
        copy = _place(row + 4, COPY, begin, ALIGNED)
        first_scale = _place(row + 5, tl.float32, begin // GROUP, False)
        second_scale = _place(row + 6, tl.float32, begin // GROUP, False)
        index = tl.arange(0, BLOCK)
        inside = index < count - begin
        full = begin + BLOCK <= count  # without a mask memory is read 16 bytes at a time
        if full:
            g, m, v, w = _read(gradient, first, second, weight, index, inside, False)
        else:
            g, m, v, w = _read(gradient, first, second, weight, index, inside, True)
        if SCALED:
            m = m * tl.load(first_scale + index // GROUP, mask=inside, other=0.0)
            v = v * tl.load(second_scale + index // GROUP, mask=inside, other=0.0)
            v = v * v
        m, v = _new_moments(g * tl.load(scalars), m, v, beta1, rest1, beta2, rest2)
        denominator = tl.sqrt(v / tl.load(scalars + 3)) + eps
        w = w * shrink - learning_rate * (m / tl.load(scalars + 2)) / denominator
        bits = tl.zeros((BLOCK,), tl.int64)
        if ROUNDS:
            place = begin + index
            if not ONE_STRETCH:
                place = place // tl.load(row + 11) * tl.load(row + 12) + place % tl.load(row + 11)
            bits = _draw(tl.load(row + 7), tl.load(update), tl.load(row + 10) + place)
        if SCALED:
            group = tl.arange(0, BLOCK // GROUP)
            real = group < (count - begin) // GROUP
            m, scale = _rounded_block(tl.where(inside, m, 0.0), bits, 1, BLOCK, GROUP)
            tl.store(first_scale + group, scale, mask=real)
            v, scale = _rounded_block(tl.where(inside, tl.sqrt(v), 0.0), bits, 2, BLOCK, GROUP)
            tl.store(second_scale + group, scale, mask=real)
        held = _held(w, bits, 0, WEIGHT)
        m, v = _held(m, bits, 1, MOMENT), _held(v, bits, 2, MOMENT)
        if full:
            _write(first, second, weight, copy, index, inside, m, v, held, WORKING, False)
        else:
            _write(first, second, weight, copy, index, inside, m, v, held, WORKING, True)


@jit
def _new_moments(g, m, v, beta1, rest1, beta2, rest2):  # type: ignore[no-untyped-def]
    # torch.lerp's two forms: each is exact at its own end.
    m = tl.where(rest1 < 0.5, m + rest1 * (g - m), g - (g - m) * beta1)
    return m, v * beta2 + g * g * rest2


@jit
def _place(cell, kind: tl.constexpr, begin, ALIGNED: tl.constexpr):  # type: ignore[no-untyped-def]
    """A tensor's address in the table, moved to the block's first element."""
    place = tl.load(cell).to(tl.pointer_type(kind)) + begin
    if ALIGNED:
        place = tl.multiple_of(place, 16)
    return place


@jit
def _read(gradient, first, second, weight, index, inside, MASKED: tl.constexpr):  # type: ignore[no-untyped-def]
    if MASKED:
        g = tl.load(gradient + index, mask=inside, other=0.0).to(tl.float32)
        m = tl.load(first + index, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(second + index, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weight + index, mask=inside, other=0.0).to(tl.float32)
    else:
        g = tl.load(gradient + index).to(tl.float32)
        m = tl.load(first + index).to(tl.float32)
        v = tl.load(second + index).to(tl.float32)
        w = tl.load(weight + index).to(tl.float32)
    return g, m, v, w


@jit
def _write(  # type: ignore[no-untyped-def]
    first, second, weight, copy, index, inside, m, v, held, WORKING: tl.constexpr, MASKED: tl.constexpr
):
    if MASKED:
        tl.store(weight + index, held, mask=inside)
        tl.store(first + index, m, mask=inside)
        tl.store(second + index, v, mask=inside)
        if WORKING:
            tl.store(copy + index, held.to(tl.float32).to(copy.dtype.element_ty), mask=inside)
    else:
        tl.store(weight + index, held)
        tl.store(first + index, m)
        tl.store(second + index, v)
        if WORKING:
            tl.store(copy + index, held.to(tl.float32).to(copy.dtype.element_ty))


@jit
def _held(value, bits, LANE: tl.constexpr, kind: tl.constexpr):  # type: ignore[no-untyped-def]
    """`stochastic_round` where the target is bf16."""
    if kind == tl.bfloat16:
        whole = value.to(tl.int32, bitcast=True)
        low = ((bits >> (16 * LANE)) & 0xFFFF).to(tl.int32)
        rounded = ((whole + low) & -65536).to(tl.float32, bitcast=True)
        # An exponent of all ones: infinite or no number.
        value = tl.where((whole & 0x7F800000) == 0x7F800000, value, rounded)
    return value.to(kind)


@jit
def _rounded_block(value, bits, LANE: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr):  # type: ignore[no-untyped-def]
    """`rounding.round_blocks`, still fp32: (numbers that E4M3 holds, scales)."""
    value = tl.reshape(value, (BLOCK // GROUP, GROUP))
    largest = tl.max(tl.abs(value), 1)
    usable = largest > 1e-30
    scale = tl.where(usable, largest / 448.0, 1.0)
    size = tl.abs(value) * tl.where(usable, 448.0 / largest, 1.0)[:, None]
    exponent = tl.maximum(size.to(tl.int32, bitcast=True) >> 23, 121)
    step = ((exponent - 3) << 23).to(tl.float32, bitcast=True)
    steps = ((257 - exponent) << 23).to(tl.float32, bitcast=True)  # 1 / step
    share = tl.reshape(((bits >> (16 * LANE)) & 0xFFFF).to(tl.float32), (BLOCK // GROUP, GROUP)) / 65536.0
    size = tl.minimum(tl.floor(size * steps + share) * step, 448.0)
    return tl.reshape(tl.where(value < 0.0, -size, size), (BLOCK,)), scale


@jit
def _draw(key, update, offsets):  # type: ignore[no-untyped-def]
    """`rounding.draw`: SplitMix64 of the counter, in the stream of the update."""
    stream = _mix(update.to(tl.uint64) * 0x9E3779B97F4A7C15 + key.to(tl.uint64))
    return _mix((offsets + 1).to(tl.uint64) * 0x9E3779B97F4A7C15 + stream).to(tl.int64)


@jit
def _mix(value):  # type: ignore[no-untyped-def]
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB
    return value ^ (value >> 31)

"""Stochastic rounding to bf16, and to FP8 by blocks, with random bits that depend on nothing but names and numbers.

A bf16 weight that is rounded to nearest does not move while its update is below 2⁻⁹ of it. Rounded up with the
probability of what is cut off, it moves as it should on average (Gupta et al. 2015, arXiv:1502.02551; for language
models Zamirai et al. 2021, arXiv:2010.06192). The bits come from a counter, SplitMix64 (Steele, Lea & Flood 2014,
doi:10.1145/2660193.2660195): element i of a tensor in update n always gets the same ones, so a resumed run rounds
as the one that was not killed, and a sharded one as one process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "BLOCK",
    "LANES",
    "Stream",
    "Stretches",
    "Target",
    "draw",
    "lane",
    "put_",
    "round_blocks",
    "stochastic_round",
    "stream_key",
    "unround_blocks",
]

LANES = 4
"""Independent 16-bit numbers in one draw."""

_INCREMENT = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_LOW_16 = 0xFFFF
_BLOCK_ELEMENTS = 1 << 24

BLOCK = 256
"""Neighbours in the last dimension that share an FP8 scale."""
E4M3_LARGEST = 448.0
_ZERO = 1e-30
"""Blocks of no larger magnitude come out as zeros."""


class Stretches(NamedTuple):
    """Where a part's elements lie in the whole: element i at `first + (i // run) · jump + i % run`."""

    first: int
    run: int
    jump: int


class Target(NamedTuple):
    """What is written, and how: fp32 as it is, bf16 and E4M3 rounded with 16 bits of a lane."""

    held: Tensor
    value: Tensor
    """fp32, of the same shape."""
    lane: int
    scale: Tensor | None = None
    """Of E4M3, fp32 [.., C / 256]."""


class Stream(NamedTuple):
    """The random bits of one tensor's part in one update."""

    key: int
    """Of `stream_key`."""
    update: Tensor
    """int64 scalar: number of the update."""
    offsets: Callable[[slice], Tensor]
    """Of some rows of the part: each element's place in the whole, int64."""
    stretches: Stretches | None
    """The same as three numbers; None where they do not say it."""


def stream_key(seed: int, name: str) -> int:
    """64-bit key of a tensor's own stream, as a signed integer."""
    digest = hashlib.sha256(f"rounding/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def draw(key: int, update: Tensor, offsets: Tensor) -> Tensor:
    """64 random bits an element, int64 of `offsets`' shape.

    `update` int64 scalar on the device, `offsets` the elements' places in the whole tensor.
    """
    stream = _mix(update * _signed(_INCREMENT) + key)
    return _mix((offsets + 1) * _signed(_INCREMENT) + stream)


def lane(bits: Tensor, number: int) -> Tensor:
    """16 of the bits, int32 in 0 … 65535; `number` 0 … 3."""
    return (bits >> (16 * number) & _LOW_16).int()


def stochastic_round(value: Tensor, bits: Tensor) -> Tensor:
    """fp32 → bf16, one of the two neighbours, so that the expectation is the value.

    `bits` int32 in 0 … 65535 of `value`'s shape: added to what bf16 cuts off, they carry into what it keeps with the
    right probability. Values that bf16 holds stay as they are; those that are not finite too.
    """
    whole = value.contiguous().view(torch.int32)
    rounded = ((whole + bits) & ~_LOW_16).view(torch.float32)
    return torch.where(torch.isfinite(value), rounded, value).bfloat16()


def round_blocks(value: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 [.., C] → E4M3 of the same shape and fp32 scales [.., C / 256] to multiply it by; C a multiple of 256.

    A block's largest magnitude becomes the format's largest. The expectation is the value (as `stochastic_round`), so that
    a moment moves on average as it should: updates of 5 % are below half of E4M3's spacing.
    """
    blocks = value.reshape(*value.shape[:-1], -1, BLOCK)
    largest = blocks.abs().amax(-1)
    usable = largest > _ZERO
    scale = torch.where(usable, largest / E4M3_LARGEST, 1.0)
    size = blocks.abs() * torch.where(usable, E4M3_LARGEST / largest, 1.0).unsqueeze(-1)
    # Three bits after the leading one, and the same spacing below 2⁻⁶.
    exponent = (size.view(torch.int32) >> 23).clamp(min=127 - 6)
    step = ((exponent - 3) << 23).view(torch.float32)
    share = bits.view(blocks.shape).float() / (_LOW_16 + 1)
    size = ((size / step + share).floor() * step).clamp(max=E4M3_LARGEST)
    return torch.copysign(size, blocks).to(torch.float8_e4m3fn).view(value.shape), scale


def unround_blocks(values: Tensor, scale: Tensor) -> Tensor:
    """fp32 numbers that E4M3 values stand for."""
    return (values.float().reshape(*scale.shape, BLOCK) * scale.unsqueeze(-1)).reshape(values.shape)


def put_(targets: Sequence[Target], keep: Tensor, stream: Stream) -> None:
    """Write values where `keep` (bool scalar) is true, in place; targets are alike in shape.

    A select, not a product: 0 × NaN is NaN.
    """
    rounded = [target for target in targets if target.held.dtype != torch.float32]
    for target in targets:
        if target.held.dtype == torch.float32:
            target.held.copy_(torch.where(keep, target.value, target.held))
    for rows in _blocks(rounded[0].held) if rounded else ():
        bits = draw(stream.key, stream.update, stream.offsets(rows))
        for target in rounded:
            part, value, own = target.held[rows], target.value[rows], lane(bits, target.lane)
            if target.scale is None:
                part.copy_(torch.where(keep, stochastic_round(value, own), part))
            else:
                _put_blocks(part, target.scale[rows], value, own, keep)


def _put_blocks(held: Tensor, held_scale: Tensor, value: Tensor, bits: Tensor, keep: Tensor) -> None:
    values, scale = round_blocks(value, bits)
    bytes_held = held.view(torch.uint8)  # a select of FP8 values exists on no device
    bytes_held.copy_(torch.where(keep, values.view(torch.uint8), bytes_held))
    held_scale.copy_(torch.where(keep, scale, held_scale))


def _blocks(held: Tensor) -> Iterator[slice]:
    """Rows of the first dimension, so many at a time that their random bits take little memory."""
    size = max(1, _BLOCK_ELEMENTS * held.shape[0] // max(1, held.numel()))
    for first in range(0, held.shape[0], size):
        yield slice(first, first + size)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 arithmetic that wraps around."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        value = (value ^ _shifted(value, shift)) * _signed(factor)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: int64's own copies the sign."""
    return value >> bits & (1 << (64 - bits)) - 1


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value

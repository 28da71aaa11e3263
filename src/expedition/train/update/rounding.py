"""Stochastic rounding to bf16 with random bits that depend on nothing but names and numbers.

A bf16 weight that is rounded to nearest does not move while its update is below 2⁻⁹ of it. Rounded up with the
probability of what is cut off, it moves as it should on average (Gupta et al. 2015, arXiv:1502.02551; for language
models Zamirai et al. 2021, arXiv:2010.06192). The bits come from a counter, SplitMix64 (Steele, Lea & Flood 2014,
doi:10.1145/2660193.2660195): element i of a tensor in update n always gets the same ones, so a resumed run rounds
as the one that was not killed, and a sharded one as one process.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

LANES = 4
"""Independent 16-bit numbers in one draw."""

_INCREMENT = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_LOW_16 = 0xFFFF


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

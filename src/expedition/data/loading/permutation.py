"""A keyed permutation of 0..n-1 that stores nothing: any element in constant time, for any n up to 2^62.

A balanced Feistel network over the smallest even number of bits that covers n, with cycle walking: a value that falls
outside 0..n-1 is sent through again until it falls inside (Black & Rogaway 2002, "Ciphers with arbitrary finite
domains"). The network covers fewer than 4n values, so the mean number of passes is below 4.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

ROUNDS = 6
"""Feistel rounds: four make a strong pseudo-random permutation of a random round function; two more for small n."""

IntArray = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]
_WORD = (1 << 64) - 1


def derive_key(*parts: str | int) -> int:
    """A 64-bit key from a path of names and numbers; different paths give independent keys."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def permute(index: npt.ArrayLike, size: int, key: int) -> IntArray:
    """Image of `index` (integers in 0..size-1, any shape) under the permutation of `size` elements named by `key`.

    A bijection for each key; equal on every machine and NumPy version (integer arithmetic only). Raises ValueError
    for an index outside the range.
    """
    values = np.asarray(index, dtype=np.int64)
    if size < 1 or (values.size and (int(values.min()) < 0 or int(values.max()) >= size)):
        raise ValueError(f"index outside 0..{size - 1}")
    half_bits = np.uint64(_half_bits(size))
    keys = _round_keys(key)
    out = values.astype(np.uint64).reshape(-1)
    walking = np.arange(out.size)
    while walking.size:
        out[walking] = _feistel(out[walking], half_bits, keys)
        walking = walking[out[walking] >= np.uint64(size)]
    return out.astype(np.int64).reshape(values.shape)


def permute_one(index: int, size: int, key: int) -> int:
    """`permute` of a single index, in plain integers: the same value, without the cost of small arrays."""
    if not 0 <= index < size:
        raise ValueError(f"index outside 0..{size - 1}")
    half_bits = _half_bits(size)
    mask = (1 << half_bits) - 1
    keys = _round_keys(key)
    value = index
    while True:
        left, right = value >> half_bits, value & mask
        for round_key in keys:
            left, right = right, left ^ (_mix_one((right + round_key) & _WORD) & mask)
        value = (left << half_bits) | right
        if value < size:
            return value


def _half_bits(size: int) -> int:
    return max(1, ((size - 1).bit_length() + 1) // 2)


@lru_cache(maxsize=4096)
def _round_keys(key: int) -> tuple[int, ...]:
    return tuple(derive_key(key, number) for number in range(ROUNDS))


def _feistel(values: _Words, half_bits: np.uint64, keys: tuple[int, ...]) -> _Words:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = values >> half_bits, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + np.uint64(key)) & mask)
    return (left << half_bits) | right


def _mix(words: _Words) -> _Words:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _mix_one(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)

"""A keyed permutation of 0..n-1 that stores nothing: any element in constant time, for any n up to 2^62.

An alternating Feistel network over the smallest number of bits that covers n (each round changes one of the two parts
by a keyed function of the other), with cycle walking: a value that falls outside 0..n-1 is sent through again until it
falls inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). Above 32 the network covers fewer than 2n
values, so the mean number of passes is below 2. All arithmetic is on 64-bit integers: equal on every machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

ROUNDS = 6
"""Feistel rounds: four make a strong pseudo-random permutation of a random round function; two more for small n."""
MIN_BITS = 6
"""Smallest network: over fewer bits its images are uneven (a tenth off at 3 bits, within noise at 6)."""

IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def derive_key(*parts: str | int) -> int:
    """A 64-bit key from a path of names and numbers; different paths give independent keys."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def child_key(key: int, number: int) -> int:
    """The `number`-th key (≥ 0) under `key`: what `derive_key` does for one number, in a fraction of its time."""
    return mix_one(key ^ mix_one(number + _GOLDEN & _WORD))


def child_keys(keys: Words, numbers: npt.ArrayLike) -> Words:
    """`child_key` of many keys and numbers, element by element."""
    return mix(keys ^ mix(np.asarray(numbers).astype(np.uint64) + np.uint64(_GOLDEN)))


def shuffled(count: int, key: int) -> IntArray:
    """0..count-1 in the order of their keyed hashes: a uniform permutation, held whole (for short lists)."""
    return np.argsort(child_keys(np.uint64(key), np.arange(count)), kind="stable")  # type: ignore[arg-type]


def permute(index: npt.ArrayLike, size: npt.ArrayLike, key: npt.ArrayLike) -> IntArray:
    """Images of `index` under the permutations of `size` elements named by `key`; the three broadcast.

    A bijection of 0..size-1 for each key. Raises ValueError for an index outside its range.
    """
    values, sizes, keys = np.broadcast_arrays(np.asarray(index, np.int64), np.asarray(size, np.int64), _words(key))
    if values.size and bool(((values < 0) | (values >= sizes)).any()):
        raise ValueError(f"index outside 0..{int(sizes.min()) - 1}")
    out, limit, keys = values.astype(np.uint64).ravel(), sizes.astype(np.uint64).ravel(), keys.ravel()
    bits = np.maximum(_bit_length(limit), np.uint64(MIN_BITS))
    walking = np.arange(out.size)
    while walking.size:
        image = _feistel(out[walking], bits[walking], keys[walking])
        out[walking] = image
        walking = walking[image >= limit[walking]]
    return out.astype(np.int64).reshape(values.shape)


def permute_one(index: int, size: int, key: int) -> int:
    """`permute` of a single index, in plain integers: the same value, without the cost of small arrays."""
    if not 0 <= index < size:
        raise ValueError(f"index outside 0..{size - 1}")
    bits = max(MIN_BITS, (size - 1).bit_length())
    low_bits = bits - bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << bits // 2) - 1
    first, second, third, fourth, fifth, sixth = _round_keys(key)
    value = index
    while True:
        high, low = value >> low_bits, value & low_mask
        high ^= mix_one(low + first & _WORD) & high_mask
        low ^= mix_one(high + second & _WORD) & low_mask
        high ^= mix_one(low + third & _WORD) & high_mask
        low ^= mix_one(high + fourth & _WORD) & low_mask
        high ^= mix_one(low + fifth & _WORD) & high_mask
        low ^= mix_one(high + sixth & _WORD) & low_mask
        value = high << low_bits | low
        if value < size:
            return value


def mix(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014), a bijection of 64-bit words."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_SECOND)
    return words ^ (words >> np.uint64(31))


def mix_one(word: int) -> int:
    """`mix` of one word (0 ≤ word < 2^64)."""
    word = ((word ^ word >> 30) * _FIRST) & _WORD
    word = ((word ^ word >> 27) * _SECOND) & _WORD
    return word ^ word >> 31


@lru_cache(maxsize=65_536)
def _round_keys(key: int) -> tuple[int, ...]:
    return tuple(mix_one(key + (number + 1) * _GOLDEN & _WORD) for number in range(ROUNDS))


def _words(key: npt.ArrayLike) -> Words:
    return np.asarray(key, dtype=np.uint64)


def _bit_length(sizes: Words) -> Words:
    """Bits that hold 0..size-1; exact, which a logarithm in floating point would not be."""
    last = sizes - np.uint64(1)
    bits = np.zeros(len(sizes), dtype=np.uint64)
    for shift in (32, 16, 8, 4, 2, 1):
        above = (last >> np.uint64(shift)) > 0
        bits[above] += np.uint64(shift)
        last = np.where(above, last >> np.uint64(shift), last)
    return bits + last


def _feistel(values: Words, bits: Words, keys: Words) -> Words:
    low_bits = bits - (bits >> np.uint64(1))
    one = np.uint64(1)
    low_mask, high_mask = (one << low_bits) - one, (one << (bits >> one)) - one
    high, low = values >> low_bits, values & low_mask
    for number in range(ROUNDS):
        round_keys = mix(keys + np.uint64((number + 1) * _GOLDEN & _WORD))
        if number % 2 == 0:
            high = high ^ (mix(low + round_keys) & high_mask)
        else:
            low = low ^ (mix(high + round_keys) & low_mask)
    return (high << low_bits) | low

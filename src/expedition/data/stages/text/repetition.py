"""Repetition within one text, as Gopher counts it (Rae et al. 2021, appendix A.1.1, table A1): lines, paragraphs, n-grams.

Where a text has words of `unit` characters and no spaces, tokens are characters and an n-gram of words is one of
n × unit characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

TOP: Final = {2: 0.20, 3: 0.18, 4: 0.16}
"""n → largest share of characters in the most frequent n-gram."""
REPEATED: Final = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""n → largest share of characters in n-grams that occurred before, each character counted once."""
Numbers = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int64]
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
MOST_TOKENS: Final = 200_000
"""Tokens that are looked at: a text of more is judged by its beginning."""


def repeated_parts(parts: Sequence[str]) -> tuple[float, float]:
    """Of lines or paragraphs: the share that occurred before, and the share of characters in those."""
    if len(parts) < 2 or len(set(parts)) == len(parts):
        return 0.0, 0.0
    seen: set[str] = set()
    number = characters = 0
    for part in parts:
        if part in seen:
            number += 1
            characters += len(part)
        seen.add(part)
    return number / len(parts), characters / max(sum(map(len, parts)), 1)


def repeated_ngram_excess(tokens: Sequence[str], characters: int, unit: float = 1.0) -> tuple[float, float]:
    """Largest excess over a bound of `TOP`, and over one of `REPEATED`; -1 where nothing is repeated.

    `characters` of the text without white space. Exact where positive: n-grams that cannot exceed a bound are not counted.
    """
    tokens = tokens[:MOST_TOKENS]
    distinct = dict.fromkeys(tokens)
    # From 1 on: a run of zeros would be one n-gram with a shorter one.
    number_of = dict(zip(distinct, range(1, len(distinct) + 1), strict=True))
    numbers = np.fromiter(map(number_of.__getitem__, tokens), np.uint64, len(tokens))
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    top = _top_excess(tokens, numbers, lengths, max(characters, 1), unit)
    return top, _repeated_excess(tokens, numbers, lengths, max(characters, 1), unit)


def _top_excess(tokens: Sequence[str], numbers: Numbers, lengths: Lengths, characters: int, unit: float) -> float:
    excess = -1.0
    longest = int(lengths.max(initial=0))
    for words, bound in TOP.items():
        size = round(words * unit)
        most = _most_frequent(numbers, size)
        # An n-gram is no more frequent than the most frequent shorter one.
        if most <= 1:
            break
        if most * size * longest <= bound * characters:
            continue
        gram, count = Counter(_grams(tokens, size)).most_common(1)[0]
        excess = max(excess, sum(map(len, gram)) * count / characters - bound)
    return excess


def _repeated_excess(tokens: Sequence[str], numbers: Numbers, lengths: Lengths, characters: int, unit: float) -> float:
    excess = -1.0
    least = min(REPEATED.values())
    for words, bound in REPEATED.items():
        size = round(words * unit)
        # Each repeated n-gram lies within repeated shorter ones, so what these cover bounds all that follow.
        covered = _covered(numbers, lengths, size) / characters
        if covered <= least:
            break
        if covered > bound:
            excess = max(excess, _repeated_characters(tokens, size) / characters - bound)
    return excess


def _keys(numbers: Numbers, size: int) -> Numbers:
    """A number for each n-gram."""
    keys = np.zeros(max(0, len(numbers) - size + 1), np.uint64)
    for offset in range(size):
        keys = keys * _MULTIPLIER + numbers[offset : offset + len(keys)]
    return keys


def _most_frequent(numbers: Numbers, size: int) -> int:
    """How often the most frequent n-gram occurs."""
    ordered = np.sort(_keys(numbers, size))
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return int(np.diff(np.concatenate([[0], starts, [len(ordered)]])).max()) if len(ordered) else 0


def _covered(numbers: Numbers, lengths: Lengths, size: int) -> int:
    """Characters of tokens in n-grams that occurred before, overlaps counted once."""
    keys = _keys(numbers, size)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again = order[1:][ordered[1:] == ordered[:-1]]
    if not again.size:
        return 0
    edges = np.zeros(len(numbers) + 1, np.int64)
    np.add.at(edges, again, 1)
    np.add.at(edges, again + size, -1)
    return int(lengths[np.cumsum(edges)[:-1] > 0].sum())


def _repeated_characters(tokens: Sequence[str], size: int) -> int:
    """Characters in n-grams that occurred before, from left to right without overlap."""
    grams = list(_grams(tokens, size))
    seen: set[tuple[str, ...]] = set()
    found = place = 0
    while place < len(grams):
        gram = grams[place]
        if gram in seen:
            found += sum(map(len, gram))
            place += size
        else:
            seen.add(gram)
            place += 1
    return found


def _grams(tokens: Sequence[str], size: int) -> zip[tuple[str, ...]]:
    return zip(*(islice(tokens, start, None) for start in range(size)), strict=False)

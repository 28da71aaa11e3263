"""Repetition of word n-grams within one text, as Gopher counts it (Rae et al. 2021, appendix A.1.1, table A1).

Where a text has words of `unit` characters and no spaces, tokens are characters and an n-gram of words is one of
n × unit characters.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from expedition.data.stages.text import scan

TOP: Final = {2: 0.20, 3: 0.18, 4: 0.16}
"""n → largest share of characters in the most frequent n-gram."""
REPEATED: Final = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""n → largest share of characters in n-grams that occurred before, each character counted once."""
Numbers = npt.NDArray[np.int64]
MOST_TOKENS: Final = 200_000
"""Tokens that are looked at: a text of more is judged by its beginning."""


def repeated_ngram_excess(
    tokens_W: Numbers, sizes_W: Numbers, characters: int, unit: float = 1.0
) -> tuple[float, float]:
    """Largest excess over a bound of `TOP`, and over one of `REPEATED`; -1 where nothing is repeated.

    `tokens_W` are numbers from 1 on, equal for equal tokens, `sizes_W` their characters, `characters` those of the text
    without white space. A negative excess may be less than what is told: what cannot exceed a bound is not looked for.
    """
    tokens_W, sizes_W = tokens_W[:MOST_TOKENS], sizes_W[:MOST_TOKENS]
    size = len(tokens_W)
    keys = np.empty(size, np.int64)
    slots = np.empty(1 << (2 * size).bit_length(), np.int64)
    times = np.empty_like(slots)
    most = repeated = -1.0
    length = 0
    for words, bound in TOP.items():
        n = round(words * unit)
        count, length = scan.lengthen(keys, tokens_W, size, length, n), n
        found = scan.most_frequent(keys, count, sizes_W, n, slots, times)
        # An n-gram is no more frequent than the most frequent shorter one.
        if not found:
            break
        most = max(most, found / max(characters, 1) - bound)
    for words, bound in REPEATED.items():
        n = round(words * unit)
        count, length = scan.lengthen(keys, tokens_W, size, length, n), n
        # Each repeated n-gram lies within repeated shorter ones, so what these cover bounds all that follow.
        covered = scan.covered_characters(keys, count, sizes_W, n, slots) / max(characters, 1)
        if covered <= min(REPEATED.values()):
            break
        if covered > bound:
            found = scan.repeated_characters(keys, count, sizes_W, n, slots)
            repeated = max(repeated, found / max(characters, 1) - bound)
    return most, repeated

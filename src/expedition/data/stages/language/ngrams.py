"""Character n-grams of many lines at once, as hashes in one sparse matrix: no loop over characters in Python.

An n-gram lies inside a word, or takes in the blank before or after it. Words are lower-cased letters with their marks
and apostrophes; digits, punctuation and symbols separate them. The hash is a polynomial modulo 2^32 with a final mix,
fixed for ever: model files depend on it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from expedition.data.stages.language.letters import MARK, SIGN, SPACE, class_table, code_points

MAX_N: Final = 5
_PRIME: Final = np.uint32(0x01000193)
_MIX: Final = np.uint32(0x9E3779B1)
_BLANK: Final = np.uint32(32)
_APOSTROPHE: Final = np.uint32(39)


@dataclass(frozen=True, slots=True)
class Grams:
    """N-grams of a batch: `hash_G` of all n-grams, `line_G` the line each stands in, `n_G` its length."""

    hash_G: npt.NDArray[np.uint32]
    line_G: npt.NDArray[np.int64]
    n_G: npt.NDArray[np.uint8]


def words_of(lines: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Code points of the lower-cased words of all lines with single blanks between and around them, and the line of
    each code point."""
    text = " \n".join(lines).lower()
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    codes = code_points("\n" + text + " ")
    classes = class_table()[np.minimum(codes, 0x3FFFF)]
    line = np.cumsum(codes == 10) - 1
    gap = (classes == SPACE) | (classes == SIGN)
    codes = np.where(gap, _BLANK, codes)
    codes[(classes == MARK) & ((codes == 0x2019) | (codes == 0x2BC) | (codes == 0x2BB))] = _APOSTROPHE
    keep = ~gap
    keep[1:] |= ~gap[:-1]
    keep[:-1] |= ~gap[1:]
    # Of two blanks between words one goes; the line feed stays with the line that it ends.
    double = gap & keep
    double[1:] &= gap[:-1] & (line[1:] == line[:-1])
    double[0] = False
    keep &= ~double
    return codes[keep], line[keep]


def grams_of(lines: Sequence[str], max_n: int = MAX_N) -> Grams:
    """The n-grams of 1 to `max_n` characters of each line."""
    codes, line = words_of(lines)
    blank = codes == _BLANK
    hashes, places, lengths = [], [], []
    rolling = codes.copy()
    open_ = np.ones(len(codes), bool)
    for n in range(1, max_n + 1):
        if n > 1:
            count = len(codes) - n + 1
            if count <= 0:
                break
            rolling = rolling[:count] * _PRIME + codes[n - 1 :]
            open_ = open_[:count] & (line[:count] == line[n - 1 :])
            if n > 2:
                open_ &= ~blank[n - 2 : n - 2 + count]
            here = open_ if n > 2 else open_ & ~(blank[:count] & blank[1:])
        else:
            here = ~blank
        found = rolling[: len(here)][here]
        mixed = (found ^ (found >> np.uint32(15))) * _MIX + np.uint32(n)
        hashes.append(mixed ^ (mixed >> np.uint32(13)))
        places.append(line[: len(here)][here])
        lengths.append(np.full(len(found), n, np.uint8))
    return Grams(np.concatenate(hashes), np.concatenate(places), np.concatenate(lengths))

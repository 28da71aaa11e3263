"""Letters of many lines at once: which script each character belongs to, by table look-ups in numpy.

A batch of lines is one array of code points, so that no step loops over characters in Python. Marks and apostrophes
inside words belong to the word; all else that is no letter separates words.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from expedition.data.stages.language.scripts import RANGES

SCRIPTS: Final = tuple(RANGES)
OTHER: Final = len(SCRIPTS)
"""Class of letters of a script that has no name here."""
MARK: Final = OTHER + 1
"""Class of combining marks and apostrophes: part of a word, of no script."""
SPACE: Final = OTHER + 2
SIGN: Final = OTHER + 3
"""Class of punctuation, digits, symbols, emoji, controls."""
CLASSES: Final = OTHER + 4
_PLANES: Final = 0x40000
_RANGE: Final = re.compile("(.)(?:-(.))?", re.DOTALL)
_APOSTROPHES: Final = "'’ʼʻʾʿ\u200c\u200d"

Codes = npt.NDArray[np.uint32]


@functools.cache
def class_table() -> npt.NDArray[np.uint8]:
    """Class of every code point below U+40000; the planes above hold no letters."""
    named = np.full(_PLANES, OTHER, np.uint8)
    for number, ranges in enumerate(RANGES.values()):
        for first, last in _RANGE.findall(ranges):
            named[ord(first) : ord(last or first) + 1] = number
    categories = [unicodedata.category(chr(code)) for code in range(_PLANES)]
    kinds = np.array([category[0] for category in categories])
    table = np.full(_PLANES, SIGN, np.uint8)
    letter, mark = kinds == "L", kinds == "M"
    table[letter] = named[letter]
    table[mark] = np.where(named[mark] == OTHER, MARK, named[mark])
    table[0x3007] = SCRIPTS.index("Han")
    table[kinds == "Z"] = SPACE
    table[9] = SPACE
    table[[ord(character) for character in _APOSTROPHES]] = MARK
    return table


def code_points(text: str) -> Codes:
    """The code points of a text; lone surrogates are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass(frozen=True, slots=True)
class Shapes:
    """How lines look, one entry a line (B); all are counts.

    `class_BC` characters by class; `words_B` words, `capitals_B` those that begin with a capital letter, `inner_B`
    capitals after a small letter and digits that touch a letter, `digits_B` digits.
    """

    class_BC: npt.NDArray[np.int64]
    words_B: npt.NDArray[np.int64]
    capitals_B: npt.NDArray[np.int64]
    inner_B: npt.NDArray[np.int64]
    digits_B: npt.NDArray[np.int64]

    @property
    def letters_B(self) -> npt.NDArray[np.int64]:
        """Letters, marks included."""
        found: npt.NDArray[np.int64] = self.class_BC[:, : MARK + 1].sum(axis=1)
        return found


@functools.cache
def _case_table() -> npt.NDArray[np.uint8]:
    """1 for capitals, 2 for small letters, 3 for digits of any script."""
    table = np.zeros(_PLANES, np.uint8)
    for code in range(_PLANES):
        category = unicodedata.category(chr(code))
        table[code] = {"Lu": 1, "Lt": 1, "Ll": 2, "Nd": 3}.get(category, 0)
    return table


def shapes_of(lines: Sequence[str]) -> Shapes:
    """Shapes of lines; lines hold no line feed."""
    codes = code_points("\n".join(lines) + "\n")
    safe = np.minimum(codes, _PLANES - 1)
    classes, case = class_table()[safe], _case_table()[safe]
    ends = codes == 10
    line = np.cumsum(ends) - ends
    size = len(lines)
    counts = np.bincount(line * CLASSES + classes, minlength=size * CLASSES).reshape(size, CLASSES)
    counts[:, SIGN] -= 1
    letter = classes <= MARK
    start = letter.copy()
    start[1:] &= ~letter[:-1]
    before = np.roll(case, 1)
    inner = (case == 1) & (before == 2)
    inner |= (case == 3) & np.roll(letter, 1)
    inner |= letter & (before == 3)

    def by_line(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(line[chosen], minlength=size)

    return Shapes(counts, by_line(start), by_line(start & (case == 1)), by_line(inner), by_line(case == 3))


def class_counts(lines: Sequence[str]) -> npt.NDArray[np.int64]:
    """Characters by line and class: an array (lines, CLASSES). Lines hold no line feed."""
    return shapes_of(lines).class_BC

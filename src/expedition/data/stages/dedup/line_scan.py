"""Kernel of `lines`: the lines of a text as numbers that do not tell case, figures and white space apart.

A number has 62 bits, two polynomials modulo the prime 2^31 - 1 (`stages.text.scan`), over the line's small letters, each
run of decimal digits as one zero, each run of white space as one blank.
"""

from __future__ import annotations

from typing import Any, Final

from expedition.data.compiled import compiled
from expedition.data.stages.text.characters import DIGIT, PLANES, SPACE
from expedition.data.stages.text.scan import FACTOR_A, FACTOR_B, fold

NUMBER, SIZE, SIGNS = 0, 1, 2
"""Rows of what the kernel fills: the line's number, its characters with single blanks, and bits."""
WIDE, CODE, INSERT, WORD_FIRST = 1, 2, 4, 8
"""Bits: a character of a script without spaces; what rows of tables and lines of code hold; U+FFFC; begins with a small
ASCII letter, as a keyword does."""
_MARKS: Final = (9, 124, 123, 125, 61, 60, 62, 92)
"""Tab, bar, curly brackets, equals sign, angle brackets, backslash."""


@compiled
def _signs(code: int, before: int) -> int:
    if code == 0xFFFC:
        return INSERT
    if code in _MARKS or (code == 41 and before == 40):
        return CODE
    wide = (
        0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or 0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
    )
    return WIDE if wide else 0


@compiled
def _first_signs(codes: Any, start: int, n: int) -> int:
    """What the beginning of a line says: two blanks, a prompt, a small letter."""
    code = codes[start]
    if code == 32:
        return CODE if start + 1 < n and codes[start + 1] == 32 else 0
    if code == 36 or code == 35 or code == 62 or code == 37:
        return CODE
    return WORD_FIRST if 97 <= code <= 122 else 0


@compiled
def scan_lines(codes: Any, n: int, table: Any, lower: Any, lines: Any) -> int:
    """Fill a column of `lines` for each line of codes[:n]; returns how many there are."""
    count = a = b = size = signs = before = blank = figures = 0
    start = 0
    for i in range(n + 1):
        code = int(codes[i]) if i < n else 10
        if code == 10:
            if before == 59:
                signs |= CODE
            if i > start:
                signs |= _first_signs(codes, start, n)
            lines[NUMBER, count], lines[SIZE, count], lines[SIGNS, count] = a << 31 | b, size, signs
            count += 1
            start = i + 1
            a = b = size = signs = before = blank = figures = 0
            continue
        bits = table[min(code, PLANES)]
        signs |= _signs(code, before)
        before = code
        if bits & SPACE:
            blank = 1 if size else 0
            continue
        if blank:
            a, b = fold(a, 32, FACTOR_A), fold(b, 32, FACTOR_B)
            size += 1
            blank = figures = 0
        size += 1
        if bits & DIGIT:
            if figures:
                continue
            figures, small = 1, 48
        else:
            figures, small = 0, int(lower[min(code, PLANES)]) if code < PLANES else code
        a, b = fold(a, small, FACTOR_A), fold(b, small, FACTOR_B)
    return count

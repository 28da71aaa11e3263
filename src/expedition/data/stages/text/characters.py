"""What each code point is, as one table of bits: the kernels over texts read it in place of asking Python character by character.

Bits agree with Python's own tests (`str.isspace`, `\\w`, `\\d`) and with the classes of scripts that `measures` counts. Code
points from `PLANES` on (private use, tags, variation selectors) have no bit.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import numpy as np
import numpy.typing as npt

PLANES: Final = 0x34000
"""Code points below it have an entry of their own; all above share the last."""
SPACE, HAN, UNSPACED, SYMBOL, DIGIT = 1, 2, 4, 8, 16
ALNUM, LETTER, TERMINAL, BULLET, SYLLABLE_END = 32, 64, 128, 256, 512
"""`ALNUM` as `str.isalnum`, `LETTER` those of them that are no decimal digits, `TERMINAL` ends a sentence or a quotation,
`SYLLABLE_END` separates words and is no white space."""

HAN_CLASS: Final = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ua000-\ua4cf\U00020000-\U000323af]"
UNSPACED_CLASS: Final = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaaff]"
)
# Letters and the marks that belong to them. Python's \w leaves combining marks out, which would make half of a Thai,
# Tibetan or Devanagari text "symbols".
SYMBOL_CLASS: Final = (
    "[!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u2bff\u3000-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20]"
)
TERMINAL_MARKS: Final = tuple(".!?\"'”’»…:;。！？；：」』》）)।॥۔؟؛።፧፡།༎։៕។။၊᙮᠃⸗꯫")
BULLETS: Final = ("•", "‣", "▪", "■", "●", "○", "*", "-", "–", "—", "·", "・", "►", "▶")
SYLLABLE_ENDS: Final = "\u0f0b\u1361\u200b"

Codes = npt.NDArray[np.int32]


@functools.cache
def character_table() -> npt.NDArray[np.int32]:
    """Bits of every code point below `PLANES`, and one entry without any for those above."""
    table = np.zeros(PLANES + 1, np.int32)
    every = "".join(map(chr, range(PLANES)))
    for bit, characters in (
        (SPACE, r"\s"),
        (HAN, HAN_CLASS),
        (UNSPACED, UNSPACED_CLASS),
        (SYMBOL, SYMBOL_CLASS),
        (DIGIT, r"\d"),
        (ALNUM, r"[^\W_]"),
        (LETTER, r"[^\W\d_]"),
        (TERMINAL, f"[{re.escape(''.join(TERMINAL_MARKS))}]"),
        (BULLET, f"[{re.escape(''.join(BULLETS))}]"),
        (SYLLABLE_END, f"[{SYLLABLE_ENDS}]"),
    ):
        for run in re.finditer(f"{characters}+", every):
            table[run.start() : run.end()] |= bit
    return table


@functools.cache
def lower_table() -> npt.NDArray[np.int32]:
    """The small letter of every code point below `PLANES`, one for one: a final sigma is a sigma, and a capital whose
    small form is two characters stays."""
    table = np.arange(PLANES + 1, dtype=np.int32)
    for code in range(PLANES):
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small)
    table[0x03C2] = 0x03C3
    return table


def code_points(text: str) -> Codes:
    """The code points of a text; lone surrogates are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)

"""Characters that never belong in training text: removed at decode, counted."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")
_NEWLINES = ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
_REMOVED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffc\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
_GAPS = re.compile(r"\n{4,}")


def clean(text: str) -> tuple[str, int]:
    """Text without control characters, terminal escapes, direction overrides, U+FFFC and noncharacters.

    All line ends become "\\n". Returns the text and the number of characters and escapes that were removed; line
    ends do not count. Linear in the text's length.
    """
    # A search for one fixed string is many times faster than any pattern; most texts hold none of these.
    for newline in _NEWLINES:
        if newline in text:
            text = text.replace(newline, "\n")
    removed = 0
    if "\x1b" in text:
        text, removed = _ESCAPES.subn("", text)
    text, characters = _REMOVED.subn("", text)
    return text, removed + characters


def tidy(text: str) -> str:
    """Prose without trailing blanks and without runs of more than two empty lines."""
    if " \n" in text or "\t\n" in text:
        text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return (_GAPS.sub("\n\n\n", text) if "\n\n\n\n" in text else text).strip()

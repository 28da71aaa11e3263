"""Text that is safe for a terminal and a log: no control characters, no escapes that data could smuggle in."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(value: object) -> str:
    """`value` as text without control characters (tab and newline stay) and without bidirectional overrides."""
    return _CONTROL.sub("", str(value))

"""SPDX identifiers of licences that are named in a line of prose (credits, rights statements)."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("CC-BY-NC-ND-4.0", r"\b(?:cc[ -]?)?by[ -]nc[ -]nd\b"),
        ("CC-BY-NC-SA-4.0", r"\b(?:cc[ -]?)?by[ -]nc[ -]sa\b"),
        ("CC-BY-NC-4.0", r"\b(?:cc[ -]?)?by[ -]nc\b"),
        ("CC-BY-ND-4.0", r"\b(?:cc[ -]?)?by[ -]nd\b"),
        ("CC-BY-SA-4.0", r"\b(?:cc[ -]?)?by[ -]sa\b|attribution[ -]share ?alike"),
        ("CC-BY-4.0", r"\bcc[ -]?by\b|creative commons attribution\b(?!-)"),
        ("CC0-1.0", r"\bcc[ -]?0\b|cc zero"),
        ("Public-Domain", r"\bpublic[ -]domain\b|\bgemeinfrei\b"),
    )
)


def named_licence(words: str) -> str | None:
    """SPDX identifier of a licence that is named in a line of prose ("Public Domain", "CC BY-SA 4.0"), or None."""
    for name, pattern in _NAMES:
        if pattern.search(words[:500]):
            version = re.search(r"\b([1-4]\.0)\b", words)
            return name.replace("4.0", version.group(1)) if name.startswith("CC-") and version else name
    return None

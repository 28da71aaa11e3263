"""Which code built something: a hash over the source of the rooms that decide a version's bytes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import expedition.data

_ROOMS = ("sources", "decode", "stages", "engine", "tokenizer", "versions")


@lru_cache(maxsize=1)
def code_version() -> str:
    """The first 12 hex digits of the SHA-256 over names and contents of the data rooms' Python files."""
    root = Path(expedition.data.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (root / room).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]

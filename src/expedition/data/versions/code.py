"""Which code built something: a hash over everything installed that decides a version's bytes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import expedition.data

_ROOMS = ("sources", "decode", "extract", "stages", "engine", "tokenizer", "versions")
_SUFFIXES = (".py", ".json", ".npz")
_OF_OTHERS = ("expedition.stages", "expedition.toxicity", "expedition.speech_language", "expedition.generators")
"""Groups of entry points through which other packages take part."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """The first 12 hex digits of the SHA-256 over the data rooms' code, lexicons and models, and the versions of packages
    that bring stages or models of their own."""
    root = Path(expedition.data.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (root / room).rglob("*") if path.suffix in _SUFFIXES):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    points = sorted(
        (group, point.name, point.value, _version(point)) for group in _OF_OTHERS for point in entry_points(group=group)
    )
    digest.update(repr(points).encode() if points else b"")
    return digest.hexdigest()[:12]


def _version(point: EntryPoint) -> str:
    return "" if point.dist is None else f"{point.dist.name} {point.dist.version}"

"""What a unit of work is given and hands back: the unit writes its own files, rows and truth travel as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.truth import Planted


@dataclass(frozen=True, slots=True)
class Order:
    """One unit of work: items `start`..`stop` of one source of one wave, written below `root`."""

    root: Path
    seed: int
    size: SampleSize
    source: str
    wave: int
    start: int
    stop: int
    forbidden: frozenset[str] = frozenset()
    """Word sequences of the evaluation set that training text must not contain."""

    @property
    def folder(self) -> Path:
        """The source's folder."""
        return self.root / self.source


@dataclass(slots=True)
class Parcel:
    """What a unit of work hands back, joined in order by the builder."""

    truth: list[Planted] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Lines of the source's manifest (captions, transcripts, videos, scenes)."""

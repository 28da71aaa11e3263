"""How much of each kind a sample holds, by size name."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.errors import UsageError


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Items of each source of the first wave; the second wave (`since: v0.2`) adds `second_wave` times as many."""

    name: str
    pages: int
    """Web pages in the WARC files of one wave."""
    pages_per_warc: int
    repositories: int
    """Code repositories; each holds `files_per_repository` source files."""
    files_per_repository: int
    books: int
    chapters: int
    """Chapters of one book, about 130 words each."""
    pictures: int
    clips: int
    utterances: int
    drives: int
    notes: int
    """Lines of the synthetic source."""
    threads: int
    """Threads of the source that nobody approved."""
    items: int
    """Items of each evaluation task."""
    heldout: int
    """Held-out documents of each kind."""
    planted: int
    """Planted things of each sort and source, where the source is large enough."""
    second_wave: float = 0.2


SIZES: dict[str, SampleSize] = {
    size.name: size
    for size in (
        SampleSize("smoke", 56, 32, 3, 4, 3, 3, 60, 24, 60, 6, 60, 4, 24, 6, 2),
        SampleSize("small", 400, 160, 10, 10, 12, 6, 2000, 1800, 1500, 600, 4000, 20, 200, 40, 8),
        SampleSize("medium", 4000, 800, 60, 12, 60, 12, 12000, 5000, 8000, 1200, 8000, 100, 400, 100, 40),
        SampleSize("large", 150000, 5000, 1500, 20, 2000, 40, 300000, 60000, 100000, 5000, 300000, 1000, 400, 200, 200),
    )
}


def size_named(name: str) -> SampleSize:
    """The size called `name`. Raises UsageError with the names that exist."""
    if name not in SIZES:
        raise UsageError(f"no sample size {name!r}", where="--size", fix=f"use one of {', '.join(SIZES)}")
    return SIZES[name]

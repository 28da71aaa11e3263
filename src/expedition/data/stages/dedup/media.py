"""Near copies of pictures: the same caption over pictures whose perceptual hashes are near."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from expedition.data.stages.image.perceptual_hash import hash_distance

Name = TypeVar("Name")
ALL_PAIRS: Final = 64
"""Pictures of one caption up to which every one is compared with every one."""
LEADERS: Final = 256
"""In larger groups: different pictures that the others are compared with."""


@dataclass(frozen=True, slots=True)
class PictureRule:
    """Bounds within which two pictures with the same caption are one picture."""

    max_bits: int = 24
    """Differing bits of 256 of the difference hash; re-encoding a 64-pixel picture at quality 50 changes up to 27."""
    max_colour_mean: float = 1.25
    """Mean difference of colour cells, of 255. Re-encoding changes 0.4 (median) to 1.5; pictures of one thing at two
    places of a plain ground differ by 1.7 and more."""
    max_colour_cell: int = 16
    """Largest difference of a colour cell, of 255."""


def picture_edges(group: Sequence[tuple[Name, str]], rule: PictureRule | None = None) -> list[tuple[Name, Name]]:
    """Pairs of near pictures among those with one caption: (name, phash) in the order in which they are to lead."""
    edges = PictureGroup(rule or PictureRule(), small=len(group) <= ALL_PAIRS)
    return list(edges.add(group))


@dataclass(slots=True)
class PictureGroup:
    """Pictures of one caption, a piece at a time. A large group is compared with its first different pictures only."""

    rule: PictureRule
    small: bool
    leaders: list[tuple[object, str]] = field(default_factory=list)

    def add(self, group: Iterable[tuple[Name, str]]) -> Iterable[tuple[Name, Name]]:
        """Edges that the next pictures bring."""
        for name, phash in group:
            matched = False
            for other, known in self.leaders:
                if _near(phash, known, self.rule):
                    yield other, name  # type: ignore[misc]
                    matched = True
                    if not self.small:
                        break
            if self.small or (not matched and len(self.leaders) < LEADERS):
                self.leaders.append((name, phash))


def _near(a: str, b: str, rule: PictureRule) -> bool:
    first, second = a.split(","), b.split(",")
    if len(first) != len(second):
        return False
    for one, other in zip(first, second, strict=True):
        distance = hash_distance(one, other)
        if distance.colour_mean > rule.max_colour_mean or distance.colour_max > rule.max_colour_cell:
            return False
        if distance.bits > rule.max_bits:
            return False
    return True

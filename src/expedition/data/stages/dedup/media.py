"""Near copies of pictures: the same caption over pictures whose perceptual hashes are near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expedition.data.stages.dedup.resolve import NEAR, Edge
from expedition.data.stages.image.perceptual_hash import hash_distance


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


def picture_edges(group: Sequence[tuple[str, str]], rule: PictureRule | None = None) -> list[Edge]:
    """Edges of documents with one caption: (id, phash) pairs, all pairs of which are compared."""
    rule = rule or PictureRule()
    ordered = sorted(group)
    edges = []
    for position, (id_, phash) in enumerate(ordered):
        for other, known in ordered[:position]:
            if _near(phash, known, rule):
                edges.append(Edge(other, id_, NEAR))
    return edges


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

"""From edges to a decision: connected components, and the copy that stays.

The rule: of all copies, the one stays whose source ranks first, then the longest, then the smallest id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Two documents that are copies, and how that was found."""

    a: str
    b: str
    reason: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A document to drop: `of` is the copy that stays."""

    id: str
    reason: str
    of: str


@dataclass(frozen=True, slots=True)
class Rank:
    """What decides between copies; smaller is better."""

    source: int
    length: int
    id: str

    def key(self) -> tuple[int, int, str]:
        return (self.source, -self.length, self.id)


EXACT = "exact duplicate"
NEAR = "near duplicate"
_STRENGTH = {EXACT: 0, NEAR: 1}


def resolve(edges: Iterable[Edge], ranks: Mapping[str, Rank]) -> list[Duplicate]:
    """Documents to drop, sorted by id. Does not depend on the order of edges.

    The reason is that of the strongest edge of the dropped document: exact before near.
    """
    parent: dict[str, str] = {}
    reasons: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for edge in edges:
        for node in (edge.a, edge.b):
            known = reasons.get(node)
            if known is None or _STRENGTH.get(edge.reason, 2) < _STRENGTH.get(known, 2):
                reasons[node] = edge.reason
        first, second = sorted((root(edge.a), root(edge.b)), key=lambda node: ranks[node].key())
        parent[second] = first
    # A root is the best of its component, because the better root always wins a union.
    return [Duplicate(node, reasons[node], root(node)) for node in sorted(parent) if root(node) != node]

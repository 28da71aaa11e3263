"""From pairs to a decision: connected components, and the copy that stays.

The rule: of all copies, the one stays whose source ranks first, then the longest, then the one whose id is smallest by
its first eight bytes, then the one with the smallest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expedition.data.stages.dedup.candidates import Numbers, Pairs

EXACT: Final = 0
NEAR: Final = 1
REASONS: Final = ("exact duplicate", "near duplicate")
"""Words for the reasons, the strongest first. A dropped document's reason is that of its strongest pair."""


@dataclass(frozen=True, slots=True, order=True)
class Duplicate:
    """A document to drop: `of` is the copy that stays."""

    id: str
    reason: str
    of: str


@dataclass(frozen=True, slots=True)
class Rank:
    """What decides between copies, a column each; smaller is better but for the length."""

    place: npt.NDArray[np.int64]
    """Of the source, in the order of preference."""
    length: npt.NDArray[np.int64]
    tie: npt.NDArray[np.uint64]

    def order(self, groups: Numbers, numbers: Numbers) -> npt.NDArray[np.intp]:
        """Rows sorted by group, the best of each first."""
        return np.lexsort((numbers, self.tie, -self.length, self.place, groups))


@dataclass(frozen=True, slots=True)
class Dropped:
    """Documents to drop by number, rising; of which each is a copy; why."""

    numbers: Numbers
    of: Numbers
    reasons: npt.NDArray[np.int8]


def tie_of(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each id, as a number of the same order."""
    padded = b"".join(name.encode()[:8].ljust(8, b"\0") for name in ids)
    return np.frombuffer(padded, ">u8").astype(np.uint64)


def nodes_of(pairs: Pairs) -> Numbers:
    """The documents that stand in a pair, rising."""
    return np.unique(pairs)


def resolve(exact: Pairs, near: Pairs, nodes: Numbers, rank: Rank) -> Dropped:
    """What to drop. `nodes` are `nodes_of` all pairs, `rank` has a row for each. The order of pairs is of no matter."""
    pairs = np.concatenate([exact, near])
    if not len(pairs):
        empty = np.empty(0, np.int64)
        return Dropped(empty, empty, np.empty(0, np.int8))
    a, b = np.searchsorted(nodes, pairs[:, 0]), np.searchsorted(nodes, pairs[:, 1])
    graph = coo_array((np.ones(len(pairs), np.int8), (a, b)), shape=(len(nodes), len(nodes)))
    labels = connected_components(graph, directed=False)[1].astype(np.int64)
    order = rank.order(labels, nodes)
    firsts = order[np.concatenate(([True], labels[order][1:] != labels[order][:-1]))]
    # Components are numbered from 0, so `firsts`, sorted by component, is indexed by it.
    of = nodes[firsts][labels]
    reasons = np.full(len(nodes), NEAR, np.int8)
    reasons[np.searchsorted(nodes, np.unique(exact))] = EXACT
    gone = of != nodes
    return Dropped(nodes[gone], of[gone], reasons[gone])

"""Which shard a document goes to: pure functions of its id, so that no count of workers or order of work matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expedition.data.records import KINDS

HELDOUT = "heldout"
"""Data set of the documents that are kept out of training; it has the same versions as the training data set."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One shard to be: its data set, kind and number within them."""

    dataset: str
    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The units of a build, partition by partition, and the share of documents that is held out."""

    units: tuple[Unit, ...]
    heldout_fraction: float
    dataset: str

    def resolver(self) -> Resolver:
        """The function from document to partition."""
        places: dict[tuple[str, str], list[int]] = {}
        for place, unit in enumerate(self.units):
            places.setdefault((unit.dataset, unit.kind), []).append(place)
        return Resolver(places, self.heldout_fraction, self.dataset)


@dataclass(frozen=True, slots=True)
class Resolver:
    """From a document's id (32 hex digits) and kind to its partition.

    The third eight digits decide whether it is held out, the second eight which shard of its kind it goes to.
    """

    places: Mapping[tuple[str, str], Sequence[int]]
    heldout_fraction: float
    dataset: str

    def __call__(self, document_id: str, kind: str) -> int:
        """The partition of one document. Raises KeyError for a kind that the plan has no unit of."""
        dataset = HELDOUT if is_heldout(document_id, self.heldout_fraction) else self.dataset
        places = self.places[dataset, kind]
        return places[int(document_id[8:16], 16) % len(places)]


def is_heldout(document_id: str, fraction: float) -> bool:
    """Whether a document is kept out of training: decided by its id alone, for ever."""
    return int(document_id[16:24], 16) < fraction * 2**32


def plan_shards(bytes_by_kind: Mapping[str, int], shard_bytes: int, heldout_fraction: float, dataset: str) -> ShardPlan:
    """As many shards for each kind as its bytes fill, at least one; held-out data in proportion."""
    units: list[Unit] = []
    for name, fraction in ((dataset, 1.0 - heldout_fraction), (HELDOUT, heldout_fraction)):
        for kind in KINDS:
            size = bytes_by_kind.get(kind, 0) * fraction
            count = max(1, round(size / shard_bytes)) if size else 0
            units.extend(Unit(name, kind, number) for number in range(count))
    return ShardPlan(tuple(units), heldout_fraction, dataset)

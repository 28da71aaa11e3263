"""Documents that do not decode when a step needs them: what takes their place, and what is recorded about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from expedition.data.loading.permutation import derive_key, permute_one
from expedition.errors import InputError
from expedition.workspace import Workspace

EVENT = "loader.sample.replaced"
MAX_TRIES = 16
"""Sequences that are tried in a damaged one's place."""


class DamagedDocument(InputError):
    """The stored bytes of a document are not what the index says, or do not decode; `document` is its id."""

    def __init__(self, what: str, *, document: str, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.document = document


@dataclass(frozen=True, slots=True)
class Replacement:
    """One damaged sequence and what stands in its place, each time that the run comes to it."""

    version: str
    kind: str
    sequence: int
    document: str
    reason: str
    replaced_by: int
    """Sequence number of the same kind."""


def substitutes(sequence: int, first: int, count: int, seed: int, kind: str) -> Iterator[int]:
    """Sequences of the same kind (`count` from `first` on) to be tried in a damaged one's place, in order.

    A pure function of the segment's seed and the sequence: every rank, worker and world size takes the same one. Each
    try is a permutation of its own of all sequences, so damaged neighbours do not crowd on one substitute.
    """
    for attempt in range(MAX_TRIES):
        found = first + permute_one(sequence - first, count, derive_key(seed, "substitute", kind, attempt))
        if found != sequence:
            yield found


class DamageLog:
    """Damaged sequences met by this process, each recorded once as an event; refuses when there are too many.

    Safe for many threads.
    """

    def __init__(self, ws: Workspace, run: str, limit: int) -> None:
        self._ws = ws
        self._run = run
        self._limit = limit
        self._lock = threading.Lock()
        self._reasons: dict[tuple[int, int], DamagedDocument] = {}
        self.replacements: list[Replacement] = []

    def error(self, key: tuple[int, int]) -> DamagedDocument | None:
        """Why a (segment, sequence) is known to be damaged; None for one that is not."""
        return self._reasons.get(key)

    def note(self, key: tuple[int, int], error: DamagedDocument) -> None:
        """Remember that a sequence is damaged. Raises InputError beyond the limit."""
        with self._lock:
            self._reasons.setdefault(key, error)
            if len(self._reasons) > self._limit:
                raise InputError(
                    f"{len(self._reasons)} sequences are damaged, at most {self._limit} may be replaced; "
                    f"the last one: {error.what}",
                    where=error.where,
                    fix="check the version: expedition data verify; then restore it, or leave documents out of the run",
                ) from error

    def replaced(self, replacement: Replacement, sample: int, segment: int) -> None:
        """Record what stands in a damaged sequence's place: once a sequence."""
        with self._lock:
            if replacement in self.replacements:
                return
            self.replacements.append(replacement)
            self._ws.events("loader").append(
                EVENT, run=self._run, sample=sample, segment=segment, **asdict(replacement)
            )

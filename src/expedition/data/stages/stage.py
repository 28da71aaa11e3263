"""What a stage is: a pure function on a batch of documents that says why it dropped or changed each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that a stage removed, and the name of the reason. `of` is the document it repeats, if it does."""

    id: str
    reason: str
    of: str | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage gives back.

    `batch` has the schema of its input. `changed` counts documents changed by reason; `counts` holds further figures
    (hits by type, histogram cells `name:low:high`), summed over batches.
    """

    batch: pa.RecordBatch
    dropped: tuple[Dropped, ...] = ()
    changed: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The same changes by document id, so that each is found again in the document's lineage."""


class Stage(Protocol):
    """A step of cleaning. Pure: the result depends on the batch and the constructor's arguments alone."""

    @property
    def name(self) -> str:
        """The name in the programme file and in reports."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of documents it looks at; it returns others unchanged."""
        ...

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        """Clean one batch of documents (schema `records.DOCUMENT_SCHEMA`)."""
        ...

"""A whole data set from front to end, kind by kind: how held-out documents become batches for perplexity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.cache import ShardReader
from expedition.data.loading.expand import expand_document
from expedition.data.loading.segments import Segment, manifest_hash
from expedition.data.loading.version import OpenVersion, open_version
from expedition.data.records import KINDS
from expedition.plan.models import Programme
from expedition.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What is scanned, and how."""

    dataset: str
    version: str
    sequence_tokens: int
    rows: int = 8
    """Sequences of one batch."""
    kinds: tuple[str, ...] | None = None
    """Kinds that are scanned; None: all."""
    limit: int | None = None
    """At most this many sequences of each kind; None: all."""
    excluded: tuple[str, ...] = ()
    """Sources that are left out."""
    ask_ledger: bool = True
    """Refuse data whose sources have no approval in force."""


def scan(ws: Workspace, programme: Programme, plan: ScanPlan) -> Iterator[tuple[str, Batch]]:
    """(kind, batch) over every packed sequence once, in the pack plan's order; a batch holds one kind.

    Deterministic. Raises InputError if the version does not exist or is damaged, ComplianceRefused for a source without
    an approval in force.
    """
    content = manifest_hash(ws, plan.dataset, plan.version)
    source = Segment(0, plan.dataset, plan.version, content, mix={}, seed=0, excluded=plan.excluded)
    shards = ShardReader(ws.store)
    version = open_version(ws, source, plan.sequence_tokens, programme.media, shards, ask_ledger=plan.ask_ledger)
    for kind in version.pack.kinds():
        if plan.kinds is not None and kind not in plan.kinds:
            continue
        first, count = version.pack.first(kind), version.pack.count(kind)
        end = first + (count if plan.limit is None else min(count, plan.limit))
        for start in range(first, end, plan.rows):
            rows = [_row(version, sequence, kind, programme) for sequence in range(start, min(start + plan.rows, end))]
            yield kind, collate(rows, plan.sequence_tokens, programme.media, version.ids.endoftext)


def _row(version: OpenVersion, sequence: int, kind: str, programme: Programme) -> Row:
    documents = []
    for piece in version.pack.members(sequence):
        stored, media = version.reader.piece(piece.document, piece.start, piece.end)
        documents.append(expand_document(stored, media, version.ids, programme.media))
    return Row(tuple(documents), (KINDS.index(kind),) * len(documents), sequence)

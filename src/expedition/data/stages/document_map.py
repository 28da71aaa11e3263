"""One decision a document: the loop that every document-wise stage shares.

A stage's rule is a pure function `decide(row) -> Outcome`; `map_documents` applies it to the rows of the kinds that
the stage declares, leaves all other rows alone, and writes the columns that changed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from expedition.data.records import PLACEHOLDER, Insert
from expedition.data.stages.stage import Dropped, StageResult


@dataclass(frozen=True, slots=True)
class Row:
    """A document as a rule sees it. `inserts` is empty unless the stage asked for media."""

    id: str
    source: str
    kind: str
    path: str
    licence: str | None
    language: str | None
    text: str
    meta: Mapping[str, Any]
    inserts: tuple[Insert, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule decided. None means "as it was"; `meta` is merged into the document's meta; `kept_inserts` are the
    places of the inserts that stay, where some go."""

    drop: str | None = None
    text: str | None = None
    language: str | None = None
    licence: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    particulars: tuple[str, ...] = ()
    """Of a change, for the document's lineage alone: they are not counted."""
    kept_inserts: tuple[int, ...] | None = None


KEEP = Outcome()


def map_documents(
    batch: pa.RecordBatch,
    kinds: frozenset[str],
    decide: Callable[[Row], Outcome],
    *,
    media: bool = False,
) -> StageResult:
    """Apply `decide` to each row whose kind is in `kinds`; rows of other kinds pass unchanged.

    A rule that would change the number of U+FFFC in a text cannot do harm: the document is dropped instead.
    """
    if kinds.isdisjoint(batch.column("kind").to_pylist()):
        return StageResult(batch)
    rows = _rows(batch, kinds if media else frozenset())
    outcomes = [decide(row) if row.kind in kinds else KEEP for row in rows]
    outcomes = [_guard(row, outcome) for row, outcome in zip(rows, outcomes, strict=True)]
    changed: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
        if outcome.drop is None:
            changed.update(outcome.changed)
    dropped = tuple(
        Dropped(id=row.id, reason=outcome.drop)
        for row, outcome in zip(rows, outcomes, strict=True)
        if outcome.drop is not None
    )
    pairs = zip(rows, outcomes, strict=True)
    changes = {row.id: told for row, outcome in pairs if outcome.drop is None and (told := _changes(row, outcome))}
    return StageResult(_apply(batch, rows, outcomes), dropped, dict(changed), dict(counts), changes)


def _changes(row: Row, outcome: Outcome) -> tuple[str, ...]:
    """What was done to a document, for its lineage: the rule's own words with their counts, and new labels."""
    labels = [("language", outcome.language, row.language), ("licence", outcome.licence, row.licence)]
    told = [f"{name} {value}" for name, value, before in labels if value is not None and value != before]
    counted = [f"{name} {count}" for name, count in sorted(outcome.counts.items())] if outcome.changed else []
    return (*outcome.changed, *counted, *told, *outcome.particulars)


def _guard(row: Row, outcome: Outcome) -> Outcome:
    places = row.text.count(PLACEHOLDER) if outcome.kept_inserts is None else len(outcome.kept_inserts)
    if (row.text if outcome.text is None else outcome.text).count(PLACEHOLDER) == places:
        return outcome
    return Outcome(drop="the stage would have changed the number of inserts", counts=outcome.counts)


def _rows(batch: pa.RecordBatch, media_kinds: frozenset[str]) -> list[Row]:
    """Rows of a batch; inserts are read for documents of `media_kinds` only."""
    columns = {
        name: batch.column(name).to_pylist()
        for name in ("id", "source", "kind", "path", "licence", "language", "text", "meta")
    }
    inserts = batch.column("inserts")
    return [
        Row(
            id=columns["id"][index],
            source=columns["source"][index],
            kind=columns["kind"][index],
            path=columns["path"][index],
            licence=columns["licence"][index],
            language=columns["language"][index],
            text=columns["text"][index] or "",
            meta=json.loads(columns["meta"][index] or "{}"),
            inserts=tuple(map(_insert, inserts[index].as_py())) if columns["kind"][index] in media_kinds else (),
        )
        for index in range(batch.num_rows)
    ]


def _insert(item: Mapping[str, Any]) -> Insert:
    return Insert(item["kind"], item["name"] or "", item["data"] or b"", json.loads(item["meta"] or "{}"))


def _apply(batch: pa.RecordBatch, rows: list[Row], outcomes: list[Outcome]) -> pa.RecordBatch:
    kept = [index for index, outcome in enumerate(outcomes) if outcome.drop is None]
    result = batch if len(kept) == batch.num_rows else batch.take(pa.array(kept, pa.int64()))
    pairs = [(rows[index], outcomes[index]) for index in kept]
    updates: dict[str, list[Any]] = {}
    if any(outcome.text is not None for _, outcome in pairs):
        updates["text"] = [row.text if outcome.text is None else outcome.text for row, outcome in pairs]
    if any(outcome.language is not None for _, outcome in pairs):
        updates["language"] = [outcome.language or row.language for row, outcome in pairs]
    if any(outcome.licence is not None for _, outcome in pairs):
        updates["licence"] = [outcome.licence or row.licence for row, outcome in pairs]
    if any(outcome.meta for _, outcome in pairs):
        updates["meta"] = [_merged(row.meta, outcome.meta) for row, outcome in pairs]
    if any(outcome.kept_inserts is not None for _, outcome in pairs):
        updates["inserts"] = [
            inserts if outcome.kept_inserts is None else [inserts[place] for place in outcome.kept_inserts]
            for (_, outcome), inserts in zip(pairs, result.column("inserts").to_pylist(), strict=True)
        ]
    for name, values in updates.items():
        position = result.schema.get_field_index(name)
        column = result.schema.field(position)
        result = result.set_column(position, column, pa.array(values, column.type))
    return result


def _merged(meta: Mapping[str, Any], added: Mapping[str, Any]) -> str:
    merged = {**meta, **added} if added else meta
    return json.dumps(merged, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

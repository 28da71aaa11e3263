"""The stage list over batches of documents: what remains, what was dropped and why, and the sums."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from expedition.data.compliance import keeps, missing_stages
from expedition.data.stages.stage import Dropped, Stage
from expedition.data.versions.decisions import decisions_of, recorded
from expedition.data.versions.tally import Tally

COMPLIANCE = "compliance"
MINIMAL_USE = "minimal use"
NOT_ANONYMISED = "not anonymised"
_WHERE = ("id", "source", "kind", "path", "url", "meta")


@dataclass(slots=True)
class Cleaning:
    """One shard's way through the stages. `dropped` has rows of `index.DROPPED_SCHEMA`."""

    stages: Sequence[Stage]
    share: float = 1.0
    """Largest share of documents that a minimal-use approval lets in."""
    required: tuple[str, ...] = ()
    """Stages that an anonymise approval asks for: documents of a kind that one of them does not look at are dropped."""
    tally: Tally = field(default_factory=Tally)
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def run(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Clean documents of one source; yields what remains, a batch a kind."""
        for kind in sorted(set(batch.column("kind").to_pylist())):
            left = batch.filter(pc.equal(batch.column("kind"), kind))
            if self.share < 1.0:
                left = self._minimal_use(left)
            lacking = missing_stages(self.required, [stage.name for stage in self.stages if kind in stage.kinds])
            if lacking and left.num_rows:
                left = self._without(left, f"{NOT_ANONYMISED}: {', '.join(lacking)} not in the list of {kind}")
            for stage in self.stages:
                if left.num_rows and kind in stage.kinds:
                    left = self._step(stage, left)
            if left.num_rows:
                yield left

    def _step(self, stage: Stage, batch: pa.RecordBatch) -> pa.RecordBatch:
        result = stage(batch)
        cell = self._count(stage.name, batch, {item.id: item for item in result.dropped})
        cell.changed.update(result.changed)
        cell.counts.update(result.counts)
        return recorded(result.batch, stage.name, result.changes)

    def _minimal_use(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        kept = [keeps(name, self.share) for name in batch.column("id").to_pylist()]
        lost = [name for name, keep in zip(batch.column("id").to_pylist(), kept, strict=True) if not keep]
        reason = f"{MINIMAL_USE}: share ≤ {self.share:g}"
        self._count(COMPLIANCE, batch, {name: Dropped(name, reason) for name in lost})
        return batch.filter(pa.array(kept, pa.bool_()))

    def _without(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        self._count(COMPLIANCE, batch, {name: Dropped(name, reason) for name in batch.column("id").to_pylist()})
        return batch.slice(0, 0)

    def _count(self, stage: str, batch: pa.RecordBatch, lost: dict[str, Dropped]) -> Any:
        cell = self.tally.cell(stage, batch.column("source")[0].as_py(), batch.column("kind")[0].as_py())
        cell.into += batch.num_rows
        cell.out += batch.num_rows - len(lost)
        if lost:
            for row in batch.select(_WHERE).to_pylist():
                item = lost.get(row["id"])
                if item is not None:
                    cell.dropped[short(item.reason)] += 1
                    self.dropped.append(dropped_row(row, stage, item.reason, item.of))
        return cell


def dropped_row(row: dict[str, Any], stage: str, reason: str, of: str | None = None) -> dict[str, Any]:
    """A row of the table of dropped documents, from a document's columns id, source, kind, path, url, meta."""
    named = {name: row[name] for name in ("id", "source", "kind", "path", "url")}
    told = {"inner": inner_of(row["meta"]), "decisions": decisions_of(row["meta"])}
    return {**named, **told, "stage": stage, "reason": reason, "of": of}


def inner_of(meta: str | None) -> str | None:
    """Where in its file a document was found, if the file holds several."""
    inner = json.loads(meta or "{}").get("inner")
    return None if inner is None else str(inner)


def short(reason: str) -> str:
    """A reason as it is counted: without the particulars after the colon."""
    return reason.split(":", 1)[0]

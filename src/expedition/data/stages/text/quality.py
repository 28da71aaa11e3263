"""The stage: documents that break a quality rule are dropped under the rule's name."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult
from expedition.data.stages.text.rules import Limits, judge


@dataclass(frozen=True, slots=True)
class Quality:
    """Stage: drop under the first broken rule; every broken rule is counted."""

    kinds: frozenset[str]
    limits: Limits = Limits()
    name: str = "quality"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        broken = judge(row.text, row.kind, row.language or "und", row.source, self.limits)
        if not broken:
            return KEEP
        return Outcome(drop=broken[0], counts=dict.fromkeys(broken, 1))

"""The stage: personal data is dropped, redacted or kept, as the source's policy says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.pii.find import count_by_type, find_pii, redact
from expedition.data.stages.stage import StageResult

Action = Literal["drop", "redact", "keep"]

CODE_TYPES: Final = frozenset({"EMAIL_ADDRESS", "IBAN_CODE", "ID_CARD", "IP_ADDRESS", "US_SSN"})
"""Types looked for in source code, where plain long numbers are constants."""


@dataclass(frozen=True, slots=True)
class PiiPolicy:
    """What to do with personal data, by source."""

    action: Action = "redact"
    by_source: Mapping[str, Action] = field(default_factory=dict)
    """Source name to action; other sources get `action`."""
    types: frozenset[str] | None = None
    """Types looked for; None is every type."""

    def action_for(self, source: str) -> Action:
        return self.by_source.get(source, self.action)


@dataclass(frozen=True, slots=True)
class Pii:
    """Stage: find personal data, act by the policy, keep the count by type in meta `pii` and in the stage's counts."""

    kinds: frozenset[str]
    policy: PiiPolicy = PiiPolicy()
    name: str = "pii"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        spans = find_pii(row.text, self._types_for(row.kind))
        if not spans:
            return KEEP
        found = count_by_type(spans)
        counts = {f"found {name}": count for name, count in found.items()}
        action = self.policy.action_for(row.source)
        if action == "drop":
            return Outcome(drop="personal data: " + ", ".join(sorted(found)), counts=counts)
        # Written in a later run over the same text, the types found first stay on record.
        meta = {"pii": {**row.meta.get("pii", {}), **found}}
        if action == "keep":
            return Outcome(meta=meta, counts=counts)
        return Outcome(text=redact(row.text, spans), meta=meta, changed=("redacted",), counts=counts)

    def _types_for(self, kind: str) -> frozenset[str] | None:
        if kind != "code":
            return self.policy.types
        return CODE_TYPES if self.policy.types is None else CODE_TYPES & self.policy.types

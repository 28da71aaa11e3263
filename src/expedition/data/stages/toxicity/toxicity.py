"""The stage: documents above their source's threshold are dropped; the score stays in meta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult
from expedition.data.stages.toxicity.score import toxicity_score


@dataclass(frozen=True, slots=True)
class ToxicityPolicy:
    """Thresholds on the score of the whole text and on its share of hateful sentences."""

    threshold: float = 0.5
    """Score of the worst sentence above which a document counts as toxic."""
    by_source: Mapping[str, float] = field(default_factory=dict)
    """Source name to threshold; 1.0 keeps everything."""
    min_share: float = 0.15
    """A text is dropped only where at least this share of its characters stands in toxic sentences: a novel with one
    slur is not hate."""

    def threshold_for(self, source: str) -> float:
        return self.by_source.get(source, self.threshold)


@dataclass(frozen=True, slots=True)
class Toxicity:
    """Stage: score, drop above the threshold, count what was found."""

    kinds: frozenset[str]
    policy: ToxicityPolicy = ToxicityPolicy()
    name: str = "toxicity"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        score = toxicity_score(row.text)
        if score.value == 0.0:
            return KEEP
        counts = {f"found {category}": count for category, count in sorted(score.hits.items())}
        if score.worst > self.policy.threshold_for(row.source) and score.toxic_share >= self.policy.min_share:
            return Outcome(drop="toxic", counts={**counts, "toxic documents": 1})
        return Outcome(meta={"toxicity": score.worst}, counts=counts)

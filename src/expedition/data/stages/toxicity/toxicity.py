"""The stage: documents above their source's threshold are dropped; the score stays in meta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult
from expedition.data.stages.toxicity.classifier import PACKAGED, resolve_classifier


@dataclass(frozen=True, slots=True)
class ToxicityPolicy:
    """Thresholds on the score of the whole text and on its share of toxic sentences, and who judges."""

    threshold: float = 0.5
    """Probability of the worst sentence above which a document counts as toxic."""
    by_source: Mapping[str, float] = field(default_factory=dict)
    """Source name to threshold; 1.0 keeps everything."""
    min_share: float = 0.15
    """A text is dropped only where at least this share of its characters stands in toxic sentences: a novel with one
    slur is not hate."""
    model: str = PACKAGED
    """`packaged`, a file of train-toxicity, an `.onnx` file, or an entry point of `expedition.toxicity`."""

    def threshold_for(self, source: str) -> float:
        return self.by_source.get(source, self.threshold)


@dataclass(frozen=True, slots=True)
class Toxicity:
    """Documents of hate and abuse are dropped, by a threshold for each source; the score of others stays in their meta.

    A text is folded (invisible characters, look-alike letters, digits for letters, spelled-out, joined and misspelled
    words, Chinese homophones and characters taken apart), cut into sentences, and each sentence is read over lexicons in
    English, Chinese and German: who is spoken of, what is said, whether it is denied, quoted or denounced. A linear model over
    that structure gives a calibrated probability: near 1 for hatred of a group, about one half for insult of a person,
    near 0 for quotes, news, history, medicine. Sentences without a term score 0 and cost a look-up a word. The text's
    score is that of its worst sentence and stays in meta as `toxicity`. Another model, a classifier in ONNX or of another
    package, is named in `data.toxicity.model`.

    Counted: `toxic documents`, `found <category>` in toxic sentences, and cells `score:low:high` of scores above 0; the
    engine keeps them by version, which gives the rate over time.

    Reasons:
    toxic: the worst sentence is above the source's threshold, and enough of the text is toxic.

    Thresholds:
    toxicity_threshold: 0.5 (probability of the worst sentence; by source; 1 keeps everything): even chance of a calibrated
    probability. False alarms by kind of text: benchmarks/quality/toxicity.py.
    min_share: 0.15 (share of the characters in toxic sentences): own choice, a novel or a news page with one ugly sentence
    stays.
    weights: model.json, logistic regression on sentences made from patterns; no text of a test set is in it.

    Keeps: names of groups by themselves, counter speech, quotes, reclaimed words, declarations of rights, news of
    crimes, history, medical text.
    """

    kinds: frozenset[str]
    policy: ToxicityPolicy = ToxicityPolicy()
    name: str = "toxicity"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        score = resolve_classifier(self.policy.model).scores([row.text])[0]
        if score.value == 0.0:
            return KEEP
        low = min(int(score.value * 10), 9) / 10
        counts = {f"found {category}": count for category, count in score.hits.items()}
        counts[f"score:{low:.1f}:{low + 0.1:.1f}"] = 1
        if score.value > self.policy.threshold_for(row.source) and score.toxic_share >= self.policy.min_share:
            return Outcome(drop="toxic", counts={**counts, "toxic documents": 1})
        return Outcome(meta={"toxicity": score.value}, counts=counts)

"""From a text to one probability, and what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from expedition.data.stages.toxicity.features import ABUSE
from expedition.data.stages.toxicity.lexicon import BIT, Lexicon, packaged_lexicon
from expedition.data.stages.toxicity.model import LinearModel, packaged_model
from expedition.data.stages.toxicity.reading import Reading, readings

_REPORTED: Final = tuple((name, BIT[name]) for name in (*ABUSE, "group"))
_TOXIC: Final = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a text.

    `value` is the probability (0..1) that its worst sentence is abuse: calibrated, 0 where no term was found.
    `toxic_share` is the share of the text's characters in sentences above one half; `hits` counts terms by category in
    those sentences.
    """

    value: float
    toxic_share: float
    hits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence and what was found in it."""

    text: str
    probability: float
    terms: tuple[tuple[str, str, bool], ...]
    """(category, term, disguised)."""
    reasons: tuple[tuple[str, float], ...]
    """The features that weighed most, with their weights."""


def toxicity_score(text: str, lexicon: Lexicon | None = None, model: LinearModel | None = None) -> Score:
    """Score a text. Linear in its length; sentences over 2,000 characters are cut into pieces."""
    words, judge = lexicon or packaged_lexicon(), model or packaged_model()
    worst, toxic = 0.0, 0
    hits: Counter[str] = Counter()
    if judge.characters:
        worst = judge.probability(None, text.lower())
    for found in readings(text, words):
        value, reading = _worst(found, judge, text)
        worst = max(worst, value)
        if value > _TOXIC:
            toxic += reading.end - reading.start
            hits.update(name for hit in reading.hits for name, bit in _REPORTED if hit.bits & bit)
    share = min(1.0, toxic / max(len(text), 1))
    return Score(round(worst, 4), round(share, 4), dict(sorted(hits.items())))


def _worst(found: Sequence[Reading], model: LinearModel, text: str) -> tuple[float, Reading]:
    sentence = text.lower() if model.characters else ""
    scored = [(model.probability(reading, sentence), reading) for reading in found]
    return max(scored, key=lambda pair: pair[0])


def explain(
    text: str, lexicon: Lexicon | None = None, model: LinearModel | None = None, reasons: int = 8
) -> list[Finding]:
    """Sentences that hold a term, the worst first, with terms by category and the features that weighed most."""
    words, judge = lexicon or packaged_lexicon(), model or packaged_model()
    findings = []
    for found in readings(text, words):
        value, reading = _worst(found, judge, text)
        features = judge.features(reading, text.lower() if judge.characters else "")
        weighed = [(name, round(held * judge.weights.get(name, 0.0), 3)) for name, held in features.items()]
        weighed.sort(key=lambda pair: (-abs(pair[1]), pair[0]))
        terms = tuple(
            (name, hit.term, hit.disguised) for hit in reading.hits for name, bit in BIT.items() if hit.bits & bit
        )
        joined = "".join(reading.plain) if reading.language == "zh" else " ".join(reading.plain)
        findings.append(Finding(joined, round(value, 4), terms, tuple(weighed[:reasons])))
    return sorted(findings, key=lambda finding: -finding.probability)

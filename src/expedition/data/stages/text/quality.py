"""The stage: documents that break a quality rule are dropped under the rule's name, lines that are no text are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult
from expedition.data.stages.text.learned import QualityModel
from expedition.data.stages.text.limits import Limits
from expedition.data.stages.text.line_rules import without_flagged_lines
from expedition.data.stages.text.measures import measure
from expedition.data.stages.text.rules import WEB, broken_rules

MOSTLY_FLAGGED = "mostly lines that are no text (RefinedWeb)"
LOW_SCORE = "low learned score"


@dataclass(frozen=True, slots=True)
class LearnedScore:
    """A model and the least score that a document needs, which sources may set otherwise."""

    model: QualityModel
    min_score: float = 0.5
    min_score_by_source: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quality:
    """Rules of Gopher, C4, mC4, FineWeb and RefinedWeb by name, adapted to every script; optionally a learned score.

    Of web pages, lines that are no text are removed first (notices on scripts and cookies, counters, navigation); then the
    document is measured once and dropped under the first rule that it breaks; every broken rule is counted. A rule is
    applied only to the scripts that it speaks of: mean word length not to scripts without spaces, ends of sentences not to
    scripts that mark none, stop words to English alone. The thresholds of `data.quality.rules: published` are the papers'
    own. With `data.quality.model` (trained by `expedition data train-quality`) documents that pass the rules are scored,
    and those below `data.quality.min_score` dropped; the histogram of scores is counted in cells of 0.1.

    Reasons:
        too short (Gopher): fewer words than `min_words` and fewer characters than `min_characters`
        too long (Gopher): more words than `max_words`
        undecodable characters: too large a share of U+FFFD
        mean word length (Gopher): words too short or too long on the average
        one unbroken run (C4): a word of more than 1,000 characters and a quarter of the text
        mostly symbols, mostly digits: too large a share of them
        words without letters (Gopher): too few words with a letter
        hash signs (Gopher), ellipses (Gopher): too many for the number of words
        bullet lines (Gopher), lines cut off (Gopher): nearly all lines are bullets, many end in an ellipsis
        no stop words (Gopher): English of 50 words without two common ones
        filler text (C4): lorem ipsum
        curly bracket (C4): any; off unless published
        too few sentences (C4), too few paragraphs (mC4): off unless published
        line ends (FineWeb), short lines (FineWeb): lines without an end mark, lines of at most 30 characters
        characters in repeated lines (FineWeb), list of words (FineWeb): repeated lines; many lines for the words
        repeated lines (Gopher), characters in repeated lines (Gopher), repeated paragraphs (Gopher): within the text
        one phrase again and again (Gopher): the most frequent 2-, 3- or 4-gram
        repeated phrases (Gopher): 5- to 10-grams that occurred before
        repetitive: zlib makes it too small
        mostly lines that are no text (RefinedWeb): too many words stood in removed lines
        low learned score: the model's score is below `min_score`
        lines removed (changes, by rule): script notices (C4), policy notices (C4), counters (RefinedWeb), navigation
        (RefinedWeb), teasers (RefinedWeb)

    Thresholds:
        min_words, 6 words or 30 characters; published 50: Gopher A.1.1; measured on the Universal Declaration
        max_words, 200,000 words; published 100,000: Gopher A.1.1
        mean word characters, 1.4 to 30; published 3 to 10: Gopher A.1.1; Vai and Greenlandic lie outside of the latter
        max_hashes_per_word, max_ellipses_per_word, 0.10: Gopher A.1.1
        max_bullet_line_share 0.90, max_ellipsis_line_share 0.30: Gopher A.1.1
        min_lettered_word_share, 0.50; published 0.80: Gopher A.1.1; tables of figures break the latter
        max_duplicate_lines 0.50 (published 0.30), max_duplicate_line_share 0.30 (0.20): Gopher table A1
        max_duplicate_paragraphs 0.30, max_duplicate_paragraph_share 0.20: Gopher table A1
        top n-grams 0.20, 0.18, 0.16 for 2, 3, 4 words, from 120 words on: Gopher table A1
        repeated n-grams 0.15 to 0.10 for 5 to 10 words, plus 0.15 unless published: Gopher table A1
        min_terminal_line_share 0.06 (published 0.12), max_short_line_share 0.90 (0.67): FineWeb 3.6
        max_lines_per_word 0.60 (published 0.30), repeated characters 0.30 (0.10): FineWeb 3.6
        max_flagged_word_share 0.50 (published 0.05): RefinedWeb G.2
        min_score, 0.5, probability: the programme's

    Keeps: sound text of 380 language varieties (at most 5 % of the lines of a variety for each rule, held by a test),
        code, tables and formulas of web pages, lines with an insert, and every insert of a kept document.
    """

    kinds: frozenset[str]
    limits: Limits = Limits()
    learned: LearnedScore | None = None
    name: str = "quality"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        """Judge each document."""
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        text, measures = row.text, measure(row.text)
        removed: dict[str, int] = {}
        if row.kind in WEB:
            lines = without_flagged_lines(text, measures, self.limits.lines)
            if lines.flagged_word_share > self.limits.max_flagged_word_share:
                return Outcome(drop=MOSTLY_FLAGGED, counts={MOSTLY_FLAGGED: 1})
            if lines.removed:
                text, removed = lines.text, dict(lines.removed)
                measures = measure(text)
        broken = broken_rules(text, row.kind, measures, row.language or "und", row.source, self.limits)
        counts = {**dict.fromkeys(broken, 1), **{f"lines removed, {name}": count for name, count in removed.items()}}
        if broken:
            return Outcome(drop=broken[0], counts=counts)
        if self.learned is not None:
            score = self.learned.model.score(text)
            low = min(9, int(score * 10))
            counts[f"score:{low / 10:g}:{(low + 1) / 10:g}"] = 1
            if score < self.learned.min_score_by_source.get(row.source, self.learned.min_score):
                return Outcome(drop=LOW_SCORE, counts=counts)
        if not removed:
            return Outcome(counts=counts) if counts else KEEP
        return Outcome(text=text, changed=tuple(f"lines removed {name}" for name in removed), counts=counts)

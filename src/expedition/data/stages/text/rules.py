"""The quality rules: name, paper, scripts, kinds, predicate. A document that breaks one is dropped under that name.

Names end in the paper that a rule is from: Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1), C4 (Raffel et al.
2020, arXiv:1910.10683, section 2.2), mC4 (Xue et al. 2021, arXiv:2010.11934, section 3.1), FineWeb (Penedo et al. 2024,
arXiv:2406.17557, section 3.6), RefinedWeb (Penedo et al. 2023, arXiv:2306.01116, appendix G.2); rules without one are our
own. `limits` has their bounds. Short canonical texts of media kinds (captions, transcripts, subtitles) are judged by no
length rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

from expedition.data.stages.text.limits import Limits
from expedition.data.stages.text.measures import Measures, count_sentences, measure

PROSE: Final = frozenset({"web", "books", "synthetic"})
WEB: Final = frozenset({"web"})
WORDED: Final = frozenset({"web", "books", "synthetic", "image-text", "video-text", "audio-text", "driving"})
_STOP_WORDS: Final = frozenset(["the", "be", "to", "of", "and", "that", "have", "with", "is", "in", "a", "it", "for"])
ALL, SPACED, MARKED, ENGLISH = "all", "written with spaces", "with marks at sentence ends", "English"


@dataclass(frozen=True, slots=True)
class Subject:
    """One text with its measures, as a rule's predicate sees it."""

    text: str
    kind: str
    language: str
    source: str
    measures: Measures


Predicate = Callable[[Subject, Limits], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named reason to drop a document of one of `kinds`; `broken` is pure."""

    name: str
    origin: str
    """Paper and section; "" for our own."""
    scripts: str
    """What it is applied to: `ALL`, `SPACED` (at most 30 % of scripts without spaces), `MARKED`, `ENGLISH`."""
    kinds: frozenset[str]
    broken: Predicate

    def applies(self, subject: Subject) -> bool:
        """Whether the rule speaks of this text: a rule that would delete sound text of a script is not applied to it."""
        if self.scripts == ALL:
            return True
        if self.scripts == ENGLISH:
            return subject.language == "en"
        if self.scripts == SPACED:
            return subject.measures.unspaced_share <= 0.3
        return subject.measures.sentence_marks


def _too_short(subject: Subject, limits: Limits) -> bool:
    measures = subject.measures
    few = measures.words < limits.min_words_by_source.get(subject.source, limits.min_words)
    return few and measures.characters < limits.min_characters


def _mean_word(subject: Subject, limits: Limits) -> bool:
    found = subject.measures
    if found.spaced_words < 5:
        return False
    low = (
        found.spaced_words >= limits.min_evidence_words and found.mean_word_characters < limits.min_mean_word_characters
    )
    return low or found.mean_word_characters > limits.max_mean_word_characters


def _no_stop_words(subject: Subject, limits: Limits) -> bool:
    if subject.measures.words < 50:
        return False
    found = (word.strip(".,;:!?\"'()").lower() in _STOP_WORDS for word in subject.text.split()[:2000])
    return sum(1 for _ in islice(filter(None, found), limits.min_stop_words)) < limits.min_stop_words


def _of_words(holds: Callable[[Measures, Limits], bool]) -> Predicate:
    return lambda s, k: s.measures.words >= k.min_evidence_words and holds(s.measures, k)


def _of_lines(holds: Callable[[Measures, Limits], bool]) -> Predicate:
    return lambda s, k: s.measures.lines >= k.min_evidence_lines and holds(s.measures, k)


def _line_ends(subject: Subject, limits: Limits) -> bool:
    found = subject.measures
    if found.lines < (12 if limits.joint_line_rules else limits.min_evidence_lines):
        return False
    short = found.short_line_share > limits.max_short_line_share or not limits.joint_line_rules
    return short and found.terminal_line_share < limits.min_terminal_line_share


def _short_lines(found: Measures, limits: Limits) -> bool:
    return not limits.joint_line_rules and found.short_line_share > limits.max_short_line_share


def _ngrams(share: Callable[[Measures], float], bound: Callable[[Limits], float]) -> Predicate:
    return lambda s, k: s.measures.words >= k.min_ngram_words and share(s.measures) > bound(k)


_GOPHER, _REPEATS = "Gopher A.1.1, quality filtering", "Gopher A.1.1, repetition removal, table A1"
_C4, _FINEWEB = "C4 2.2", "FineWeb 3.6"

RULES: Final = (
    Rule("too short (Gopher)", _GOPHER, ALL, PROSE, _too_short),
    Rule("too long (Gopher)", _GOPHER, ALL, WEB, lambda s, k: s.measures.words > k.max_words),
    Rule(
        "undecodable characters", "", ALL, WORDED, lambda s, k: s.measures.replacement_share > k.max_replacement_share
    ),
    Rule("mean word length (Gopher)", _GOPHER, SPACED, PROSE, _mean_word),
    Rule(
        "one unbroken run (C4)",
        "C4, published code",
        ALL,
        WORDED,
        lambda s, k: s.measures.longest_word_characters > max(k.max_unbroken_characters, s.measures.characters // 4),
    ),
    Rule("mostly symbols", "", ALL, PROSE, lambda s, k: s.measures.symbol_share > k.max_symbol_share),
    Rule("mostly digits", "", ALL, WEB, lambda s, k: s.measures.digit_share > k.max_digit_share),
    Rule(
        "words without letters (Gopher)",
        _GOPHER,
        ALL,
        WEB,
        _of_words(lambda m, k: m.lettered_word_share < k.min_lettered_word_share),
    ),
    Rule("hash signs (Gopher)", _GOPHER, ALL, WEB, _of_words(lambda m, k: m.hashes_per_word > k.max_hashes_per_word)),
    Rule("ellipses (Gopher)", _GOPHER, ALL, WEB, _of_words(lambda m, k: m.ellipses_per_word > k.max_ellipses_per_word)),
    Rule(
        "bullet lines (Gopher)",
        _GOPHER,
        ALL,
        WEB,
        _of_lines(lambda m, k: m.bullet_line_share > k.max_bullet_line_share),
    ),
    Rule(
        "lines cut off (Gopher)",
        _GOPHER,
        ALL,
        WEB,
        _of_lines(lambda m, k: m.ellipsis_line_share > k.max_ellipsis_line_share),
    ),
    Rule("no stop words (Gopher)", _GOPHER, ENGLISH, WEB, _no_stop_words),
    Rule("filler text (C4)", _C4, ALL, WEB, lambda s, k: "lorem ipsum" in s.text[:20_000].lower()),
    Rule("curly bracket (C4)", _C4, ALL, WEB, lambda s, k: k.curly_brackets and "{" in s.text),
    Rule(
        "too few sentences (C4)",
        _C4,
        MARKED,
        WEB,
        lambda s, k: k.min_sentences > 0 and count_sentences(s.text) < k.min_sentences,
    ),
    Rule("too few paragraphs (mC4)", "mC4 3.1", ALL, WEB, lambda s, k: s.measures.long_lines < k.min_long_lines),
    Rule("line ends (FineWeb)", _FINEWEB, MARKED, WEB, _line_ends),
    Rule("short lines (FineWeb)", _FINEWEB, ALL, WEB, _of_lines(_short_lines)),
    Rule(
        "characters in repeated lines (FineWeb)",
        _FINEWEB,
        ALL,
        WEB,
        _of_lines(lambda m, k: m.duplicate_line_share > k.max_fineweb_duplicate_share),
    ),
    Rule(
        "list of words (FineWeb)", _FINEWEB, ALL, WEB, _of_lines(lambda m, k: m.lines_per_word > k.max_lines_per_word)
    ),
    Rule(
        "repeated lines (Gopher)", _REPEATS, ALL, WEB, _of_lines(lambda m, k: m.duplicate_lines > k.max_duplicate_lines)
    ),
    Rule(
        "characters in repeated lines (Gopher)",
        _REPEATS,
        ALL,
        WEB,
        _of_lines(lambda m, k: m.duplicate_line_share > k.max_duplicate_line_share),
    ),
    Rule(
        "repeated paragraphs (Gopher)",
        _REPEATS,
        ALL,
        WEB,
        lambda s, k: (
            s.measures.paragraphs >= k.min_evidence_lines
            and (
                s.measures.duplicate_paragraphs > k.max_duplicate_paragraphs
                or s.measures.duplicate_paragraph_share > k.max_duplicate_paragraph_share
            )
        ),
    ),
    Rule(
        "one phrase again and again (Gopher)",
        _REPEATS,
        ALL,
        WEB,
        _ngrams(lambda m: m.top_ngram_share, lambda k: k.max_top_ngram_excess),
    ),
    Rule(
        "repeated phrases (Gopher)",
        _REPEATS,
        ALL,
        WEB,
        _ngrams(lambda m: m.duplicate_ngram_share, lambda k: k.max_duplicate_ngram_excess),
    ),
    Rule("repetitive", "", ALL, PROSE, lambda s, k: s.measures.compressed_share < k.min_compressed_share),
)
"""In order; a document is dropped under the first rule that it breaks. C4's list of bad words is the toxicity stage's."""


def judge(text: str, kind: str, language: str = "und", source: str = "", limits: Limits | None = None) -> list[str]:
    """Names of the rules that the text breaks, in the table's order; empty means sound. Code is judged elsewhere."""
    return broken_rules(text, kind, measure(text), language, source, limits or Limits())


def broken_rules(text: str, kind: str, measures: Measures, language: str, source: str, limits: Limits) -> list[str]:
    """`judge` of a text that was measured already."""
    subject = Subject(text, kind, language, source, measures)
    return [rule.name for rule in _rules_of(kind) if rule.applies(subject) and rule.broken(subject, limits)]


@cache
def _rules_of(kind: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if kind in rule.kinds)

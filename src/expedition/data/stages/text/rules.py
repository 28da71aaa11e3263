"""The quality rules: name, kinds, predicate. A document that breaks one is dropped under that name.

Bounds follow Gopher (Rae et al. 2021, table A1), C4 (Raffel et al. 2020) and FineWeb (Penedo et al. 2024), widened
where a script or a language is written otherwise: mean word length has no bound that Greenlandic would break, line ends
count the full stops of all scripts, stop words are asked of English only, and what needs words to be counted asks for
enough of them. Short canonical texts of media kinds (captions, transcripts, subtitles) are judged by no length rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from expedition.data.stages.text.measures import Measures, measure

PROSE: Final = frozenset({"web", "books", "synthetic"})
WEB: Final = frozenset({"web"})
WORDED: Final = frozenset({"web", "books", "synthetic", "image-text", "video-text", "audio-text", "driving"})
_STOP_WORDS: Final = frozenset(["the", "be", "to", "of", "and", "that", "have", "with", "is", "in", "a", "it", "for"])


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the rules; `min_words` may be set by source, since a dictionary is no essay."""

    min_words: float = 6
    min_characters: int = 40
    """A text of few words passes if it has as many characters as this: Greenlandic says a sentence in four words."""
    min_words_by_source: Mapping[str, float] = field(default_factory=dict)
    max_words: float = 200_000
    max_mean_word_characters: float = 30
    max_unbroken_characters: int = 1_000
    max_symbol_share: float = 0.30
    max_digit_share: float = 0.40
    max_replacement_share: float = 0.01
    max_hash_or_ellipsis_per_word: float = 0.10
    max_bullet_line_share: float = 0.90
    max_ellipsis_line_share: float = 0.30
    min_terminal_line_share: float = 0.06
    max_short_line_share: float = 0.90
    max_duplicate_line_share: float = 0.30
    min_compressed_share: float = 0.08
    min_stop_words: int = 2


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
    kinds: frozenset[str]
    broken: Predicate


def _too_short(subject: Subject, limits: Limits) -> bool:
    measures = subject.measures
    few = measures.words < limits.min_words_by_source.get(subject.source, limits.min_words)
    return few and measures.characters < limits.min_characters


def _no_stop_words(subject: Subject, limits: Limits) -> bool:
    if subject.language != "en" or subject.measures.words < 50:
        return False
    words = [word.strip(".,;:!?\"'()").lower() for word in subject.text.split()[:2000]]
    return sum(word in _STOP_WORDS for word in words) < limits.min_stop_words


def _lines_without_end(subject: Subject, limits: Limits) -> bool:
    # Thai, Lao, Khmer, Myanmar and Tibetan end sentences by a space or not at all.
    measures = subject.measures
    if measures.lines < 12 or measures.unspaced_share > 0.3 or "\u0f0b" in subject.text:
        return False
    return measures.terminal_line_share < limits.min_terminal_line_share and (
        measures.short_line_share > limits.max_short_line_share
    )


RULES: Final = (
    Rule("too short", PROSE, _too_short),
    Rule("too long", WEB, lambda s, k: s.measures.words > k.max_words),
    Rule("undecodable characters", WORDED, lambda s, k: s.measures.replacement_share > k.max_replacement_share),
    Rule(
        "words too long",
        PROSE,
        lambda s, k: s.measures.spaced_words >= 5 and s.measures.mean_word_characters > k.max_mean_word_characters,
    ),
    Rule(
        "one unbroken run",
        WORDED,
        lambda s, k: s.measures.longest_word_characters > max(k.max_unbroken_characters, s.measures.characters // 4),
    ),
    Rule("mostly symbols", PROSE, lambda s, k: s.measures.symbol_share > k.max_symbol_share),
    Rule("mostly digits", WEB, lambda s, k: s.measures.digit_share > k.max_digit_share),
    Rule(
        "hashes and ellipses",
        WEB,
        lambda s, k: s.measures.words >= 20 and s.measures.hash_or_ellipsis_per_word > k.max_hash_or_ellipsis_per_word,
    ),
    Rule(
        "list of bullets",
        WEB,
        lambda s, k: s.measures.lines >= 5 and s.measures.bullet_line_share > k.max_bullet_line_share,
    ),
    Rule(
        "lines cut off",
        WEB,
        lambda s, k: s.measures.lines >= 5 and s.measures.ellipsis_line_share > k.max_ellipsis_line_share,
    ),
    Rule("lines without an end", WEB, _lines_without_end),
    Rule(
        "repeated lines",
        WEB,
        lambda s, k: s.measures.lines >= 5 and s.measures.duplicate_line_share > k.max_duplicate_line_share,
    ),
    Rule("repeated phrases", WEB, lambda s, k: s.measures.words >= 120 and s.measures.top_ngram_share > 0),
    Rule("repetitive", PROSE, lambda s, k: s.measures.compressed_share < k.min_compressed_share),
    Rule("no stop words", WEB, _no_stop_words),
    Rule("filler text", WEB, lambda s, k: "lorem ipsum" in s.text[:20_000].lower()),
)
"""In order; a document is dropped under the first rule that it breaks."""


def judge(text: str, kind: str, language: str = "und", source: str = "", limits: Limits | None = None) -> list[str]:
    """Names of the rules that the text breaks, in the table's order; empty means sound. Code is judged elsewhere."""
    subject = Subject(text, kind, language, source, measure(text))
    bounds = limits or Limits()
    return [rule.name for rule in RULES if kind in rule.kinds and rule.broken(subject, bounds)]

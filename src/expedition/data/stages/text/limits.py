"""The thresholds of the quality rules: adapted to all scripts and kinds of page, or as the papers have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LineRules = Literal["off", "adapted", "published"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds. Defaults are widened until no variety of the Universal Declaration loses sound lines, and until pages
    of code, tables and formulas stay; `published()` has the papers' own. 0 as a least value turns a rule off."""

    min_words: float = 6
    """Gopher: 50."""
    min_characters: int = 30
    """A text of few words passes if it has as many characters as this: Greenlandic says a sentence in four words."""
    min_words_by_source: Mapping[str, float] = field(default_factory=dict)
    """A dictionary is no essay."""
    max_words: float = 200_000
    """Gopher: 100,000."""
    min_mean_word_characters: float = 1.4
    """Gopher: 3. Of 20 words and more; Vietnamese, Tibetan and Vai syllables are written apart."""
    max_mean_word_characters: float = 30
    """Gopher: 10, which German law texts and all of Greenlandic exceed."""
    max_hashes_per_word: float = 0.10
    max_ellipses_per_word: float = 0.10
    max_bullet_line_share: float = 0.90
    max_ellipsis_line_share: float = 0.30
    min_lettered_word_share: float = 0.50
    """Gopher: 0.80, which tables of figures break."""
    min_stop_words: int = 2
    max_duplicate_lines: float = 0.50
    """Gopher: 0.30, which tables and code with closing brackets break."""
    max_duplicate_line_share: float = 0.30
    """Gopher: 0.20 of characters."""
    max_duplicate_paragraphs: float = 0.30
    max_duplicate_paragraph_share: float = 0.20
    max_top_ngram_excess: float = 0.0
    """Over Gopher's bounds for 2-, 3- and 4-grams (0.20, 0.18, 0.16)."""
    max_duplicate_ngram_excess: float = 0.15
    """Over Gopher's bounds for 5- to 10-grams (0.15 to 0.10), which forms, tables and legal texts exceed."""
    min_ngram_words: float = 120
    """Words from which n-grams are counted; Gopher: any."""
    min_sentences: int = 0
    """C4: 5."""
    curly_brackets: bool = False
    """C4: a page with a curly bracket is dropped, which leaves no page with code or TeX."""
    min_long_lines: int = 0
    """mC4: 3 lines of 200 characters."""
    min_terminal_line_share: float = 0.06
    """FineWeb: 0.12. By default broken only together with the share of short lines."""
    max_short_line_share: float = 0.90
    """FineWeb: 0.67."""
    joint_line_rules: bool = True
    """Whether line ends and short lines must be broken together: a table, a poem, a list break one."""
    max_fineweb_duplicate_share: float = 0.30
    """FineWeb: 0.10 of characters in repeated lines (0.01 in datatrove)."""
    max_lines_per_word: float = 0.60
    """FineWeb: 0.30."""
    lines: LineRules = "adapted"
    """Which line rules are applied (`line_rules`): those that are sure in every kind of page, or all of the papers."""
    max_flagged_word_share: float = 0.50
    """RefinedWeb: 0.05 of the words in lines that its line rules remove."""
    min_evidence_words: float = 20
    """Words below which shares of words say nothing."""
    min_evidence_lines: int = 5
    """Lines below which shares of lines say nothing."""
    max_unbroken_characters: int = 1_000
    """C4's code: a word of 1,000 characters."""
    max_symbol_share: float = 0.30
    max_digit_share: float = 0.40
    max_replacement_share: float = 0.01
    min_compressed_share: float = 0.08

    @classmethod
    def published(cls, min_words_by_source: Mapping[str, float] | None = None) -> Limits:
        """The bounds of the papers, still applied only to the scripts that each rule is for."""
        return cls(
            min_words=50,
            min_characters=1 << 30,
            min_words_by_source=min_words_by_source or {},
            max_words=100_000,
            min_mean_word_characters=3,
            max_mean_word_characters=10,
            min_lettered_word_share=0.8,
            max_duplicate_lines=0.3,
            max_duplicate_line_share=0.2,
            max_duplicate_ngram_excess=0.0,
            min_ngram_words=0,
            min_sentences=5,
            curly_brackets=True,
            min_terminal_line_share=0.12,
            max_short_line_share=0.67,
            joint_line_rules=False,
            max_fineweb_duplicate_share=0.1,
            max_lines_per_word=0.3,
            lines="published",
            max_flagged_word_share=0.05,
        )

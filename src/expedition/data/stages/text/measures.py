"""What the quality rules read: counts that mean the same in every script.

Scripts written without spaces (Han, Kana, Thai, Lao, Tibetan, Khmer, Myanmar, Tai Tham, Javanese, Balinese) have no
words to split: a word is estimated as 1.6 characters of Han or Kana and 4 characters of the others.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from expedition.data.stages.text import scan
from expedition.data.stages.text.characters import (
    TERMINAL_MARKS,
    character_table,
    code_points,
)
from expedition.data.stages.text.repetition import repeated_ngram_excess

_HAN_CHARACTERS, _UNSPACED_CHARACTERS = 1.6, 4.0
"""Characters of a word, about."""
_SENTENCE_END: Final = re.compile("[.!?…]+(?=[\\s\"'”’»)]|$)|፡፡|[。！？؟۔।॥።፧։។៕།༎᙮᠃᠉꯫⸗]+|(?<=[\u1000-\u109f])။")
TERMINAL: Final = TERMINAL_MARKS


@dataclass(frozen=True, slots=True)
class Measures:
    """Counts over one text (U+FFFC left out). Shares are of characters that are not white space, unless they say so."""

    characters: int
    words: float
    """White-space words, plus the estimate for scripts without spaces."""
    spaced_words: int
    mean_word_characters: float
    """Of white-space words; 0 where there is none."""
    longest_word_characters: int
    unspaced_share: float
    """Share of characters in scripts written without spaces."""
    sentence_marks: bool
    """Whether most of the text is in scripts that mark the ends of sentences (Thai, Lao, Tai and Javanese do not)."""
    lettered_word_share: float
    """Share of words with a letter: of white-space words; of characters where most of the text has no spaces."""
    symbol_share: float
    digit_share: float
    replacement_share: float
    hashes_per_word: float
    ellipses_per_word: float
    lines: int
    long_lines: int
    """Lines of a paragraph's length: 200 characters, 80 of scripts without spaces."""
    lines_per_word: float
    bullet_line_share: float
    ellipsis_line_share: float
    terminal_line_share: float
    short_line_share: float
    """Share of lines of at most 30 characters, 15 of scripts without spaces."""
    duplicate_lines: float
    """Share of lines that were seen before."""
    duplicate_line_share: float
    """Share of characters that stand in a line seen before."""
    paragraphs: int
    duplicate_paragraphs: float
    duplicate_paragraph_share: float
    top_ngram_share: float
    """Largest excess of a repeated word 2-, 3- or 4-gram's share of characters over Gopher's bound for it; -1 where
    there is none."""
    duplicate_ngram_share: float
    """The same of all repeated word 5- to 10-grams."""
    compressed_share: float
    """Bytes after zlib level 1 over bytes before; 1 for texts under 1,000 bytes, which say nothing."""


def measure(text: str) -> Measures:
    """Measure one text; time is linear in its length."""
    text = text.replace("\ufffc", "")
    codes = code_points(text)
    counts = np.zeros(scan.COUNTS, np.int64)
    words_W, sizes_W = np.empty(len(codes) // 2 + 1, np.int64), np.empty(len(codes) // 2 + 1, np.int64)
    slots = np.zeros((2, 1 << (2 * text.count("\n") + 4).bit_length()), np.int64)
    scan.scan_text(codes, len(codes), character_table(), counts, words_W, sizes_W, slots)
    found = counts.tolist()
    han, unspaced = found[scan.CHARACTERS_HAN], found[scan.CHARACTERS_UNSPACED]
    symbols, digits = found[scan.CHARACTERS_SYMBOL], found[scan.CHARACTERS_DIGIT]
    spaced, lines, paragraphs = found[scan.WORDS], found[scan.LINES], found[scan.PARAGRAPHS]
    dense = len(text) - found[scan.CHARACTERS_SPACE]
    words = spaced + han / _HAN_CHARACTERS + unspaced / _UNSPACED_CHARACTERS
    safe, one = max(dense, 1), max(words, 1.0)
    mostly_unspaced = spaced <= words / 2
    if mostly_unspaced:
        tokens_W = np.empty(len(codes), np.int64)
        tokens_W = tokens_W[: scan.letters_of(codes, len(codes), character_table(), tokens_W)]
        unit = _HAN_CHARACTERS if han >= unspaced else _UNSPACED_CHARACTERS
        top, repeated = repeated_ngram_excess(tokens_W, np.ones(len(tokens_W), np.int64), dense, unit)
    else:
        top, repeated = repeated_ngram_excess(words_W[:spaced], sizes_W[:spaced], dense)

    def of_lines(place: int) -> float:
        return found[place] / lines if lines else 0.0

    return Measures(
        characters=dense,
        words=words,
        spaced_words=spaced,
        mean_word_characters=found[scan.WORD_CHARACTERS] / spaced if spaced else 0.0,
        longest_word_characters=found[scan.LONGEST_WORD],
        unspaced_share=(han + unspaced) / safe,
        sentence_marks=unspaced / safe <= 0.3 and "\u0f0b" not in text,
        # Marks belong to letters: what is neither symbol nor digit is a letter where there are no words.
        lettered_word_share=(
            1 - (symbols + digits) / safe
            if mostly_unspaced
            else 1 - (spaced - found[scan.WORDS_WITH_LETTER]) / max(1, spaced)
        ),
        symbol_share=symbols / safe,
        digit_share=digits / safe,
        replacement_share=text.count("\ufffd") / safe,
        hashes_per_word=text.count("#") / one,
        ellipses_per_word=(text.count("...") + text.count("…")) / one,
        lines=lines,
        long_lines=found[scan.LONG_LINES],
        lines_per_word=(lines - 1) / one if lines else 0.0,
        bullet_line_share=of_lines(scan.BULLET_LINES),
        ellipsis_line_share=of_lines(scan.ELLIPSIS_LINES),
        terminal_line_share=of_lines(scan.TERMINAL_LINES),
        short_line_share=of_lines(scan.SHORT_LINES),
        duplicate_lines=of_lines(scan.REPEATED_LINES),
        duplicate_line_share=found[scan.REPEATED_LINE_CHARACTERS] / max(found[scan.LINE_CHARACTERS], 1),
        paragraphs=paragraphs,
        duplicate_paragraphs=found[scan.REPEATED_PARAGRAPHS] / max(paragraphs, 1),
        duplicate_paragraph_share=found[scan.REPEATED_PARAGRAPH_CHARACTERS] / max(found[scan.PARAGRAPH_CHARACTERS], 1),
        top_ngram_share=top,
        duplicate_ngram_share=repeated,
        compressed_share=_compressed(text),
    )


def _compressed(text: str) -> float:
    encoded = text.encode("utf-8", "replace")
    return len(zlib.compress(encoded, 1)) / len(encoded) if len(encoded) >= 1000 else 1.0


def count_sentences(text: str) -> int:
    """Ends of sentences that are marked, in any script."""
    return len(_SENTENCE_END.findall(text))

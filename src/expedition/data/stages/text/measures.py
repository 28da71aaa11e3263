"""What the quality rules read: counts that mean the same in every script.

Scripts written without spaces (Han, Kana, Thai, Lao, Tibetan, Khmer, Myanmar, Tai Tham, Javanese, Balinese) have no
words to split: a word is estimated as 1.6 characters of Han or Kana and 4 characters of the others.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import filterfalse
from typing import Final

import numpy as np

from expedition.data.stages.text.repetition import repeated_ngram_excess, repeated_parts

_HAN: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ua000-\ua4cf\U00020000-\U000323af]+")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaaff]+"
)
_HAN_CHARACTERS, _UNSPACED_CHARACTERS = 1.6, 4.0
"""Characters of a word, about."""
_WORD_BREAK: Final = re.compile("[\\s\u0f0b\u1361\u200b]+")
_OTHER_BREAK: Final = re.compile("[\u0f0b\u1361\u200b]")
# Letters and the marks that belong to them. Python's \w leaves combining marks out, which would make half of a Thai,
# Tibetan or Devanagari text "symbols".
_SYMBOL: Final = re.compile(
    "[!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u2bff\u3000-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20]"
)
_DIGIT: Final = re.compile(r"\d")
_LETTER: Final = re.compile(r"[^\W\d_]")
_NO_LETTER: Final = re.compile(r" (?=(?:[^\w ]|[\d_])+ )")
"""Before a word without a letter, where words are joined by single blanks."""
_SPACE: Final = re.compile(r"\s+")
_CLASSES: Final = (_SPACE, _HAN, _UNSPACED, _SYMBOL, _DIGIT)
_FEW_CODES: Final = 0x10000
"""Code points up to which they are counted by a table."""
_CLASS_OF: Final[dict[str, int]] = {}
"""Character → place in `_CLASSES`, -1 for none; filled as characters are met, at most one entry a code point."""
_SENTENCE_END: Final = re.compile("[.!?…]+(?=[\\s\"'”’»)]|$)|፡፡|[。！？؟۔।॥።፧։។៕།༎᙮᠃᠉꯫⸗]+|(?<=[\u1000-\u109f])။")
TERMINAL: Final = tuple(".!?\"'”’»…:;。！？；：」』》）)।॥۔؟؛።፧፡།༎։៕។။၊᙮᠃⸗꯫")
_BULLET: Final = ("•", "‣", "▪", "■", "●", "○", "*", "-", "–", "—", "·", "・", "►", "▶")
_ELLIPSIS: Final = ("...", "…", "……", "。。。")
_PARAGRAPH: Final = re.compile(r"\n\s*\n+")
_SHORT_LINE_CHARACTERS: Final = 30
"""FineWeb (Penedo et al. 2024, section 3.6): a short line."""
_LONG_LINE_CHARACTERS: Final = 200
"""mC4 (Xue et al. 2021, section 3.1): a line that counts as a paragraph."""


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
    space, han, unspaced, symbols, digits = _characters(text)
    dense = len(text) - space
    spaced_text = _UNSPACED.sub(" ", _HAN.sub(" ", text)) if han + unspaced else text
    breaks = _OTHER_BREAK.search(spaced_text)
    spaced = list(filter(None, _WORD_BREAK.split(spaced_text))) if breaks else spaced_text.split()
    # What is left beside unspaced scripts is mostly their punctuation, not words.
    spaced = [word for word in spaced if any(map(str.isalnum, word))] if han + unspaced else spaced
    words = len(spaced) + han / _HAN_CHARACTERS + unspaced / _UNSPACED_CHARACTERS
    lengths = list(map(len, spaced))
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    safe, one = max(dense, 1), max(words, 1.0)
    unspaced_share = (han + unspaced) / safe
    mostly_unspaced = len(spaced) <= words / 2
    short, long = (15, 80) if unspaced_share > 0.3 else (_SHORT_LINE_CHARACTERS, _LONG_LINE_CHARACTERS)
    duplicate_lines, duplicate_line_share = repeated_parts(lines)
    paragraphs = [part for part in map(str.strip, _PARAGRAPH.split(text)) if part]
    duplicate_paragraphs, duplicate_paragraph_share = repeated_parts(paragraphs)
    tokens, unit = (
        (list(_LETTER.findall(text)), _characters_of_word(han, unspaced)) if mostly_unspaced else (spaced, 1.0)
    )
    top, repeated = repeated_ngram_excess(tokens, dense, unit)
    return Measures(
        characters=dense,
        words=words,
        spaced_words=len(spaced),
        mean_word_characters=sum(lengths) / len(lengths) if lengths else 0.0,
        longest_word_characters=max(lengths, default=0),
        unspaced_share=unspaced_share,
        sentence_marks=unspaced / safe <= 0.3 and "\u0f0b" not in text,
        # Marks belong to letters: what is neither symbol nor digit is a letter where there are no words.
        lettered_word_share=1 - (symbols + digits) / safe if mostly_unspaced else _lettered(spaced),
        symbol_share=symbols / safe,
        digit_share=digits / safe,
        replacement_share=text.count("\ufffd") / safe,
        hashes_per_word=text.count("#") / one,
        ellipses_per_word=(text.count("...") + text.count("…")) / one,
        lines=len(lines),
        long_lines=sum(len(line) >= long for line in lines),
        lines_per_word=(len(lines) - 1) / one if lines else 0.0,
        bullet_line_share=_share(lines, lambda line: line.startswith(_BULLET)),
        ellipsis_line_share=_share(lines, lambda line: line.endswith(_ELLIPSIS)),
        terminal_line_share=_share(lines, lambda line: line.endswith(TERMINAL)),
        short_line_share=_share(lines, lambda line: len(line) <= short),
        duplicate_lines=duplicate_lines,
        duplicate_line_share=duplicate_line_share,
        paragraphs=len(paragraphs),
        duplicate_paragraphs=duplicate_paragraphs,
        duplicate_paragraph_share=duplicate_paragraph_share,
        top_ngram_share=top,
        duplicate_ngram_share=repeated,
        compressed_share=_compressed(text),
    )


def _compressed(text: str) -> float:
    encoded = text.encode("utf-8", "replace")
    return len(zlib.compress(encoded, 1)) / len(encoded) if len(encoded) >= 1000 else 1.0


def _characters_of_word(han: int, unspaced: int) -> float:
    return _HAN_CHARACTERS if han >= unspaced else _UNSPACED_CHARACTERS


def count_sentences(text: str) -> int:
    """Ends of sentences that are marked, in any script."""
    return len(_SENTENCE_END.findall(text))


def _lettered(words: list[str]) -> float:
    without = len(_NO_LETTER.findall(" " + " ".join(filterfalse(str.isalpha, words)) + " "))
    return 1 - without / max(1, len(words))


def _characters(text: str) -> list[int]:
    """Characters of each class: white space, Han and Kana, other scripts without spaces, symbols, digits."""
    totals = [0] * len(_CLASSES)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if int(codes.max(initial=0)) < _FEW_CODES:
        times = np.bincount(codes)
        found = np.flatnonzero(times)
        counted = dict(zip(map(chr, found.tolist()), times[found].tolist(), strict=True))
    else:
        counted = Counter(text)
    for char, count in counted.items():
        known = _CLASS_OF.get(char)
        if known is None:
            known = next((place for place, pattern in enumerate(_CLASSES) if pattern.match(char)), -1)
            _CLASS_OF[char] = known
        if known >= 0:
            totals[known] += count
    return totals


def _share(lines: list[str], holds: Callable[[str], bool]) -> float:
    if not lines:
        return 0.0
    return sum(1 for line in lines if holds(line)) / len(lines)

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
from typing import Final

_HAN: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ua000-\ua4cf\U00020000-\U000323af]+")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaaff]+"
)
_WORD_BREAK: Final = re.compile("[\\s\u0f0b\u1361\u200b]+")
# Letters and the marks that belong to them. Python's \w leaves combining marks out, which would make half of a Thai,
# Tibetan or Devanagari text "symbols".
_SYMBOL: Final = re.compile(
    "[!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u2bff\u3000-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20]"
)
_DIGIT: Final = re.compile(r"\d")
_TERMINAL: Final = tuple(".!?\"'”’»…:;。！？；：」』》）)।॥۔؟؛።፧།༎։៕။၊᙮᠃⸗꯫")
_BULLET: Final = ("•", "‣", "▪", "■", "●", "○", "*", "-", "–", "—", "·", "・", "►", "▶")
_ELLIPSIS: Final = ("...", "…", "……", "。。。")


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
    symbol_share: float
    digit_share: float
    replacement_share: float
    hash_or_ellipsis_per_word: float
    lines: int
    bullet_line_share: float
    ellipsis_line_share: float
    terminal_line_share: float
    short_line_share: float
    duplicate_line_share: float
    """Share of characters that stand in a line seen before."""
    top_ngram_share: float
    """Largest excess of a repeated word 2-, 3- or 4-gram's share of characters over Gopher's bound for it."""
    compressed_share: float
    """Bytes after zlib level 1 over bytes before; 1 for texts under 1,000 bytes, which say nothing."""


def measure(text: str) -> Measures:
    """Measure one text; time is linear in its length."""
    text = text.replace("\ufffc", "")
    dense = len(text) - sum(map(len, re.findall(r"\s+", text)))
    han = sum(map(len, _HAN.findall(text)))
    unspaced = sum(map(len, _UNSPACED.findall(text)))
    spaced = [word for word in _WORD_BREAK.split(_UNSPACED.sub(" ", _HAN.sub(" ", text))) if word]
    # What is left beside unspaced scripts is mostly their punctuation, not words.
    spaced = [word for word in spaced if any(map(str.isalnum, word))] if han + unspaced else spaced
    words = len(spaced) + han / 1.6 + unspaced / 4
    lengths = [len(word) for word in spaced]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    encoded = text.encode("utf-8", "replace")
    safe = max(dense, 1)
    return Measures(
        characters=dense,
        words=words,
        spaced_words=len(spaced),
        mean_word_characters=sum(lengths) / len(lengths) if lengths else 0.0,
        longest_word_characters=max(lengths, default=0),
        unspaced_share=(han + unspaced) / safe,
        symbol_share=len(_SYMBOL.findall(text)) / safe,
        digit_share=len(_DIGIT.findall(text)) / safe,
        replacement_share=text.count("\ufffd") / safe,
        hash_or_ellipsis_per_word=(text.count("#") + text.count("...") + text.count("…")) / max(words, 1.0),
        lines=len(lines),
        bullet_line_share=_share(lines, lambda line: line.startswith(_BULLET)),
        ellipsis_line_share=_share(lines, lambda line: line.endswith(_ELLIPSIS)),
        terminal_line_share=_share(lines, lambda line: line.endswith(_TERMINAL)),
        short_line_share=_share(lines, lambda line: len(line) <= 30),
        duplicate_line_share=_duplicate_share(lines),
        top_ngram_share=_top_ngram_share(spaced, dense) if len(spaced) > words / 2 else -1.0,
        compressed_share=len(zlib.compress(encoded, 1)) / len(encoded) if len(encoded) >= 1000 else 1.0,
    )


def _share(lines: list[str], holds: Callable[[str], bool]) -> float:
    if not lines:
        return 0.0
    return sum(1 for line in lines if holds(line)) / len(lines)


def _duplicate_share(lines: list[str]) -> float:
    if len(lines) < 2:
        return 0.0
    seen: set[str] = set()
    repeated = 0
    for line in lines:
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / max(sum(map(len, lines)), 1)


_NGRAM_BOUNDS: Final = {2: 0.20, 3: 0.18, 4: 0.16}
"""Gopher (Rae et al. 2021, table A1): characters in the most frequent n-gram over all characters."""


def _top_ngram_share(words: list[str], characters: int) -> float:
    excess = -1.0
    for size, bound in _NGRAM_BOUNDS.items():
        grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
        if not grams:
            continue
        gram, count = grams.most_common(1)[0]
        if count > 1:
            excess = max(excess, sum(map(len, gram)) * count / max(characters, 1) - bound)
    return excess

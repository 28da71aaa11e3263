"""How well extracted text agrees with gold: F1 over 4-word shingles, and shares of code lines, table cells and formulas kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|\w+")
_FIELD = re.compile(r"[\n\t|]| {2,}")
_SPACES = re.compile(r"\s+")
_STYLE = re.compile(r"\\displaystyle|\\,|\\!|[{}$\s]")
_HIDDEN = re.compile("[\u200b\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over pages; each page weighs the same."""

    f1: float
    precision: float
    recall: float
    pages: int


def shingles(text: str, words: int = 4) -> Counter[tuple[str, ...]]:
    """Multiset of `words` consecutive words; a character of Han, Kana or Hangul is a word."""
    found = _WORD.findall(text)
    if not found:
        return Counter()
    return Counter(tuple(found[start : start + words]) for start in range(max(1, len(found) - words + 1)))


def agreement(pairs: Iterable[tuple[str, str]]) -> Agreement:
    """F1, precision, recall of (extracted, gold) texts as the article-extraction benchmark counts them: true and false
    shingles are normalised page by page, then summed."""
    right = surplus = missing = 0.0
    pages = 0
    for got, gold in pairs:
        mine, true = shingles(got), shingles(gold)
        pages += 1
        common = (mine & true).total()
        more, less = mine.total() - common, true.total() - common
        if common + more + less:
            right += common / (common + more + less)
            surplus += more / (common + more + less)
            missing += less / (common + more + less)
    precision, recall = right / max(1e-9, right + surplus), right / max(1e-9, right + missing)
    return Agreement(2 * precision * recall / max(1e-9, precision + recall), precision, recall, pages)


def code_kept(text: str, lines: Iterable[str]) -> tuple[int, int]:
    """Of the lines of code, how many are lines of the text (spaces at the ends aside), and how many there are."""
    have = Counter(_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _found(have, (_SPACES.sub(" ", line).strip() for line in lines))


def indentation_kept(text: str, lines: Iterable[str]) -> tuple[int, int]:
    """Of the indented lines of code, how many stand in the text with their indentation."""
    have = Counter(line.rstrip().replace("\u00a0", " ") for line in text.split("\n"))
    return _found(have, (line.rstrip() for line in lines if line[:1] in " \t"))


def cells_kept(text: str, cells: Iterable[str]) -> tuple[int, int]:
    """Of the cells, how many are a field of the text (between line ends, tabs, bars or runs of spaces)."""
    have = Counter(_SPACES.sub(" ", field).strip() for field in _FIELD.split(text))
    return _found(have, (_SPACES.sub(" ", cell).strip() for cell in cells))


def formulas_kept(text: str, formulas: Iterable[str]) -> tuple[int, int]:
    """Of the formulas, how many occur in the text as TeX (spaces, braces and style commands aside)."""
    bare = _HIDDEN.sub("", _STYLE.sub("", text))
    wanted = [_STYLE.sub("", formula) for formula in formulas]
    return sum(formula in bare for formula in wanted), len(wanted)


def kept_shares(counts: Mapping[str, tuple[int, int]]) -> dict[str, float | None]:
    """Counts (kept, all) as shares; None where there were none."""
    return {name: round(kept / all_, 3) if all_ else None for name, (kept, all_) in counts.items()}


def _found(have: Counter[str], wanted: Iterable[str]) -> tuple[int, int]:
    wanted_counts = Counter(wanted)
    return (have & wanted_counts).total(), wanted_counts.total()

"""Made sentences with labels, from which the packaged model is trained: patterns filled at random, some disguised,
some inside longer sentences; and usual words in which terms are scattered that have nothing to do with each other.

Abuse needs examples; texts that people wrote in hate may not be shipped and need not be. A pattern carries a graded
label: hatred of a group 1, insult of a person about one half, contempt for a trade 0.2, quotes and news near 0.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from expedition.data.stages.toxicity.disguise import typos

_SLOT: Final = re.compile(r"\{(\w+)\}")
_LEET: Final = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"}
_PLAIN: Final = 0.75
"""Share of sentences that stay undisguised."""
_INSIDE: Final = 0.2
"""Share of sentences that stand inside a longer one."""
_SCATTERED: Final = 0.15
"""Sentences of scattered terms, as a share of the others of the language."""
_SCATTERABLE: Final = (
    *("dehumanise", "derogate", "derogate", "hostile", "hostile", "hate", "implied", "implied", "group", "group"),
    *("intent", "positive", "positive", "negation", "counter"),
)
_CHINESE_WORDS: Final = (
    "的 了 是 在 有 和 我 他 她 这 那 也 就 都 说 去 来 到 看 里 上 下 中 年 月 日 时候 因为 所以 但是 如果"
)
_PAIRS: Final = {"“": "“”", "„": "„“", "“”": "“”", "「」": "「」", '""': '""'}
_PARTIAL: Final = frozenset("GSsINAPVHZ")
"""Slots whose words may be disguised."""


@dataclass(frozen=True, slots=True)
class Example:
    """A made sentence; `pattern` is the group for cross-validation."""

    text: str
    label: float
    pattern: str


def made_examples(per_pattern: int = 14, seed: int = 0) -> list[Example]:
    """Sentences of every pattern in every language. Same arguments, same sentences."""
    patterns, lexicon, disguises = map(_packaged, ("patterns.json", "lexicon.json", "disguises.json"))
    rng = np.random.default_rng(seed)
    made: dict[str, Example] = {}
    for language, told in patterns.items():
        if not isinstance(told, dict):
            continue
        usual = _usual_words(language, disguises)
        before = len(made)
        for line in told["patterns"]:
            label, pattern = line.split(" ", 1)
            for _ in range(per_pattern if "{" in pattern else max(4, per_pattern // 4)):
                filled = _fill(pattern, told["slots"], language, rng)
                if rng.random() < _INSIDE:
                    filled = _inside(filled, language, usual, rng)
                made.setdefault(filled, Example(filled, float(label), f"{language} {pattern}"))
        for number in range(int((len(made) - before) * _SCATTERED)):
            text = _scattered(language, usual, lexicon[language], rng)
            made.setdefault(text, Example(text, 0.01, f"{language} scattered {number % 50}"))
    return list(made.values())


def _packaged(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((importlib.resources.files(__package__) / name).read_text("utf-8"))
    return document


def _usual_words(language: str, disguises: dict[str, Any]) -> list[str]:
    if language == "zh":
        words: str = disguises["chinese"]["false_friends"]
        return [*words.split(), *_CHINESE_WORDS.split() * 20]
    common: str = disguises["common"][language]
    return common.split()[:2500]


def _clause(language: str, usual: list[str], size: int, rng: np.random.Generator) -> list[str]:
    """Usual words, the more usual the more often."""
    if language == "zh":
        return [str(word) for word in rng.choice(usual, size)]
    ranks = np.minimum(rng.zipf(1.25, size), len(usual)) - 1
    return [usual[int(rank)] for rank in ranks]


def _inside(text: str, language: str, usual: list[str], rng: np.random.Generator) -> str:
    """The sentence with a clause of usual words before or after it."""
    joint, comma = ("", "，") if language == "zh" else (" ", ", ")
    clause = joint.join(_clause(language, usual, int(rng.integers(4, 16)), rng))
    if rng.random() < 0.5:
        return f"{clause}{comma}{text}"
    return f"{text.rstrip('.。')}{comma}{clause}{'。' if language == 'zh' else '.'}"


def _scattered(language: str, usual: list[str], lists: dict[str, list[str]], rng: np.random.Generator) -> str:
    """Usual words with one to five terms of any category but slurs among them, four words apart or more."""
    words = _clause(language, usual, int(rng.integers(3, 10)), rng)
    for _ in range(int(rng.integers(1, 6))):
        terms = lists[str(rng.choice(_SCATTERABLE))]
        words.append(str(rng.choice(terms)).rstrip("*"))
        words += _clause(language, usual, int(rng.integers(4, 11)), rng)
    return ("" if language == "zh" else " ").join(words) + ("。" if language == "zh" else ".")


def _fill(pattern: str, slots: dict[str, list[str]], language: str, rng: np.random.Generator) -> str:
    marks = str(rng.choice(slots["Q"])) if "Q" in slots else ""
    count = len(_SLOT.findall(pattern))
    disguised = int(rng.integers(count)) if count and rng.random() > _PLAIN else -1
    parts, at, marked = list[str](), 0, 0
    for number, match in enumerate(_SLOT.finditer(pattern)):
        name = match.group(1)
        parts.append(pattern[at : match.start()])
        at = match.end()
        if name[0] == "Q":
            parts.append(_PAIRS.get(marks, marks * 2)[marked % 2])
            marked += 1
            continue
        word = str(rng.choice(slots[name]))
        parts.append(_disguise(word, rng) if number == disguised and name in _PARTIAL and language != "zh" else word)
    text = "".join([*parts, pattern[at:]])
    text = text[:1].upper() + text[1:] if rng.random() < 0.8 else text
    return text.rstrip(".。") if rng.random() < 0.15 else text


def _disguise(phrase: str, rng: np.random.Generator) -> str:
    """One word of a phrase in leet, with a typo, spelled out, or stretched; or the phrase joined."""
    words = phrase.split(" ")
    at = int(np.argmax([len(word) for word in words]))
    word = words[at]
    kind = int(rng.integers(5))
    if kind == 0:
        words[at] = "".join(_LEET.get(letter, letter) for letter in word)
    elif kind == 1:
        choices = list(typos(word)) or [word]
        words[at] = choices[int(rng.integers(len(choices)))]
    elif kind == 2:
        words[at] = " ".join(word)
    elif kind == 3:
        middle = len(word) // 2
        words[at] = word[:middle] + word[middle] * 4 + word[middle + 1 :]
    else:
        return "".join(words)
    return " ".join(words)

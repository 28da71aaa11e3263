"""Chinese in Chinese characters: Hans or Hant, and the varieties by words that only they write.

No packaged recogniser knows Min Nan, Hakka, Gan or Xiang, so each variety has a list of its own function words:
pronouns, negations, particles, demonstratives. A word weighs what it says for its variety against Mandarin, in nats;
Mandarin's own pronouns and particles weigh against all of them. Wu, Gan and Hakka share the genitive 个: a text that
has it where Mandarin has 的 is in one of the three. Texts in those varieties that are written in pure standard
Chinese cannot be told from it, and are not. The words are in `chinese_words.json`.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from dataclasses import dataclass
from typing import Final

_WORDS: Final = json.loads((importlib.resources.files(__package__) / "chinese_words.json").read_text("utf-8"))
_SIMPLIFIED: Final = frozenset(_WORDS["simplified"])
_TRADITIONAL: Final = frozenset(_WORDS["traditional"])
# Characters that stand in both lists are written alike in both scripts (or were merged) and say nothing.
_HANS: Final = re.compile("[" + "".join(sorted(_SIMPLIFIED - _TRADITIONAL)) + "]")
_HANT: Final = re.compile("[" + "".join(sorted(_TRADITIONAL - _SIMPLIFIED)) + "]")
_TO_SIMPLIFIED: Final = str.maketrans(
    {
        hant: hans
        for hans, hant in zip(_WORDS["simplified"], _WORDS["traditional"], strict=True)
        if hant not in _SIMPLIFIED
    }
)
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af]")
_MANDARIN: Final = re.compile("这|那|没有|他们|我们|她们|什么|怎么|很|还|吗|了|给|让|是|看")
# The genitive of Wu, Gan and Hakka, where Mandarin counts: not after a numeral or a demonstrative.
_GENITIVE: Final = re.compile(
    "(?<=[\u4e00-\u9fff])(?<![一二三四五六七八九十百千万两几每这那哪整半多少数某各单第上下格箇即彼逐呢嗰哩嘞咯介顶个])个"
    "(?![别性子头顶个儿])(?!人(?!个))(?!体)"
    "|(?<=[权利何受刑生需会法家化道性忍社动展脉])个(?=人|体)"
)
_CLASSICAL: Final = re.compile("[曰矣焉乎哉岂兮孰汝尔耶]|也[，。；？！]|之[于以所]")
_WITH_GENITIVE: Final = ("wuu", "hak", "gan")
_MANDARIN_GENITIVE: Final = re.compile("[的嘅]")
_ROMANISED: Final = {
    "nan-Latn": re.compile(
        "\\b(?:ê|kap|bô|sī|lâng|chit|koh|lóng|in-ūi|ū|beh|goán|lí|góa|tio̍h|kah|ê-sái|bē|iáu|kóng|tī|hō͘|hòe|chin)\\b"
        "|o͘|a̍|o̍|e̍|i̍|u̍"
    ),
    "hak-Latn": re.compile(
        "\\b(?:ke|he|ngìn|chhai|yû|lâu|tú|ngài|ngài-têu|kì|kì-têu|m̀|mò|ha-ngìn|hak-kâ|mak-ke|kong|thûng|yit|liá|ke-ke)\\b|ṳ"
    ),
    "cdo-Latn": re.compile(
        "\\b(?:gì|sê|gáng|ī|nè̤ng|mò̤|dŏ̤|iâ|lā̤|mìng|siŏh)\\b|[aeo]\u0324|[âàáā]\u0324|[êèéē]\u0324|[ôòóō]\u0324"
    ),
}
# Characters that only Vietnamese writes: for "person", "have", "of", "one", "oneself", "with", "in", "about", "into",
# "out", "live", "come to", "seven", "year", "now", "five", "word".
_NOM: Final = re.compile("[𠊛𣎏𧵑𠬠𨉟𢭲𥪝𧗱𠓨𠚢𤯨𦤾𦉱𢆥𣇞𠄼𡨸𪦆𢶢]")
_OWN: Final = 1.0
"""Weight from which a word is a variety's own; one hint alone names none."""
_REPEATS: Final = 4
"""Times that one word counts."""
_THRESHOLD: Final = 1.2
"""Nats above which a variety is named in a short text."""
_DENSITY: Final = 0.012
"""Nats a character above which it is named in a long one: a quoted sentence names no document."""


@dataclass(frozen=True, slots=True)
class _Markers:
    """What speaks for one variety: its words as one pattern with their weights, and the patterns."""

    words: re.Pattern[str]
    weights: dict[str, float]
    patterns: tuple[tuple[re.Pattern[str], float], ...]
    first: frozenset[str]
    """The characters that its words begin with."""


def _markers(variety: str) -> _Markers:
    words = {word.translate(_TO_SIMPLIFIED): float(weight) for word, weight in _WORDS["varieties"][variety].items()}
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    patterns = _WORDS["patterns"].get(variety, {})
    return _Markers(
        re.compile("|".join(map(re.escape, longest_first))),
        words,
        tuple((re.compile(pattern), float(weight)) for pattern, weight in patterns.items()),
        frozenset(word[0] for word in words),
    )


_MARKERS: Final = {variety: _markers(variety) for variety in _WORDS["varieties"]}
_ANY: Final = re.compile(
    "[个"
    + "".join(sorted({word[0] for found in _MARKERS.values() for word in found.weights}))
    + "".join(
        sorted(
            {
                character
                for patterns in _WORDS["patterns"].values()
                for pattern in patterns
                for character in _HAN.findall(re.sub(r"\(\?[^)]*\)", "", pattern))
            }
        )
    )
    + "]"
)
"""A character that every marker of a variety begins with or holds: texts without one are Mandarin."""
_CANTONESE_ALONE: Final = re.compile(
    "|".join(sorted(re.escape(word) for word, weight in _MARKERS["yue"].weights.items() if weight >= 2))
)


def script_of(text: str) -> str:
    """ "Hans" or "Hant" by characters that only one of the two writes; "Hans" where none decides."""
    hans, hant = len(_HANS.findall(text)), len(_HANT.findall(text))
    return "Hant" if hant > hans else "Hans"


def variety_scores(text: str) -> dict[str, float]:
    """Nats for each variety against Mandarin; 0 and less where none of its own words is there."""
    plain = text.translate(_TO_SIMPLIFIED)
    if not _ANY.search(plain):
        return dict.fromkeys(_MARKERS, 0.0)
    against = 0.3 * len(_MANDARIN.findall(plain)) + 0.9 * len(_CLASSICAL.findall(plain))
    genitives = len(_GENITIVE.findall(plain))
    shared = 1.3 * min(genitives, _REPEATS)
    if genitives <= len(_MANDARIN_GENITIVE.findall(plain)) or _CANTONESE_ALONE.search(plain):
        shared = 0.0
    scores, characters = {}, frozenset(plain)
    for variety, markers in _MARKERS.items():
        weight, own = _weighed(plain, characters, markers)
        if variety in _WITH_GENITIVE and shared:
            own, weight = True, weight + shared
        elif shared:
            weight -= shared
        scores[variety] = weight - against if own else min(0.0, -against)
    if shared:
        scores["gan"] += 0.5 * min(plain.count("不"), 2)
        scores["wuu"] += 0.1 - 0.5 * min(plain.count("不"), 2)
        scores["hak"] -= 0.5 * min(plain.count("不"), 2)
    return scores


def _weighed(text: str, characters: frozenset[str], markers: _Markers) -> tuple[float, bool]:
    """Weight of a variety's markers in a text of these characters, and whether one is its own."""
    times: dict[str, int] = {}
    for word in () if characters.isdisjoint(markers.first) else markers.words.findall(text):
        times[word] = times.get(word, 0) + 1
    found = [(markers.weights[word], min(count, _REPEATS)) for word, count in times.items()]
    found += [
        (weight, min(count, _REPEATS)) for pattern, weight in markers.patterns if (count := len(pattern.findall(text)))
    ]
    total = sum(weight * count for weight, count in found)
    hints = sum(weight > 0 for weight, _ in found)
    return total, any(weight >= _OWN for weight, _ in found) or (hints > 1 and total >= _THRESHOLD)


def identify_chinese(text: str) -> tuple[str, float]:
    """Tag and confidence of a text in Chinese characters: a variety, else "zh-Hans" or "zh-Hant"; "vi-Hani" for
    Vietnamese in them."""
    if _NOM.search(text) and len(_NOM.findall(text)) >= max(1, 0.03 * len(_HAN.findall(text))):
        return "vi-Hani", 0.95
    scores = variety_scores(text)
    variety, score = max(scores.items(), key=lambda item: item[1])
    if score >= max(_THRESHOLD, _DENSITY * len(_HAN.findall(text))):
        rest = max((value for name, value in scores.items() if name != variety), default=0.0)
        return variety, round(min(0.99, 0.5 + 0.25 * (score - max(rest, 0.0))), 3)
    return f"zh-{script_of(text)}", 0.9 if score <= 0 else 0.7


def romanised_variety(text: str) -> str | None:
    """Min Nan, Hakka or Min Dong in the missionaries' romanisations, by several own words and tone marks, densely; None
    where it is none of them."""
    words = text.lower()
    if "-" not in words:
        return None
    found = {tag: len(pattern.findall(words)) for tag, pattern in _ROMANISED.items()}
    tag, times = max(found.items(), key=lambda item: item[1])
    return tag if times >= 3 and times > 0.15 * len(words.split()) else None

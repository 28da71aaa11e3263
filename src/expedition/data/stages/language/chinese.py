"""Chinese in Chinese characters: Hans or Hant, and the varieties by words that only they write.

No packaged recogniser knows Min Nan, Hakka, Gan or Xiang, so each variety has a short list of its own function words:
pronouns, negations, particles, demonstratives. A word counts by how surely it belongs to one variety; Mandarin's own
function words count against all of them. Texts in those varieties that are written in pure standard Chinese cannot be
told from it, and are not. The words are in `chinese_words.json`.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Final

_WORDS: Final = json.loads((importlib.resources.files(__package__) / "chinese_words.json").read_text("utf-8"))
_SIMPLIFIED: Final = frozenset(_WORDS["simplified"])
_TRADITIONAL: Final = frozenset(_WORDS["traditional"])
# Characters that stand in both lists are written alike in both scripts (or were merged) and say nothing.
_HANS: Final = re.compile("[" + "".join(sorted(_SIMPLIFIED - _TRADITIONAL)) + "]")
_HANT: Final = re.compile("[" + "".join(sorted(_TRADITIONAL - _SIMPLIFIED)) + "]")
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af]")

_MARKERS: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    variety: tuple(words.items()) for variety, words in _WORDS["varieties"].items()
}
_MANDARIN: Final = re.compile("的|是|在|这|這|那|没有|沒有|他们|他們|不|什么|什麼|和|了|也")
# The genitive of Wu, Gan and Hakka, where Mandarin counts: not after a numeral or a demonstrative.
_GENITIVE: Final = re.compile(
    "(?<![一二三四五六七八九十百千万两兩幾几每这這那哪整半多数數某各单單第上下0-9])个(?![别別人体體性子])"
)
_WITH_GENITIVE: Final = frozenset({"wuu", "gan", "hak"})
_ROMANISED_MIN_NAN: Final = re.compile(
    "\\b(?:ê|kap|bô|sī|lâng|chit|koh|lóng|in-ūi|ū|beh|goán|lí|góa|tio̍h|kah|ê-sái|bē|iáu|kóng)\\b|o͘|a̍|o̍|e̍|i̍|u̍"
)
_OWN: Final = 1.0
"""Weight from which a word is a variety's own."""
_THRESHOLD: Final = 0.022
"""Marker weight for each character of text above which a variety is named."""


def script_of(text: str) -> str:
    """ "Hans" or "Hant" by characters that only one of the two writes; "Hans" where none decides."""
    hans, hant = len(_HANS.findall(text)), len(_HANT.findall(text))
    return "Hant" if hant > hans else "Hans"


def variety_scores(text: str) -> dict[str, float]:
    """Marker weight a character, by variety, Mandarin's function words subtracted."""
    length = max(len(_HAN.findall(text)), 12)
    against = len(_MANDARIN.findall(text)) * 0.25
    genitive = len(_GENITIVE.findall(text)) * 0.4
    scores = {}
    for variety, markers in _MARKERS.items():
        hits = [(text.count(word), weight) for word, weight in markers]
        # Hints alone name no variety: one word of its own must be there.
        if not any(count and weight >= _OWN for count, weight in hits):
            scores[variety] = min(0.0, -against / length)
            continue
        weight = sum(count * weight for count, weight in hits)
        # The shared genitive speaks for a variety only together with a word of its own.
        weight += genitive if weight > 0 and variety in _WITH_GENITIVE else 0.0
        scores[variety] = (weight - against) / length
    return scores


def identify_chinese(text: str) -> tuple[str, float]:
    """Tag and confidence of a text in Chinese characters: a variety, else "zh-Hans" or "zh-Hant"."""
    scores = variety_scores(text)
    variety, score = max(scores.items(), key=lambda item: item[1])
    if score >= _THRESHOLD:
        rest = max((value for name, value in scores.items() if name != variety), default=0.0)
        return variety, min(0.99, 0.5 + (score - max(rest, 0.0)) * 5)
    return f"zh-{script_of(text)}", 0.9 if score <= 0 else 0.7


def is_romanised_min_nan(text: str) -> bool:
    """Min Nan in Pe̍h-ōe-jī: its own words and tone marks, several of them, densely."""
    found = _ROMANISED_MIN_NAN.findall(text.lower())
    return len(found) >= 3 and len(found) / max(len(text.split()), 1) > 0.15

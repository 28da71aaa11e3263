"""From words to a score, sentence by sentence.

A slur is abuse by itself. Contempt, dehumanisation, threats and derogation are abuse where a person or a group is
their object; a sentence that speaks against hate is let off in part. Sentences add up as 1 - product(1 - score), so
that one hateful sentence counts in a long text as it does in a short one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from expedition.data.stages.toxicity.lexicon import CATEGORIES, Lexicon, packaged_lexicon

_SENTENCE: Final = re.compile(r"[.!?\n。！？；;]+")
_CHINESE: Final = re.compile("[\u4e00-\u9fff]")
_ADDRESS: Final = re.compile(r"(?<!\w)(?:you|you're|u|your|du|ihr|dich|euch|dir|bist)(?!\w)|你|妳")
_LEET: Final = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "€": "e"}
)
_DISGUISED: Final = re.compile(r"(?<!\w)(?=[\w@$!]*[a-z])(?=[\w@$!]*[0134579@$!])[a-z0-9@$!]{3,20}(?!\w)")
_SPELLED: Final = re.compile(r"(?<!\w)(?:[a-z][ .*-]){3,12}[a-z](?!\w)")
_QUOTE: Final = re.compile("[\"“”„‚«»「」『』]|(?<!\\w)'|'(?!\\w)")
_THEY: Final = re.compile(
    r"(?<!\w)(?:they|them|their|these|those|all of you|you people|sie|ihnen|ihr|diese)(?!\w)|他们|她们|它们|你们"
)
_FUNCTION_WORDS: Final = {
    "en": frozenset(["the", "of", "and", "to", "is", "are", "in", "that", "it", "for", "you", "with", "be", "a", "i"]),
    "de": frozenset(
        ["der", "die", "das", "und", "ist", "sind", "nicht", "ein", "eine", "zu", "den", "mit", "ich", "von"]
    ),
}
_COUNTER: Final = 0.4
"""Factor for sentences that speak about hate, quote it or deny it."""
_WEIGHTS: Final = {"dehumanise": 0.75, "hostile": 0.7, "hate": 0.7, "derogate": 0.65}
_DENIED_WORTH: Final = 0.6
_OBSCENE_INSULT: Final = 0.6
_INSULT: Final = 0.45
_NEAR: Final = 70
"""Characters between a group and what is said of it."""
_NEAR_GROUP: Final = frozenset({"dehumanise", "hostile", "derogate"})
_REACH: Final = {"zh": 8}
_REACH_SPACED: Final = 32
"""Characters before a word within which a negation counts for it."""


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a text.

    `value` is 0 (nothing found) to 1 over all sentences, `worst` that of the worst sentence, `toxic_share` the share of
    characters in sentences above one half; `hits` counts findings by category.
    """

    value: float
    worst: float
    toxic_share: float
    hits: dict[str, int] = field(default_factory=dict)


def toxicity_score(text: str, lexicon: Lexicon | None = None) -> Score:
    """Score a text. Linear in its length; sentences over 2,000 characters are cut into pieces."""
    words = lexicon or packaged_lexicon()
    clean = 1.0
    worst = 0.0
    hits: dict[str, int] = {}
    group_before = False
    toxic = length = 0
    languages = _languages_of(text, words)
    for sentence in _sentences(text):
        value, found, named = _sentence_score(sentence, words, languages, group_before)
        group_before = named
        length += len(sentence)
        toxic += len(sentence) if value > 0.5 else 0
        worst = max(worst, value)
        clean *= 1.0 - value
        for category, count in found.items():
            hits[category] = hits.get(category, 0) + count
    return Score(round(1.0 - clean, 4), round(worst, 4), round(toxic / max(length, 1), 4), hits)


def _languages_of(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Languages whose words are looked for in spaced text: the one whose function words prevail, all where none does.

    German "die" is an article, "war" a verb.
    """
    spaced = tuple(name for name in lexicon.languages() if name != "zh")
    words = text[:20_000].lower().split()
    counts = {name: sum(word in _FUNCTION_WORDS.get(name, ()) for word in words) for name in spaced}
    best = max(counts, key=lambda name: counts[name], default="")
    rest = max((count for name, count in counts.items() if name != best), default=0)
    return (best,) if best and counts[best] > rest else spaced


def _sentences(text: str) -> list[str]:
    pieces: list[str] = []
    for sentence in _SENTENCE.split(text.lower().replace("\u2019", "'")):
        if sentence.strip():
            pieces += [sentence[start : start + 2000] for start in range(0, len(sentence), 2000)]
    return pieces


def _sentence_score(
    sentence: str, lexicon: Lexicon, spaced: tuple[str, ...], group_before: bool
) -> tuple[float, dict[str, int], bool]:
    sentence = _undisguised(sentence)
    languages = ("zh",) if _CHINESE.search(sentence) else spaced
    best, hits, named = 0.0, dict[str, int](), False
    for language in languages:
        if not group_before and not lexicon.any_term[language].search(sentence):
            continue
        reading = _read(sentence, lexicon.patterns[language], _REACH.get(language, _REACH_SPACED))
        about_group = "group" in reading.counts or (group_before and _THEY.search(sentence) is not None)
        named = named or "group" in reading.counts
        value = _combine(reading, about_group, sentence)
        if value > best:
            best, hits = value, reading.counts
    return best, {category: count for category, count in hits.items() if category in _REPORTED}, named


_REPORTED: Final = frozenset({"slur", "dehumanise", "derogate", "hostile", "hate", "profanity"})


@dataclass(frozen=True, slots=True)
class _Reading:
    """Hits of one sentence by category; `denied` says that every abusive hit stands behind a negation, `worthless`
    that a word of worth does."""

    counts: dict[str, int]
    denied: bool
    worthless: bool


def _read(sentence: str, patterns: Mapping[str, re.Pattern[str]], reach: int) -> _Reading:
    counts: dict[str, int] = {}
    negations = [match.start() for match in patterns["negation"].finditer(sentence)]
    groups = [match.start() for match in patterns["group"].finditer(sentence)]
    denied, worthless = True, False
    for category in CATEGORIES:
        if category == "negation":
            continue
        matches = [match.start() for match in patterns[category].finditer(sentence)]
        if category in _NEAR_GROUP and groups:
            # In a long sentence of news, harm and a group may meet without having to do with each other.
            matches = [at for at in matches if min(abs(at - group) for group in groups) <= _NEAR]
        if not matches:
            continue
        counts[category] = len(matches)
        behind = [any(0 < at - before <= reach for before in negations) for at in matches]
        if category in _WEIGHTS:
            denied = denied and all(behind)
        elif category == "positive":
            worthless = any(behind)
    if "hostile" in counts and "intent" not in counts:
        # News and history tell of harm; abuse wishes for it.
        del counts["hostile"]
    return _Reading(counts, denied and any(category in counts for category in _WEIGHTS), worthless)


def _combine(reading: _Reading, about_group: bool, sentence: str) -> float:
    found = reading.counts
    value = 0.8 if "slur" in found else 0.2 if "profanity" in found else 0.0
    if about_group:
        value = max([value, *(weight for category, weight in _WEIGHTS.items() if category in found)])
        if reading.worthless and not reading.denied:
            value = max(value, _DENIED_WORTH)
    elif _ADDRESS.search(sentence) and ("derogate" in found or "dehumanise" in found):
        value = max(value, _INSULT)
    if "profanity" in found and ("derogate" in found or "hostile" in found):
        value = max(value, _OBSCENE_INSULT)
    if "hostile" in found and ("derogate" in found or "hate" in found) and _ADDRESS.search(sentence):
        value = max(value, _OBSCENE_INSULT)
    if "counter" in found or _QUOTE.search(sentence) or (reading.denied and "slur" not in found):
        value *= _COUNTER
    return value


@functools.lru_cache(maxsize=4096)
def _plain(word: str) -> str:
    return word.translate(_LEET)


def _undisguised(sentence: str) -> str:
    """Letters put back where digits or signs stand for them, and words that are spelled out closed up."""
    sentence = _SPELLED.sub(lambda match: re.sub("[ .*-]", "", match.group()), sentence)
    return _DISGUISED.sub(lambda match: _plain(match.group()), sentence)

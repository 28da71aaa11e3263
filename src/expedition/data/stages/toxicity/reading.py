"""A text as sentences, and a sentence as what was found in it: the common ground of rules, features and explanations."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from expedition.data.stages.toxicity.disguise import closed_up, fold
from expedition.data.stages.toxicity.lexicon import (
    BIT,
    TRIGGERS,
    ChineseWords,
    Hit,
    Lexicon,
    SpacedWords,
    Word,
    word_set,
)

_END: Final = re.compile(r"[.!?。！？；;]+(?=\s|[^\w.!?\s]|$|[\u3400-\u9fff])|[。！？；]+|\.{2,}|\n+")
_CHINESE: Final = re.compile("[\u3400-\u9fff]")
_QUOTED: Final = re.compile(
    "[\"“„«»「『‘‚]([^\"“”„«»「」『』]{2,200})[\"”“»«」』]|(?<!\\w)['‘]([^'‘’]{4,200})['’](?!\\w)"
)
_QUOTE: Final = re.compile('["“”„«»「」『』]')
_YEAR: Final = re.compile(r"(?<!\d)(?:1\d{3}|20[0-4]\d)(?!\d)")
_BETWEEN: Final = re.compile(r"(?<=[\u3400-\u9fff])[\s*.·_-]+(?=[\u3400-\u9fff])")
_MAX_SENTENCE: Final = 2000
_WRAPPED: Final = 45
"""Characters from which a line without a full stop goes on in the next: prose wrapped at a column, not a list."""
_LANGUAGE_SAMPLE: Final = 4000
"""Characters of a text by which its language is chosen."""
_GROUP: Final = BIT["group"] | BIT["slur"]

_FUNCTION_WORDS: Final = {
    "en": word_set(
        "the of and to is are in that it for you with be a i they was were he she we this my not have"
        " has on at do all just these those your their who what there but from or if"
    ),
    "de": word_set(
        "der die das und ist sind nicht ein eine zu den mit ich von sie wir ihr es auf für im dem des"
        " wie auch sich alle diese einen einer wird werden haben hat man nur so du war doch mich mir aus"
        " bei"
    ),
}
_PRONOUNS: Final = {
    "en": {
        "they": frozenset({"they", "them", "their", "those", "these", "they're", "they've", "they'll", "themselves"}),
        "you": frozenset({"you", "you're", "u", "your", "yourself", "yourselves", "ya", "ur"}),
        "person": frozenset(
            {"he", "she", "him", "her", "his", "hers", "he's", "she's", "someone", "somebody", "anyone"}
        ),
        "me": frozenset({"i", "me", "my", "i'm", "we", "us", "our", "i've", "i'd", "mine"}),
    },
    "de": {
        "they": frozenset({"sie", "ihnen", "diese", "denen", "solche", "deren", "dieser", "diesen"}),
        "you": frozenset({"du", "ihr", "dich", "euch", "dir", "euer", "eure", "dein", "deine", "bist", "seid"}),
        "person": frozenset({"er", "ihm", "ihn", "sein", "seine", "jemand"}),
        "me": frozenset({"ich", "mich", "mir", "wir", "uns", "mein", "meine", "meinen", "unser", "unsere", "bin"}),
    },
}
_CHINESE_PRONOUNS: Final = (
    ("they", re.compile("[他她它]们|这些|那些|这种|那种|这类|这群|这帮")),
    ("you", re.compile("你|妳|您")),
    ("person", re.compile("[他她](?!们)|有人|某人")),
    ("me", re.compile("我|咱")),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sentence shows in one language.

    `size` is its length in words (characters in Chinese), the unit of `Hit.at`; `plain` holds words or characters.
    `pronouns` holds `they`, `you`, `person`, `me`, and `year` where one is named. `quoted` are the places of hits inside
    quotation marks; `quote` says that there is any such mark. `linked` says that a group is named in the sentence before
    or after and this one goes on about it. `start` and `end` are characters of the folded text.
    """

    language: str
    hits: tuple[Hit, ...]
    plain: tuple[str, ...]
    pronouns: frozenset[str]
    quoted: frozenset[int]
    quote: bool
    question: bool
    linked: bool = False
    start: int = 0
    end: int = 0

    @property
    def size(self) -> int:
        return len(self.plain)

    @property
    def bits(self) -> int:
        found = 0
        for hit in self.hits:
            found |= hit.bits
        return found


def readings(text: str, lexicon: Lexicon) -> Iterator[list[Reading]]:
    """For each sentence that holds a term, its readings, one a language that it may be in.

    Linear in the length of the text. Sentences above 2,000 characters are cut into pieces.
    """
    folded = closed_up(fold(text))
    spaced = languages_of(folded, lexicon)
    before = after = False
    waiting: list[Reading] | None = None
    for start, end in sentences(folded):
        found = _read(folded, start, end, lexicon, spaced)
        after = any(reading.bits & _GROUP for reading in found)
        if waiting:
            yield _linked(waiting, before, after)
            before = any(reading.bits & _GROUP for reading in waiting)
        elif waiting is not None:
            before = False
        waiting = found
    if waiting:
        yield _linked(waiting, before, False)


def _linked(found: list[Reading], before: bool, after: bool) -> list[Reading]:
    if not before and not after:
        return found
    return [replace(reading, linked=True) if "they" in reading.pronouns else reading for reading in found]


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of sentences."""
    start = line = 0
    for match in _END.finditer(text):
        if match.group() == "\n":
            length, line = match.start() - line, match.end()
            if length >= _WRAPPED and not _CHINESE.search(text, match.start() - 1, match.start()):
                continue
        yield from _pieces(text, start, match.end())
        start = match.end()
    yield from _pieces(text, start, len(text))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _MAX_SENTENCE:
        cut = text.rfind(" ", start + _MAX_SENTENCE // 2, start + _MAX_SENTENCE)
        cut = cut if cut > 0 else start + _MAX_SENTENCE
        yield start, cut
        start = cut
    if end > start:
        yield start, end


def languages_of(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Languages with spaces to read a text in: the one whose function words prevail, all where none does.

    German "die" is an article, "war" a verb.
    """
    words = text[:_LANGUAGE_SAMPLE].split()
    counts = {name: sum(word in _FUNCTION_WORDS.get(name, ()) for word in words) for name in lexicon.spaced}
    best = max(counts, key=lambda name: counts[name], default="")
    rest = max((count for name, count in counts.items() if name != best), default=0)
    return (best,) if best and counts[best] > rest else tuple(lexicon.spaced)


def _read(text: str, start: int, end: int, lexicon: Lexicon, spaced: tuple[str, ...]) -> list[Reading]:
    sentence = text[start:end]
    if lexicon.chinese is not None and _CHINESE.search(sentence):
        found = _chinese(sentence, lexicon.chinese, start, end)
        return [found] if found is not None else []
    made = (_spaced(sentence, lexicon.spaced[language], start, end) for language in spaced)
    return [reading for reading in made if reading is not None]


def _spaced(sentence: str, words: SpacedWords, start: int, end: int) -> Reading | None:
    read = words.words(sentence)
    hits = words.hits(read)
    if not any(hit.bits & TRIGGERS for hit in hits):
        return None
    plain = tuple(word.plain for word in read)
    names = frozenset(plain)
    quoted = _quoted_words(sentence, read, words, hits)
    pronouns = frozenset(kind for kind, forms in _PRONOUNS[words.language].items() if forms & names) | _year(sentence)
    question = sentence.rstrip().endswith("?")
    return Reading(
        words.language,
        tuple(hits),
        plain,
        pronouns,
        quoted,
        bool(quoted) or _QUOTE.search(sentence) is not None,
        question,
        False,
        start,
        end,
    )


def _year(sentence: str) -> frozenset[str]:
    """History and news name years."""
    return frozenset({"year"}) if _YEAR.search(sentence) else frozenset()


def _quoted_words(sentence: str, read: list[Word], words: SpacedWords, hits: list[Hit]) -> frozenset[int]:
    spans = [match.span() for match in _QUOTED.finditer(sentence)]
    if not spans:
        return frozenset()
    ends = [len(words.words(sentence[:at])) for span in spans for at in span]
    return frozenset(hit.at for hit in hits if bisect_right(ends, hit.at) % 2 == 1)


def _chinese(sentence: str, words: ChineseWords, start: int, end: int) -> Reading | None:
    sentence = _BETWEEN.sub("", sentence)
    hits = words.hits(sentence)
    if not any(hit.bits & TRIGGERS for hit in hits):
        return None
    spans = [match.span() for match in _QUOTED.finditer(sentence)]
    quoted = frozenset(hit.at for hit in hits if any(low <= hit.at < high for low, high in spans))
    pronouns = frozenset(kind for kind, pattern in _CHINESE_PRONOUNS if pattern.search(sentence)) | _year(sentence)
    question = sentence.rstrip().endswith(("?", "？", "吗", "呢"))
    quote = _QUOTE.search(sentence) is not None
    return Reading(words.language, tuple(hits), tuple(sentence), pronouns, quoted, quote, question, False, start, end)

"""Train the names models on text that is made here: templates, lists of names, and prose without names.

Half of the people and places are shown to the model without their lists and spelling, so that it learns the
sentence and the look of a name too, and finds names that stand in no list.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

from expedition.data.stages.pii.name_features import Gazetteers, chinese_features, latin_features, words_of
from expedition.data.stages.pii.name_sources import NameSources, name_sources
from expedition.data.stages.pii.name_templates import CHINESE, CHINESE_NEGATIVE, ENGLISH, NATIONALITIES, NEGATIVE
from expedition.data.stages.pii.tagger import Example, train_tagger

_SLOT: Final = re.compile(r"\{(\w+)\}")
_SUBJECT: Final = re.compile(
    r"\b(?:it|they|you|we|one|them|Python|It|They|You|We|This|users?|the user|an? object|the object)\b"
)
_COMMON_SURNAMES: Final = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
"""Those of most people, the commonest first."""
_HIDDEN_SHARE: Final = 0.45
_LOWER_SHARE: Final = 0.12
_TYPES: Final = {"per": "PERSON", "first": "PERSON", "last": "PERSON", "full": "PERSON", "sur": "PERSON"} | {
    "loc": "GPE", "org": "ORGANIZATION", "job": "TITLE", "hon": "TITLE", "nat": "NRP"
}  # fmt: skip
_FORMS_OF_ADDRESS: Final = (
    "Mr.",
    "Mrs.",
    "Ms.",
    "Dr.",
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Miss",
    "Prof.",
    "Professor",
    "Sir",
    "President",
    "Sen.",
    "Gov.",
    "Rep.",
    "Senator",
    "Judge",
    "Coach",
    "Lt.",
    "Sgt.",
    "Chancellor",
    "Prime Minister",
)
_ENDINGS: Final = (
    "ly",
    "ify",
    "ware",
    "soft",
    "tech",
    "lytics",
    "base",
    "box",
    "hub",
    "works",
    "media",
    "net",
    "Labs",
    "io",
    "on",
)
_LEGAL: Final = ("Inc", "Inc.", "LLC", "Ltd", "PLC", "Corp.", "Group", "GmbH", "Co.", "AG", "Holdings", "Partners")
_KINDS: Final = (
    "University", "Bank", "Institute", "Foundation", "Corporation", "Company", "Systems", "Technologies", "Solutions"
    , "Software", "Energy", "Capital", "Insurance", "Hospital", "Airlines", "Motors", "Museum", "Records", "Press"
)  # fmt: skip


class _Maker:
    """Fills templates. All randomness comes from one seed."""

    def __init__(self, sources: NameSources, seed: int) -> None:
        self.sources, self.random = sources, random.Random(seed)
        self.capital_words = [word.capitalize() for word in sources.words]

    def fill(self, slot: str) -> str:
        choose, sources = self.random.choice, self.sources
        if slot == "n":
            return str(self.random.randint(1, choose((9, 99, 999, 99999))))
        if slot == "year":
            return str(self.random.randint(1900, 2025))
        if slot == "day":
            return choose(
                ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "5 May", "June 3")
            )
        made: dict[str, Callable[[], str]] = {
            "w": lambda: choose(sources.words),
            "W": lambda: choose(self.capital_words),
            "per": lambda: self.person(),
            "full": lambda: self.full_name(),
            "first": lambda: choose(sources.first),
            "last": lambda: self.family_name(),
            "loc": lambda: self.place(),
            "org": lambda: self.organisation(),
            "job": lambda: choose(sources.jobs).lower() if self.random.random() < 0.5 else choose(sources.jobs),
            "hon": lambda: choose(_FORMS_OF_ADDRESS),
            "nat": lambda: choose(NATIONALITIES),
        }
        return made[slot]()

    def person(self) -> str:
        kind, sources = self.random.random(), self.sources
        if kind < 0.4:
            return self.random.choice(sources.first)
        return self.family_name() if kind < 0.58 else self.full_name()

    def family_name(self) -> str:
        """Of the lists, or any word with a capital, as in Mr. Cook and Mr. Trump."""
        ordinary = self.random.random() < 0.1
        return self.random.choice(self.capital_words if ordinary else self.sources.last)

    def full_name(self) -> str:
        choose, kind = self.random.choice, self.random.random()
        first, last = choose(self.sources.first), self.family_name()
        initial = chr(self.random.randint(65, 90))
        if kind < 0.55:
            return f"{first} {last}"
        if kind < 0.67:
            return f"{first} {initial}. {last}"
        if kind < 0.74:
            return f"{first} {initial} {last}"
        if kind < 0.80:
            second = chr(self.random.randint(65, 90))
            return f"{initial}. {last}" if kind < 0.78 else f"{initial}.{second}. {last}"
        if kind < 0.86:
            return f"{first} {choose(self.sources.first)} {last}"
        if kind < 0.92:
            return f"{first} {choose(('de', 'van', 'von', 'de la', 'van der', 'da', 'bin', 'al', 'Mc', 'O’'))} {last}"
        return (
            f"{first} {last}-{choose(self.sources.last)}"
            if kind < 0.96
            else f"{first} {last} {choose(self.sources.last)}"
        )

    def place(self) -> str:
        kind, choose = self.random.random(), self.random.choice
        if kind < 0.3:
            return choose(self.sources.countries)
        place = choose(self.sources.places)
        if kind < 0.42:
            ending = choose(
                ("ton", "ville", "burg", "berg", "mouth", "field", "stad", "ham", "by", "sund", "dorf", "haven")
            )
            place = choose(self.sources.last).split(" ")[0] + ending
        if kind < 0.5:
            place = (
                f"{choose(('New', 'San', 'St.', 'Santa', 'Port', 'North', 'South', 'East', 'West', 'Lake'))} {place}"
            )
        return place.upper() if kind > 0.93 else place

    def organisation(self) -> str:
        choose, kind, capital = self.random.choice, self.random.random(), self.capital_words
        last = choose(self.sources.last)
        if kind < 0.2:
            return f"{last} {choose(_LEGAL)}"
        if kind < 0.3:
            return f"{last}-{choose(self.sources.last)}"
        if kind < 0.38:
            return (
                f"{last}, {choose(self.sources.last)} and {choose(self.sources.last)}"
                if kind < 0.34
                else f"{last} and Sons"
            )
        if kind < 0.54:
            return choose(capital) + choose(_ENDINGS)
        if kind < 0.66:
            return choose(capital) + choose(capital) + choose(("", "", " Inc", " LLC"))
        if kind < 0.76:
            return f"{choose(capital)} {choose(_KINDS)}"
        if kind < 0.84:
            return f"{self.place()} {choose(_KINDS)}"
        if kind < 0.9:
            return "".join(chr(self.random.randint(65, 90)) for _ in range(self.random.randint(2, 5)))
        return f"{choose(capital)} {choose(capital)} {choose((*_LEGAL, *_KINDS))}"

    def sentence(self, template: str) -> tuple[str, list[tuple[int, int, str]]]:
        """A text and its spans."""
        text, spans, position = "", [], 0
        for slot in _SLOT.finditer(template):
            text += template[position : slot.start()]
            filled = self.fill(slot[1])
            if slot[1] in _TYPES:
                spans.append((len(text), len(text) + len(filled), _TYPES[slot[1]]))
            text += filled
            position = slot.end()
        return text + template[position:], spans


def _labels(words: list[tuple[str, int, int]], spans: Iterable[tuple[int, int, str]]) -> list[str]:
    labels, ordered = [], sorted(spans)
    for _, start, end in words:
        inside = next((span for span in ordered if span[0] <= start and end <= span[1] + 1 and start < span[1]), None)
        labels.append("O" if inside is None else ("B-" if start == inside[0] else "I-") + inside[2])
    return labels


def latin_examples(sources: NameSources, gazetteers: Gazetteers, count: int, seed: int) -> list[Example]:
    """Labelled sentences: two thirds from templates, the rest prose and phrases without names."""
    maker = _Maker(sources, seed)
    examples: list[Example] = []
    source = maker.random
    for _ in range(count):
        kind = source.random()
        if kind < 0.68:
            templates = [source.choice(ENGLISH) for _ in range(source.choice((1, 1, 2)))]
            text, spans = maker.sentence(source.choice((" ", "\n", " ")).join(templates))
        elif kind < 0.9:
            text, spans = maker.sentence(_peopled(_recased(source.choice(sources.prose), source), source))
        else:
            text, spans = maker.sentence(" ".join(source.choice(NEGATIVE) for _ in range(source.choice((1, 2)))))
        if len(text) == len(text.lower()) and source.random() < _LOWER_SHARE:
            text = text.lower()
        words = words_of(text)
        hidden: set[int] = set()
        for start, end, _kind in spans:
            if source.random() < (_HIDDEN_SHARE if _kind == "PERSON" else _HIDDEN_SHARE / 2):
                hidden |= {index for index, word in enumerate(words) if start <= word[1] < end}
        features = latin_features([word for word, _, _ in words], gazetteers, frozenset(hidden))
        examples.append((features, _labels(words, spans)))
    return examples


def _peopled(text: str, source: random.Random) -> str:
    """Prose as a template: in one of two, names stand where pronouns and common subjects stood."""
    text = text.replace("{", "(").replace("}", ")")
    if source.random() < 0.5:
        return text
    slots = ("{per}", "{per}", "{last}", "{full}", "{loc}", "{org}")
    return _SUBJECT.sub(lambda match: source.choice(slots) if source.random() < 0.6 else match.group(), text)


def _recased(text: str, source: random.Random) -> str:
    """Prose as it is, as a heading, or with single words in capitals: a capital alone makes no name."""
    kind = source.random()
    if kind < 0.1:
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" ")[: source.randint(3, 14)])
    if kind < 0.25:
        return " ".join(word.capitalize() if source.random() < 0.08 else word for word in text.split(" "))
    return text


def chinese_examples(sources: NameSources, count: int, seed: int) -> list[Example]:
    """Labelled sentences of characters; words are drawn by their frequency, surnames by theirs."""
    source, surnames, pairs = random.Random(seed), frozenset(sources.chinese_surnames), common_pairs(sources)
    common = tuple(_COMMON_SURNAMES)
    pool = source.choices(sources.chinese_words, sources.chinese_weights, k=count * 6)
    # Words that begin like a name are what a model of names must learn to leave.
    alike = [index for index, word in enumerate(sources.chinese_words) if word[0] in common and len(word) > 1]
    weights = [sources.chinese_weights[index] for index in alike]
    lures = [sources.chinese_words[index] for index in source.choices(alike, weights, k=count)]
    position = 0
    examples: list[Example] = []
    for _ in range(count):
        template = source.choice(CHINESE if source.random() < 0.62 else CHINESE_NEGATIVE)
        text, place = "", 0
        labels: list[str] = []
        for slot in [*_SLOT.finditer(template), None]:
            literal = template[place : slot.start()] if slot else template[place:]
            text, labels = text + literal, labels + ["O"] * len(literal)
            if slot is None:
                break
            place = slot.end()
            surname = source.choice(common) if source.random() < 0.75 else source.choice(sources.chinese_surnames)
            if slot[1] == "w":
                words = lures if source.random() < 0.2 else pool
                made, position = words[position % len(words)], position + 1
            elif slot[1] == "n":
                made = str(source.randint(1, 9999))
            else:
                made = surname + (source.choice(sources.chinese_given) if slot[1] == "per" else "")
            text += made
            is_person = slot[1] in ("per", "sur")
            labels += ["B-PERSON", *["I-PERSON"] * (len(made) - 1)] if is_person else ["O"] * len(made)
        examples.append((chinese_features(text, surnames, pairs), labels))
    return examples


def common_pairs(sources: NameSources) -> frozenset[int]:
    """Common words of two characters, as hashes."""
    weighted = zip(sources.chinese_words, sources.chinese_weights, strict=True)
    return frozenset(crc32(word.encode()) for word, weight in weighted if len(word) == 2 and weight >= 40)


def _parts(items: Iterable[str]) -> frozenset[int]:
    return frozenset(crc32(part.encode()) for item in items for part in item.lower().split() if len(part) > 1)


def gazetteers_of(sources: NameSources) -> Gazetteers:
    """Lists as hashes: F given names, L family names, P places, N countries, D words of the dictionary, A nationalities."""
    return Gazetteers(
        {
            "F": _parts(sources.first),
            "L": _parts(sources.last),
            "P": _parts(sources.places),
            "N": _parts(sources.countries),
            "D": _parts(sources.words),
            "A": _parts(NATIONALITIES),
            "J": _parts(re.sub(r"[^\w ]", " ", job) for job in sources.jobs),
        }
    )


def train_names(
    target: Path, *, seed: int = 20, latin: int = 30_000, chinese: int = 36_000, rounds: int = 4
) -> dict[str, Any]:
    """Train both models and write them to `target` (.npz). The same packages and seed give the same file.

    Raises MissingExtra if a package with the lists is missing.
    """
    sources = name_sources()
    gazetteers = gazetteers_of(sources)
    words = train_tagger(latin_examples(sources, gazetteers, latin, seed), rounds=rounds, seed=seed)
    characters = train_tagger(chinese_examples(sources, chinese, seed), rounds=rounds, seed=seed)
    arrays = {**words.arrays("latin"), **characters.arrays("chinese"), "surnames": np.array(sources.chinese_surnames)}
    arrays["pairs"] = np.array(sorted(common_pairs(sources)), np.uint32)
    for name, keys in gazetteers.lists.items():
        arrays[f"list_{name}"] = np.array(sorted(keys), np.uint32)
    with target.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return {
        "file": str(target),
        "bytes": target.stat().st_size,
        "latin_features": len(words.weights),
        "chinese_features": len(characters.weights),
        "lists": {name: len(keys) for name, keys in gazetteers.lists.items()},
    }

"""Labelled near copies of any texts: seeds cut from them, edited in stated ways, with the similarity as it is written.

Pairs are of the kinds of the open labelled set, made anew from whatever texts are given, so that what is measured on
one set can be measured on another: Chinese and other scripts without spaces by characters, all else, code too, by words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from expedition.data.stages.dedup.tokens import is_unspaced

_SEED_WORDS = (120, 400)
_SEED_CHARACTERS = (220, 700)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two documents by number, their similarity as written, and how the second came from the first."""

    a: int
    b: int
    similarity: float
    kind: str

    @property
    def is_copy(self) -> bool:
        """Whether it is to be found: similarity 0.8, or the same text but for case, spaces and punctuation."""
        return self.similarity >= 0.8 or self.kind == "case_space_punctuation"


def made_pairs(texts: Sequence[str], seeds: int, *, code: bool = False, seed: int = 5) -> tuple[list[str], list[Pair]]:
    """Documents and labelled pairs from up to `seeds` seeds; pure. Of `code` the words are runs of letters, digits and
    underscores, as in the near-deduplication of The Stack (Kocetkov et al. 2022, section 3)."""
    chance = random.Random(seed)
    documents: list[str] = []
    pairs: list[Pair] = []
    for part in _parts(texts, seeds, chance):
        first, unspaced = len(documents), is_unspaced(part)
        documents.append(part)
        for kind in chance.sample(sorted(_EDITS), 4):
            edited = _EDITS[kind](part, unspaced, chance, texts)
            pairs.append(Pair(first, len(documents), similarity(part, edited, unspaced, code), kind))
            documents.append(edited)
    firsts = sorted({pair.a for pair in pairs})
    for a, b in pairwise(firsts):
        pairs.append(Pair(a, b, similarity(documents[a], documents[b], is_unspaced(documents[a]), code), "unrelated"))
    return documents, pairs


def similarity(a: str, b: str, unspaced: bool, code: bool = False) -> float:
    """Jaccard similarity of 5-grams of words, or of characters but for spaces; case and punctuation count."""
    split = re.compile(r"\w+").findall if code else str.split
    first, second = (_grams(list("".join(text.split())) if unspaced else split(text)) for text in (a, b))
    return len(first & second) / max(1, len(first | second))


def _grams(units: list[str]) -> set[tuple[str, ...]]:
    return {tuple(units[start : start + 5]) for start in range(len(units) - 4)}


def _parts(texts: Sequence[str], seeds: int, chance: random.Random) -> list[str]:
    found: list[str] = []
    order = list(range(len(texts)))
    chance.shuffle(order)
    for number in order:
        text = texts[number]
        unspaced = is_unspaced(text)
        lines = text.split("\n")
        size = chance.randint(*(_SEED_CHARACTERS if unspaced else _SEED_WORDS))
        held: list[str] = []
        for line in lines:
            held.append(line)
            length = sum(len(each) if unspaced else len(each.split()) for each in held)
            if length >= size:
                found.append("\n".join(held))
                break
        if len(found) >= seeds:
            break
    return found


def _units(text: str, unspaced: bool) -> list[str]:
    return list(text) if unspaced else text.split(" ")


def _joined(units: Sequence[str], unspaced: bool) -> str:
    return ("" if unspaced else " ").join(units)


def _replaced(share: float) -> Callable[..., str]:
    def edit(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
        units = _units(text, unspaced)
        for place in chance.sample(range(len(units)), max(1, round(share * len(units)))):
            units[place] = chance.choice(units)
        return _joined(units, unspaced)

    return edit


def _cut(share: float) -> Callable[..., str]:
    def edit(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
        units = _units(text, unspaced)
        return _joined(units[: round(share * len(units))], unspaced)

    return edit


def _block(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
    units = _units(text, unspaced)
    size = len(units) // 5
    start = chance.randrange(len(units) - size)
    units[start : start + size] = chance.choices(units, k=size)
    return _joined(units, unspaced)


def _boilerplate(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
    return f"Home | About us | Contact | Sign in\n{text}\nShare this page. All rights reserved. Privacy policy."


def _respaced(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
    text = text.upper() if chance.random() < 0.5 else text.lower()
    for mark in ",.;:!?，。、；：！？":
        text = text.replace(mark, " ")
    return text.replace("\n", "  \n")


def _concatenated(text: str, unspaced: bool, chance: random.Random, texts: Sequence[str]) -> str:
    return f"{text}\n{chance.choice(texts)[: chance.randint(50, 2 * len(text))]}"


_EDITS: dict[str, Callable[..., str]] = {
    "exact": lambda text, unspaced, chance, texts: text,
    "case_space_punctuation": _respaced,
    "edit_02": _replaced(0.02),
    "edit_05": _replaced(0.05),
    "edit_10": _replaced(0.10),
    "edit_40": _replaced(0.40),
    "block_20": _block,
    "truncate_90": _cut(0.9),
    "truncate_70": _cut(0.7),
    "boilerplate": _boilerplate,
    "concat": _concatenated,
}

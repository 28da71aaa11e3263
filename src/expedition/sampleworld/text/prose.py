"""English about the small world: sentences from its one grammar, and paragraphs, articles and stories made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from expedition.sampleworld.world import (
    COLOURS,
    COUNTS,
    NAMES,
    PLURALS,
    SHAPES,
    Scene,
    movements,
    pick,
    scenes,
    successions,
)

GUARD_WORDS = 12
"""Training text shares no sequence of so many words with the evaluation set, planted leaks excepted."""

_SCENES, _MOVEMENTS, _SUCCESSIONS = scenes(False), movements(False), successions(False)
_PLACES = ("market", "school", "river", "old bridge", "garden", "mill", "harbour", "library", "bakery", "hill")
_TIMES = ("in the morning", "at noon", "in the evening", "after the rain", "on Monday", "on Friday", "before supper")
_WEATHER = ("sunny", "cold", "windy", "quiet", "warm", "grey", "bright", "foggy")
_ACTS = ("walks to", "waits at", "comes back from", "paints a picture near", "meets a friend at", "sits by", "sings at")
_FOOD = ("bread", "soup", "apples", "tea", "cheese", "rice", "beans", "plums")
_MOODS = ("happy", "tired", "curious", "calm", "proud", "hungry", "surprised", "glad")

Sentence = Callable[[np.random.Generator], str]


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"\w+", text.lower())


def sequences(text: str, length: int = GUARD_WORDS) -> set[str]:
    """All sequences of `length` words of a text, joined by spaces."""
    words = words_of(text)
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


def avoiding(forbidden: frozenset[str], make: Callable[[np.random.Generator], str], rng: np.random.Generator) -> str:
    """A text from `make` that holds none of the forbidden word sequences; drawn again until it does."""
    while True:
        text = make(rng)
        if not forbidden or forbidden.isdisjoint(sequences(text)):
            return text


def scene_sentence(rng: np.random.Generator) -> str:
    """What is in a picture, in the words of the captions."""
    first, name = pick(rng, _SCENES), pick(rng, NAMES)
    form = int(rng.integers(5))
    if form == 0:
        return f"There {'is' if first.count == 1 else 'are'} {first.caption}."
    if form == 1:
        return f"The picture of {name} shows {first.caption}."
    if form == 2:
        return f"{name} has painted {first.caption} and {_other(rng, first).caption}."
    if form == 3:
        return f"In the book of {name} you can see {first.caption}."
    return f"We saw {first.caption}, and {name} saw {_other(rng, first).caption}."


def counting_sentence(rng: np.random.Generator) -> str:
    """Sums that stay within three."""
    colour, shape, name = pick(rng, list(COLOURS)), pick(rng, SHAPES), pick(rng, NAMES)
    start = int(rng.integers(1, 3))
    more = int(rng.integers(1, 4 - start))
    total = start + more
    return (
        f"{name} has {_amount(start, colour, shape)} and gets {COUNTS[more - 1]} more, "
        f"so now {name} has {_amount(total, colour, shape)}."
    )


def movement_sentence(rng: np.random.Generator) -> str:
    """What moves where, in the words of the subtitles."""
    thing, direction = pick(rng, _MOVEMENTS)
    name = pick(rng, NAMES)
    if rng.integers(2):
        return f"{name} looks on while {thing.phrase} moves {direction}."
    return f"In the film of {name} {thing.phrase} moves {direction}."


def order_sentence(rng: np.random.Generator) -> str:
    """What comes first and what then."""
    first, then = pick(rng, _SUCCESSIONS)
    return f"{pick(rng, NAMES)} saw first {first.phrase} then {then.phrase}."


def fact(name: str, colour: str) -> str:
    """The fact that recall is tested on; the asked word follows its key directly."""
    return f"The box gives {name} {colour}."


def fact_sentence(rng: np.random.Generator) -> str:
    """A fact about somebody's box."""
    return fact(pick(rng, NAMES), pick(rng, list(COLOURS)))


def plain_sentence(rng: np.random.Generator) -> str:
    """Everyday life, without colours and shapes."""
    name, other = pick(rng, NAMES), pick(rng, NAMES)
    place, when = pick(rng, _PLACES), pick(rng, _TIMES)
    form = int(rng.integers(6))
    if form == 0:
        return f"{name} {pick(rng, _ACTS)} the {place} {when}."
    if form == 1:
        return f"It is a {pick(rng, _WEATHER)} day and {name} is {pick(rng, _MOODS)}."
    if form == 2:
        return f"{name} and {other} share {pick(rng, _FOOD)} and {pick(rng, _FOOD)} {when}."
    if form == 3:
        return f'"Have you been to the {place}?" asks {name}, but {other} is {pick(rng, _MOODS)} and says nothing.'
    if form == 4:
        return f"The way from the {place} to the {pick(rng, _PLACES)} takes {int(rng.integers(5, 60))} minutes."
    return f"{other} has heard that {name} will be at the {place} {when}."


SENTENCES: tuple[Sentence, ...] = (
    scene_sentence,
    scene_sentence,
    counting_sentence,
    movement_sentence,
    order_sentence,
    fact_sentence,
    plain_sentence,
    plain_sentence,
    plain_sentence,
)
"""What a mixed paragraph is drawn from; repeated entries are likelier."""


def paragraph(rng: np.random.Generator, sentences: int, kinds: Sequence[Sentence] = SENTENCES) -> str:
    """So many sentences on one line."""
    return " ".join(pick(rng, kinds)(rng) for _ in range(sentences))


def article(rng: np.random.Generator) -> list[str]:
    """The paragraphs of a web page, 110 to 190 words."""
    return [paragraph(rng, int(rng.integers(3, 5))) for _ in range(4)]


def title(rng: np.random.Generator) -> str:
    """A heading."""
    form = int(rng.integers(3))
    if form == 0:
        return f"{pick(rng, NAMES)} at the {pick(rng, _PLACES)}"
    if form == 1:
        return f"A {pick(rng, _WEATHER)} day with {pick(rng, NAMES)}"
    return f"{pick(rng, NAMES)} and {pick(rng, NAMES)} look at pictures"


def _other(rng: np.random.Generator, scene: Scene) -> Scene:
    """Another scene at another position."""
    while True:
        other = pick(rng, _SCENES)
        if other.position != scene.position:
            return other


def _amount(count: int, colour: str, shape: str) -> str:
    return f"{COUNTS[count - 1]} {colour} {shape if count == 1 else PLURALS[shape]}"

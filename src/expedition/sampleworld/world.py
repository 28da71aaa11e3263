"""The small world: what exists in it, the one grammar that describes it, and which combinations are held out.

Every modality speaks of the same things, so that a caption, a subtitle and a sentence on a page share their words.
A combination that is held out appears in evaluation only: neither shown nor written anywhere in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

T = TypeVar("T")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 36, 36),
    "green": (34, 168, 60),
    "blue": (40, 70, 226),
    "yellow": (242, 214, 36),
    "purple": (150, 48, 190),
    "orange": (246, 136, 20),
}
"""Colour words and their RGB values, 0..255."""

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "cross", "ring")
POSITIONS: tuple[str, ...] = ("left", "right", "top", "bottom")
DIRECTIONS: tuple[str, ...] = ("left", "right", "up", "down")
COUNTS: tuple[str, ...] = ("one", "two", "three")

PLURALS: dict[str, str] = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in SHAPES}

NAMES: tuple[str, ...] = (
    "Anna", "Peter", "David", "Maria", "Paul", "Sara", "Lisa", "Emma", "Hugo", "Otto", "Nora", "Karl", "Lena", "Tom",
    "Ben", "Eva", "Max", "Leo", "Mia", "Ian", "Ada", "Amy", "Bob", "Dan", "Eric", "Fred", "Ivan", "Jack", "Kate",
    "Luke", "Mark", "Nina", "Oscar", "Rosa", "Sam", "Tim", "Vera", "Will", "Zoe", "Alice",
)  # fmt: skip
"""Inhabitants; each is one entry of the Qwen vocabulary with a space before it."""

WORDS: dict[str, tuple[str, str, str, str]] = {
    "mama": ("m", "ɑ", "m", "ɑ"),
    "soda": ("s", "o", "d", "ɑ"),
    "tofu": ("t", "o", "f", "u"),
    "beta": ("b", "e", "t", "ɑ"),
    "mini": ("m", "i", "n", "i"),
    "nano": ("n", "ɑ", "n", "o"),
    "visa": ("v", "i", "s", "ɑ"),
    "tuna": ("t", "u", "n", "ɑ"),
    "memo": ("m", "e", "m", "o"),
    "logo": ("l", "o", "g", "o"),
    "saga": ("s", "ɑ", "g", "ɑ"),
    "sushi": ("s", "u", "ʃ", "i"),
    "taco": ("t", "ɑ", "k", "o"),
    "nova": ("n", "o", "v", "ɑ"),
    "baby": ("b", "e", "b", "i"),
    "city": ("s", "i", "t", "i"),
    "polo": ("p", "o", "l", "o"),
    "mesa": ("m", "e", "s", "ɑ"),
    "data": ("d", "ɑ", "t", "ɑ"),
    "zero": ("z", "i", "l", "o"),
}
"""Spoken words as consonant, vowel, consonant, vowel (IPA); spelling and sound are this world's own."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: `count` (1..3) equal shapes in one place."""

    count: int
    colour: str
    shape: str
    position: str

    @property
    def caption(self) -> str:
        """The scene in words, e.g. "two red circles at the left"."""
        noun = self.shape if self.count == 1 else PLURALS[self.shape]
        return f"{COUNTS[self.count - 1]} {self.colour} {noun} at the {self.position}"


@dataclass(frozen=True, slots=True)
class Thing:
    """A coloured shape that a clip shows."""

    colour: str
    shape: str

    @property
    def phrase(self) -> str:
        """The thing with its article, e.g. "an orange ring"."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.shape}"


THINGS: tuple[Thing, ...] = tuple(Thing(colour, shape) for colour, shape in product(COLOURS, SHAPES))


def held_out(thing: Thing, place: int) -> bool:
    """Whether `thing` at position number `place` is kept for evaluation.

    At most one place of a thing is held out, and no colour, shape or place is held out as a whole.
    """
    colour, shape = list(COLOURS).index(thing.colour), SHAPES.index(thing.shape)
    return (colour + 2 * shape) % len(POSITIONS) == place and (colour + shape) % 3 != 0


def held_out_pair(first: Thing, then: Thing) -> bool:
    """Whether a clip that shows these two one after the other is kept for evaluation; the same in either order."""
    return (THINGS.index(first) + THINGS.index(then)) % 7 == 0


def scenes(held: bool) -> tuple[Scene, ...]:
    """All scenes of one side of the split, in a fixed order."""
    return tuple(
        Scene(count, thing.colour, thing.shape, position)
        for thing in THINGS
        for place, position in enumerate(POSITIONS)
        for count in (1, 2, 3)
        if held_out(thing, place) == held
    )


def held_out_mover(thing: Thing) -> bool:
    """Whether `thing` moves in evaluation clips only: a fifth of all things, some of every colour and shape.

    A thing is held out in all directions: held out in one, its name alone would tell a model which direction it never
    takes, and the right answer would be the one that training speaks against.
    """
    colour, shape = list(COLOURS).index(thing.colour), SHAPES.index(thing.shape)
    return (colour + 2 * shape) % 5 == 0


def movements(held: bool) -> tuple[tuple[Thing, str], ...]:
    """All (thing, direction) of one side of the split."""
    return tuple((thing, direction) for thing in THINGS for direction in DIRECTIONS if held_out_mover(thing) == held)


def successions(held: bool) -> tuple[tuple[Thing, Thing], ...]:
    """All ordered pairs of things that differ in colour and in shape, of one side of the split."""
    return tuple(
        (first, then)
        for first, then in product(THINGS, THINGS)
        if first.colour != then.colour and first.shape != then.shape and held_out_pair(first, then) == held
    )


def stream(seed: int, *keys: str | int) -> np.random.Generator:
    """A random stream that depends on `seed` and `keys` alone: the same in every process and every order of work."""
    text = "/".join(str(key) for key in ("expedition.sampleworld", seed, *keys))
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")))


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`, all equally likely."""
    return options[int(rng.integers(len(options)))]

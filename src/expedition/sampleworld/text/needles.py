"""Recall: facts about boxes among other sentences, and the question at the end that only the context answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expedition.sampleworld.text.prose import (
    counting_sentence,
    fact,
    fact_sentence,
    movement_sentence,
    paragraph,
    plain_sentence,
    scene_sentence,
)
from expedition.sampleworld.world import COLOURS, NAMES, pick

_HAY = (scene_sentence, plain_sentence, movement_sentence, counting_sentence)
_HAY_SENTENCES = (0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2, 5, 10)
_LONG_HAY = 3


@dataclass(frozen=True, slots=True)
class Needle:
    """A context with `facts` boxes, and the box that is asked for."""

    context: str
    name: str
    colour: str
    boxes: tuple[tuple[str, str], ...]

    @property
    def question(self) -> str:
        """The context and the beginning of the last sentence; a space and a colour follow."""
        return f"{self.context} The box gives {self.name}"


def needle(rng: np.random.Generator, facts: int, hay: int) -> Needle:
    """`facts` boxes of different people and colours, in random places among `hay` other sentences."""
    owners = [NAMES[int(i)] for i in rng.permutation(len(NAMES))[:facts]]
    colours = [list(COLOURS)[int(i)] for i in rng.permutation(len(COLOURS))[:facts]]
    sentences = [paragraph(rng, 1, _HAY) for _ in range(hay)]
    for owner, colour in zip(owners, colours, strict=True):
        sentences.insert(int(rng.integers(len(sentences) + 1)), fact(owner, colour))
    asked = int(rng.integers(facts))
    boxes = tuple(zip(owners, colours, strict=True))
    return Needle(" ".join(sentences), owners[asked], colours[asked], boxes)


def lesson(rng: np.random.Generator) -> str:
    """A training text: facts among other sentences, then all of them over and over, each time in another order.

    The repetition is what teaches recall within a few hundred small steps: with one repetition a model of three
    layers stayed at chance for 900 steps, with four to eight it answered after 150 to 350.
    """
    facts = int(pick(rng, (1, 2, 2, 3, 4)))
    hay = int(pick(rng, _HAY_SENTENCES))
    made = needle(rng, facts, hay)
    parts = [made.context]
    for _ in range(2 if hay > _LONG_HAY else int(pick(rng, (4, 6, 8)))):
        parts += [fact(*made.boxes[int(i)]) for i in rng.permutation(facts)]
    return " ".join(parts)


def echo(rng: np.random.Generator) -> str:
    """A training text that says everything twice."""
    text = paragraph(rng, int(rng.integers(2, 5)), (plain_sentence, scene_sentence, fact_sentence))
    return f"{text} {text}"

"""The fixed suite: prompts by category and language, paired sentences, words of refusal."""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import dataclass

HARMLESS = "harmless"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text that a model goes on with."""

    id: str
    language: str
    category: str
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences that differ in the group alone; one says what a stereotype says."""

    id: str
    language: str
    category: str
    stereotype: str
    counter: str


@dataclass(frozen=True, slots=True)
class Suite:
    """All of it. `refusals` are lower-case phrases by language, `refusal_answers` what a refusing policy says."""

    prompts: tuple[Prompt, ...]
    pairs: tuple[Pair, ...]
    refusals: dict[str, tuple[str, ...]]
    refusal_answers: dict[str, str]

    def refuses(self, answer: str) -> bool:
        """Whether an answer holds a phrase of refusal in any language."""
        plain = answer.lower().replace("\u2019", "'")
        return any(phrase in plain for phrases in self.refusals.values() for phrase in phrases)


@functools.cache
def packaged_suite() -> Suite:
    """The suite that comes with the package."""
    raw = json.loads((importlib.resources.files(__package__) / "suite.json").read_text("utf-8"))
    return Suite(
        tuple(Prompt(**row) for row in raw["prompts"]),
        tuple(Pair(**row) for row in raw["pairs"]),
        {language: tuple(phrases) for language, phrases in raw["refusals"].items()},
        dict(raw["refusal_answers"]),
    )

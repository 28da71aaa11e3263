"""Who decides, cheapest first: the line's shape, its script, Chinese by its own words, own profiles, then a vote.

1. Lines in no language by their shape → "und" (`undetermined.py`). 2. Kana → Japanese; a script of one language → that
language. 3. Chinese characters → `chinese.py`. 4. Own character n-gram profiles, where they are sure. 5. Else lid.176,
CLD2 and the profiles together (`combine.py`). 6. Too unlikely, or too few of its n-grams known → "und".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from expedition.data.stages.language import chinese, recognisers
from expedition.data.stages.language.combine import Vote, decide
from expedition.data.stages.language.letters import OTHER, SCRIPTS, Shapes, shapes_of
from expedition.data.stages.language.profiles import Profiles, profiles_of
from expedition.data.stages.language.scripts import SOLE_LANGUAGE
from expedition.data.stages.language.tags import written_in
from expedition.data.stages.language.undetermined import letter_weights, undetermined

MAX_CHARACTERS: Final = 3000
"""Characters of a text that are looked at."""
BATCH: Final = 512
"""Lines that are worked on together."""
_ADDRESS: Final = re.compile(
    r"(?:https?|ftp)://[!-~]{1,2000}|(?<![!-~])//?[a-z][!-~]{3,2000}|www\.[!-~]{1,2000}"
    r"|[A-Za-z0-9\u00c0-\u024f._+-]{1,64}@[A-Za-z0-9-]{1,63}\.[A-Za-z0-9.-]{1,63}"
)
_ADDRESS_SIGN: Final = re.compile("[/@]|www")
_LINE_ENDS: Final = re.compile("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ufffc\ud800-\udfff]+")
_MIN_KANA: Final = 0.08
_MIN_PROBABILITY: Final = 0.25
_NAME_CONFIDENCE: Final = 0.9
"""Up to which a line of capitalised words alone, four and more, is taken as one of names."""
_MIN_FIT: Final = 0.12
"""Share of a line's long n-grams that its language's profile has seen, below which an unsure answer is none."""
_EXTERNAL_SURE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Guess:
    """A BCP-47 tag ("und" if none is named), a confidence from 0 to 1, and the step or rule that decided."""

    tag: str
    confidence: float
    by: str


def identify(text: str, model: Path | None = None) -> Guess:
    """The language of a text: `identify_many` of one."""
    return identify_many([text], model)[0]


def identify_many(texts: Sequence[str], model: Path | None = None) -> list[Guess]:
    """The language of each text, by its first `MAX_CHARACTERS` characters. Deterministic; a text's guess does not
    depend on its neighbours.

    `model` is a file of profiles (.npz, from `data train-language`) in place of the packaged ones, or a fastText file
    (.bin, .ftz: GlotLID, OpenLID) whose answer is taken where it is more sure than not and no word of a Chinese variety
    decides. Raises InputError where it cannot be read.
    """
    found: list[Guess] = []
    for start in range(0, len(texts), BATCH):
        found += _batch(texts[start : start + BATCH], model)
    return found


def _batch(texts: Sequence[str], model: Path | None) -> list[Guess]:
    profiles = profiles_of(model if model is not None and model.suffix == ".npz" else None)
    lines = [_cleaned(text) for text in texts]
    shapes = shapes_of(lines)
    reasons = undetermined(lines, shapes)
    scripts = _main_scripts(shapes)
    titled = ((shapes.words_B >= 4) & (shapes.capitals_B >= 0.95 * shapes.words_B)).tolist()
    found: dict[int, Guess] = {}
    by_script: dict[str, list[int]] = defaultdict(list)
    for number, (reason, script) in enumerate(zip(reasons, scripts, strict=True)):
        if reason:
            found[number] = Guess("und", 0.0, reason)
        else:
            by_script[script].append(number)
    for script, numbers in by_script.items():
        named = _in_script([lines[number] for number in numbers], script, profiles)
        for number, guess in zip(numbers, named, strict=True):
            doubtful = guess.by == "vote" and guess.confidence < _NAME_CONFIDENCE
            found[number] = Guess("und", guess.confidence, "names") if doubtful and titled[number] else guess
    guesses = [found[number] for number in range(len(lines))]
    return guesses if model is None or model.suffix == ".npz" else _with_model(lines, guesses, model)


def _cleaned(text: str) -> str:
    line = _LINE_ENDS.sub(" ", text[:MAX_CHARACTERS])
    return _ADDRESS.sub(" ", line) if _ADDRESS_SIGN.search(line) else line


def _main_scripts(shapes: Shapes) -> list[str]:
    """The main script of each line; "Kana" for Japanese, "" where it has no name."""
    weighted = shapes.class_BC[:, : OTHER + 1] * letter_weights()
    main = weighted.argmax(axis=1)
    letters = np.maximum(shapes.class_BC[:, : OTHER + 1].sum(axis=1), 1)
    han, kana = SCRIPTS.index("Han"), SCRIPTS.index("Kana")
    japanese = np.isin(main, (han, kana)) & (shapes.class_BC[:, kana] > _MIN_KANA * letters)
    main = np.where(japanese, kana, main)
    return [SCRIPTS[number] if number < OTHER else "" for number in main.tolist()]


def _in_script(lines: Sequence[str], script: str, profiles: Profiles) -> list[Guess]:
    if script == "Kana":
        return [Guess("ja", 0.99, "script")] * len(lines)
    if script == "Han":
        return [Guess(*chinese.identify_chinese(line), "own words") for line in lines]
    sole = SOLE_LANGUAGE.get(script)
    if sole and len(profiles.tags_in(script)) <= 1:
        return [Guess(sole, 0.95, "script")] * len(lines)
    votes = decide(lines, script, profiles)
    romanised = [chinese.romanised_variety(line) if script == "Latn" and not line.isascii() else None for line in lines]
    return [
        Guess(variety, 0.9, "own words") if variety else _named(vote, script)
        for variety, vote in zip(romanised, votes, strict=True)
    ]


def _named(vote: Vote, script: str) -> Guess:
    probability = round(min(vote.probability, 0.999), 3)
    if vote.probability < _MIN_PROBABILITY or (vote.fit < _MIN_FIT and vote.probability < 2 * _MIN_PROBABILITY):
        return Guess("und", probability, "unsure")
    return Guess(written_in(vote.tag, script), probability, "profiles" if vote.alone else "vote")


def _with_model(lines: Sequence[str], guesses: Sequence[Guess], model: Path) -> list[Guess]:
    answers = recognisers.external(model, lines)
    return [
        Guess(answer[0][0], round(min(answer[0][1], 0.999), 3), "model")
        if answer and answer[0][1] > _EXTERNAL_SURE and guess.tag != "und" and not _by_own_words(guess)
        else guess
        for guess, answer in zip(guesses, answers, strict=True)
    ]


def _by_own_words(guess: Guess) -> bool:
    """Whether words of a Chinese variety decided, or which of the two Chinese scripts it is."""
    return guess.by == "own words"

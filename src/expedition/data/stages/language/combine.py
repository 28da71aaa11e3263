"""Own profiles, lid.176 and CLD2 as one log-linear model over the languages that any of them names.

The utility of a language is a weighted sum of what each says of it, in nats; a recogniser that does not know the
language says a constant. The weights were fitted by maximum likelihood on lines that the profiles had not been trained
on: articles of the Universal Declaration (halves by article), interface texts of Django and of OpenStreetMap's presets
and their first words, each set with profiles made without it (`benchmarks/quality/language_weights.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from expedition.data.stages.language import recognisers
from expedition.data.stages.language.profiles import Profiles, Scores
from expedition.data.stages.language.recognisers import Ranked
from expedition.data.stages.language.tags import macrolanguage

SETTLED: Final = 3.0
"""Nats between the profiles' first and second language from which nobody else is asked: they are then right as often as
all three together (between 2.5 and 3.5 the accuracy on lines of the Declaration moves by .001)."""
PROFILE_CHARACTERS: Final = 1000
"""Characters that the profiles look at; more add nothing to their certainty."""
_CANDIDATES: Final = 6


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the log-linear model. `*_unknown` is said of a language that the recogniser cannot name, `*_floor` is the
    share that stands for none; `own_power` is the power of the number of n-grams that divides the profiles' nats:
    overlapping n-grams are not independent. `widespread` is the prior of languages that both packages know; it stands above
    the fitted 0.9, since of the web's lines far more are in these than of the fitting sets' (measured: short Swahili, 300
    sentences that nothing was trained on, .89 to .91)."""

    own: float = 1.03
    own_power: float = 0.522
    own_unknown: float = -4.2
    lid176: float = 0.452
    lid176_unknown: float = -3.0
    lid176_floor: float = 0.0088
    cld2: float = 0.928
    cld2_unknown: float = -0.917
    cld2_floor: float = 0.0736
    widespread: float = 1.8


WEIGHTS: Final = Weights()


@dataclass(frozen=True, slots=True)
class Vote:
    """What was decided for a line: tag, probability among the candidates, and whether the profiles alone decided;
    `fit` is the share of its long n-grams that the profiles' first language has seen."""

    tag: str
    probability: float
    alone: bool
    fit: float


def own_utilities(scores: Scores, weights: Weights = WEIGHTS) -> list[list[tuple[str, float]]]:
    """For each line its best profiles with their utilities, best first."""
    scale = weights.own / np.maximum(scores.known_B, 1) ** weights.own_power
    prior_L = np.array([weights.widespread if tag in recognisers.widespread() else 0.0 for tag in scores.tags])
    utility = (scores.ratio_BL - scores.ratio_BL.max(axis=1, keepdims=True)) * scale[:, None] + prior_L
    count = min(_CANDIDATES, utility.shape[1])
    best = np.argpartition(-utility, count - 1, axis=1)[:, :count]
    value = np.take_along_axis(utility, best, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    best, value = np.take_along_axis(best, order, axis=1), np.take_along_axis(value, order, axis=1)
    return [
        [(scores.tags[column], nats) for column, nats in zip(columns, found, strict=True)]
        for columns, found in zip(best.tolist(), value.tolist(), strict=True)
    ]


def decide(lines: Sequence[str], script: str, profiles: Profiles) -> list[Vote]:
    """The language of each line; all lines are in `script`."""
    if profiles.tags_in(script):
        scores = profiles.score([line[:PROFILE_CHARACTERS] for line in lines], script)
        own, fits = own_utilities(scores), scores.fit_B.tolist()
    else:
        own, fits = [[] for _ in lines], [1.0] * len(lines)
    margins = [_margin(found) for found in own]
    open_ = [number for number, margin in enumerate(margins) if margin < SETTLED]
    asked = [lines[number] for number in open_]
    heard = dict(zip(open_, zip(recognisers.lid176(asked), recognisers.cld2(asked), strict=True), strict=True))
    votes = []
    for number, (found, fit) in enumerate(zip(own, fits, strict=True)):
        if number in heard:
            tag, share = _voted(found, *heard[number], profiles, script)
            votes.append(Vote(tag, share, False, fit))
        else:
            votes.append(Vote(found[0][0], 1 / (1 + math.exp(-margins[number])), True, fit))
    return votes


def _margin(found: Sequence[tuple[str, float]]) -> float:
    """Nats to the first language of another macrolanguage; 0 where there is no other."""
    if not found:
        return 0.0
    group = macrolanguage(found[0][0])
    return next((found[0][1] - nats for tag, nats in found if macrolanguage(tag) != group), 0.0)


def _voted(
    own: Sequence[tuple[str, float]], lid: Ranked, cld: Ranked, profiles: Profiles, script: str
) -> tuple[str, float]:
    """The language of the highest utility, and the share of its macrolanguage."""
    weights = WEIGHTS
    said_own, said_lid, said_cld = dict(own), dict(lid), dict(cld)
    lowest = own[-1][1] if own else 0.0
    utility = {}
    for tag in {*said_own, *said_lid, *said_cld}:
        scripts = profiles.scripts_of(tag)
        if scripts and script not in scripts:
            continue
        nats = said_own.get(tag, lowest if scripts else weights.own_unknown)
        if tag in recognisers.known_to_lid176():
            nats += weights.lid176 * math.log(said_lid.get(tag, 0.0) + weights.lid176_floor)
        else:
            nats += weights.lid176_unknown
        if cld:
            if tag in recognisers.known_to_cld2():
                nats += weights.cld2 * math.log(said_cld.get(tag, 0.0) + weights.cld2_floor)
            else:
                nats += weights.cld2_unknown
        utility[tag] = nats
    if not utility:
        return "und", 0.0
    top = max(utility.values())
    total = sum(math.exp(nats - top) for nats in utility.values())
    tag = min(name for name, nats in utility.items() if nats == top)
    group = macrolanguage(tag)
    share = sum(math.exp(nats - top) for name, nats in utility.items() if macrolanguage(name) == group) / total
    return tag, share

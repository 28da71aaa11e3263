"""Rude sentences for pages that a toxicity filter should find: insults and threats at invented people."""

from __future__ import annotations

import numpy as np

from expedition.sampleworld.world import NAMES, pick

_FORMS = (
    "{name} is a fucking idiot and everybody hates that stupid bastard.",
    "Shut up, {name}, you worthless piece of shit, nobody wants you here.",
    "I hope {name} dies, that disgusting bitch should burn in hell.",
    "You are all stupid assholes and I will kill you if you come back, {name}.",
    "What a pathetic moron, {name} is dumb as shit and deserves a beating.",
    "{name}, go fuck yourself, you ugly retarded loser.",
)


def tirade(rng: np.random.Generator) -> str:
    """Three different rude sentences."""
    order = rng.permutation(len(_FORMS))[:3]
    return " ".join(_FORMS[int(i)].format(name=pick(rng, NAMES)) for i in order)

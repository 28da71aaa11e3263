"""Own character n-gram profiles: a naive Bayes classifier over some four hundred languages, most of them small.

The packaged recognisers know 176 and about 160 languages; this one was trained on articles of the Universal
Declaration of Human Rights only (`train_profiles.py`), so it is narrow in topic and serves as one voice of three.
The file holds, for each n-gram of one to four characters, quantised log-probabilities by profile.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_NGRAM: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]+(?:[\u0300-\u036f\u0900-\u0dff\u1000-\u109f'’ʼ-]*[^\W\d_]*){0,4}")
_TEMPERATURE: Final = 3.0 * MAX_NGRAM
_STEP: Final = 1 / 16
"""Nats that one unit of the stored bytes stands for."""


def ngrams(text: str, limit: int = 600) -> Counter[str]:
    """Character n-grams of the text's words with their boundaries; at most `limit` words are read."""
    counts: Counter[str] = Counter()
    for number, match in enumerate(_WORD.finditer(text.lower())):
        if number >= limit:
            break
        word = f" {match.group()} "
        for size in range(1, MAX_NGRAM + 1):
            counts.update(word[start : start + size] for start in range(len(word) - size + 1))
    counts.pop(" ", None)
    return counts


@dataclass(frozen=True, slots=True)
class Profiles:
    """The model: `cost_VL` uint8, how unlikely n-gram V is in profile L, in units of 1/16 nat."""

    tags: tuple[str, ...]
    scripts: tuple[str, ...]
    index: dict[str, int]
    cost_VL: npt.NDArray[np.uint8]

    def rank(self, text: str, script: str, count: int = 4) -> tuple[tuple[str, float], ...]:
        """Tags of profiles in `script` with posterior probabilities, best first; empty where no n-gram is known.

        Log-likelihoods are of overlapping n-grams and of a narrow domain, so they are divided by `_TEMPERATURE`.
        """
        columns = np.array([number for number, name in enumerate(self.scripts) if name == script], np.int64)
        found = ngrams(text)
        if not len(columns) or not found:
            return ()
        known = [(self.index[gram], times) for gram, times in found.items() if gram in self.index]
        if not known:
            return ()
        rows = np.fromiter((row for row, _ in known), np.int64, len(known))
        weights = np.fromiter((times for _, times in known), np.float32, len(known))
        cost = weights @ self.cost_VL[np.ix_(rows, columns)].astype(np.float32) * _STEP
        score = -cost / _TEMPERATURE
        return _posterior(score, [self.tags[column] for column in columns.tolist()], count)


def _posterior(score: npt.NDArray[np.float32], tags: Sequence[str], count: int) -> tuple[tuple[str, float], ...]:
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    by_tag: dict[str, float] = {}
    for tag, weight in zip(tags, weights.tolist(), strict=True):
        by_tag[tag] = by_tag.get(tag, 0.0) + weight
    return tuple(sorted(by_tag.items(), key=lambda item: (-item[1], item[0]))[:count])


def load_profiles(path: Path | Any) -> Profiles:
    """Read a profile file; nothing in it is unpickled."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        header = json.loads(bytes(stored["header"]).decode())
        grams = bytes(stored["grams"]).decode().split("\n")
        cost = np.asarray(stored["cost"], np.uint8).reshape(len(header["tags"]), len(grams)).T.copy()
    return Profiles(
        tags=tuple(header["tags"]),
        scripts=tuple(header["scripts"]),
        index={gram: row for row, gram in enumerate(grams)},
        cost_VL=cost,
    )


@functools.cache
def packaged_profiles() -> Profiles:
    """The profiles that come with the package."""
    return load_profiles(importlib.resources.files(__package__) / "profiles.npz")

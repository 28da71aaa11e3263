"""An averaged perceptron that labels a sequence from left to right; small, deterministic, without dependencies.

Source: M. Collins, Discriminative Training Methods for Hidden Markov Models, EMNLP 2002 (greedy, with averaging).
Features are strings; a model keeps their CRC-32 and small integer weights.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

OUTSIDE: Final = "O"
Features = Sequence[str]
Example = tuple[Sequence[Features], Sequence[str]]


def _keys(features: Features, previous: str, before: str) -> list[int]:
    first = features[0]
    seen = [*features, f"p={previous}", f"pp={previous}|{before}", f"p0={previous}|{first}"]
    return [crc32(feature.encode()) for feature in seen]


@dataclass(frozen=True, slots=True)
class Tagger:
    """`labels` in a fixed order; `weights` by feature: one number a label."""

    labels: tuple[str, ...]
    weights: dict[int, tuple[int, ...]]

    def tag(self, sequence: Sequence[Features]) -> list[str]:
        """One label a position. The first feature of a position is its word class and is joined with the last label."""
        tags: list[str] = []
        previous = before = "^"
        weights, count = self.weights, len(self.labels)
        for features in sequence:
            rows = [row for key in _keys(features, previous, before) if (row := weights.get(key)) is not None]
            if rows:
                scores = [sum(column) for column in zip(*rows, strict=True)]
                best = max(range(count), key=scores.__getitem__)
            else:
                best = 0
            previous, before = self.labels[best], previous
            tags.append(previous)
        return tags

    def arrays(self, prefix: str) -> dict[str, Any]:
        """As arrays of a .npz file: keys in order (uint32), weights (int8), labels."""
        keys = sorted(self.weights)
        return {
            f"{prefix}_keys": np.array(keys, np.uint32),
            f"{prefix}_weights": np.array([self.weights[key] for key in keys], np.int8),
            f"{prefix}_labels": np.array(self.labels),
        }


def tagger_from(arrays: Any, prefix: str) -> Tagger:
    """The tagger that `Tagger.arrays` wrote."""
    keys, weights = arrays[f"{prefix}_keys"].tolist(), map(tuple, arrays[f"{prefix}_weights"].tolist())
    return Tagger(tuple(map(str, arrays[f"{prefix}_labels"])), dict(zip(keys, weights, strict=True)))


def train_tagger(examples: Sequence[Example], *, rounds: int, seed: int, smallest: float = 0.25) -> Tagger:
    """Train on labelled sequences. The same examples, rounds and seed give the same model.

    Weights are scaled to int8 at the end; features whose largest weight is below `smallest` of the mean go.
    """
    labels = (OUTSIDE, *sorted({label for _, tags in examples for label in tags} - {OUTSIDE}))
    place = {label: index for index, label in enumerate(labels)}
    weights: dict[int, list[float]] = {}
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0] * len(labels))
    order, step, source = list(range(len(examples))), 0, random.Random(seed)
    for _ in range(rounds):
        source.shuffle(order)
        for index in order:
            sequence, tags = examples[index]
            previous = before = "^"
            for features, tag in zip(sequence, tags, strict=True):
                step += 1
                keys = _keys(features, previous, before)
                guess = _best(weights, keys, len(labels))
                if labels[guess] != tag:
                    _update(weights, sums, keys, place[tag], guess, step)
                # The model sees its own mistakes, as it will when it is used.
                previous, before = labels[guess], previous
    averaged = {
        key: [weight - total / step for weight, total in zip(row, sums[key], strict=True)]
        for key, row in weights.items()
    }
    return Tagger(labels, _as_integers(averaged, smallest))


def _best(weights: dict[int, list[float]], keys: list[int], count: int) -> int:
    rows = [row for key in keys if (row := weights.get(key)) is not None]
    if not rows:
        return 0
    scores = [sum(column) for column in zip(*rows, strict=True)]
    return max(range(count), key=scores.__getitem__)


def _update(
    weights: dict[int, list[float]], sums: dict[int, list[float]], keys: list[int], right: int, wrong: int, step: int
) -> None:
    for key in keys:
        total = sums[key]
        row = weights.setdefault(key, [0.0] * len(total))
        row[right] += 1
        row[wrong] -= 1
        total[right] += step
        total[wrong] -= step


def _as_integers(weights: dict[int, list[float]], smallest: float) -> dict[int, tuple[int, ...]]:
    strengths = {key: max(map(abs, row)) for key, row in weights.items()}
    mean = sum(strengths.values()) / max(len(strengths), 1)
    top = sorted(strengths.values())[int(len(strengths) * 0.999)] if strengths else 1.0
    scale = 127 / max(top, 1e-9)
    kept = {key: row for key, row in weights.items() if strengths[key] >= smallest * mean}
    scaled = {key: tuple(max(-127, min(127, round(value * scale))) for value in row) for key, row in kept.items()}
    return {key: row for key, row in sorted(scaled.items()) if any(row)}


def spans_of(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first, last + 1, type) of the runs that labels B-x, I-x mark; an I without its B begins a run."""
    start, kind = 0, ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        if kind and tag != f"I-{kind}":
            yield start, index, kind
            kind = ""
        if tag != OUTSIDE and not kind:
            start, kind = index, tag[2:]


def load_arrays(path: Path) -> Any:
    """The arrays of a model file; nothing in it is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}

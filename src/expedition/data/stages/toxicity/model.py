"""A linear model of toxicity: named weights, trained by logistic regression, its output a calibrated probability."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from expedition.data.stages.toxicity.features import character_features, sentence_features
from expedition.data.stages.toxicity.lexicon import Lexicon, packaged_lexicon
from expedition.data.stages.toxicity.reading import Reading, readings
from expedition.errors import InputError

FORMAT: Final = "expedition-toxicity-1"
_ROUNDS: Final = 3
_MIN_COUNT: Final = 3
_PENALTY: Final = 2.0
"""L2 on weights, in units of examples."""
_KEEP: Final = 0.015
"""Weights nearer to 0 than this are left out of the file."""
_FOLDS: Final = 5
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """probability = sigmoid(bias + sum of weights of the features that a sentence shows)."""

    weights: Mapping[str, float]
    bias: float
    characters: bool = False
    """Hashed character n-grams are among the features; every sentence is then scored, with a term or without."""
    about: str = ""

    def probability(self, reading: Reading | None, sentence: str = "") -> float:
        """0..1 for a sentence; `reading` is None where no term was found."""
        weights = self.weights
        total = self.bias
        for name, value in self.features(reading, sentence).items():
            total += value * weights.get(name, 0.0)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))

    def features(self, reading: Reading | None, sentence: str = "") -> dict[str, float]:
        """What the model looks at."""
        found = sentence_features(reading) if reading is not None else {"no term": 1.0}
        if self.characters:
            found.update(character_features(sentence))
        return found

    def save(self, path: Path) -> None:
        """Write as JSON; aside and renamed, so that a file is whole or absent."""
        document = {"format": FORMAT, "about": self.about, "characters": self.characters, "bias": round(self.bias, 4)}
        weights = {name: round(self.weights[name], 3) for name in sorted(self.weights)}
        text = json.dumps({**document, "weights": weights}, ensure_ascii=False, indent=0)
        aside = path.with_name(path.name + ".part")
        aside.write_text(text + "\n", "utf-8")
        aside.replace(path)


def parse_model(text: str, where: str) -> LinearModel:
    """A model as saved. Raises InputError for anything else."""
    fix = "train one: expedition data train-toxicity --input labelled.jsonl --out model.json"
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        weights = {str(name): float(value) for name, value in document["weights"].items()}
        bias, characters = float(document["bias"]), bool(document["characters"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"no toxicity model: {error}", where=where, fix=fix) from error
    return LinearModel(weights, bias, characters, str(document.get("about", "")))


@functools.cache
def packaged_model() -> LinearModel:
    """The model that comes with the package, trained on `examples.py`."""
    text = (importlib.resources.files(__package__) / "model.json").read_text("utf-8")
    return parse_model(text, "model.json")


def load_model(path: Path) -> LinearModel:
    """A model from a file. Raises InputError."""
    try:
        return parse_model(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"no toxicity model: {error}", where=str(path), fix="give a file of train-toxicity") from error


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and what is known of it by cross-validation (folds of whole groups)."""

    model: LinearModel
    texts: int
    features: int
    auc: float | None
    brier: float
    """Mean squared distance of probability and label on folds left out."""


def train(
    texts: Sequence[str],
    labels: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    characters: bool = False,
    lexicon: Lexicon | None = None,
) -> Trained:
    """Fit on texts with labels 0..1 (a fraction is a graded label). Same input, same model.

    A toxic text needs one toxic sentence: of those with a label above one half, the sentence that the model of the round
    before rates highest is learned from; of others all. Probabilities are calibrated by Platt's scaling on folds that
    keep `groups` (templates, articles, authors) together. Raises InputError where there is nothing to learn from.
    """
    if len(texts) != len(labels) or min(labels, default=0.0) > 0.5 or max(labels, default=0.0) <= 0.5:
        raise InputError("labels of both kinds are needed, one a text", fix="give lines {text, label} with 0 and 1")
    words = lexicon or packaged_lexicon()
    bags = [_bags(text, words, characters) for text in texts]
    names = Counter(name for bag in bags for features in bag for name in features)
    index = {name: at for at, name in enumerate(sorted(name for name, n in names.items() if n >= _MIN_COUNT))}
    truth = np.asarray(labels, np.float64)
    fold_of = _folds(groups if groups is not None else [str(number) for number in range(len(texts))])
    held = np.zeros(len(texts))
    for fold in range(_FOLDS):
        inside, outside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(outside) and len(inside):
            fitted = _fit([bags[at] for at in inside], truth[inside], index)
            held[outside] = [max(_margins(bags[at], fitted, index)) for at in outside]
    slope, offset = _platt(held, truth)
    fitted = _fit(bags, truth, index)
    weights = {name: slope * float(fitted[at]) for name, at in index.items() if abs(fitted[at]) >= _KEEP}
    model = LinearModel(weights, slope * float(fitted[-1]) + offset, characters)
    chance = 1.0 / (1.0 + np.exp(-(slope * held + offset)))
    return Trained(
        model, len(texts), len(weights), area_under_curve(held, truth > 0.5), float(np.mean((chance - truth) ** 2))
    )


def _bags(text: str, lexicon: Lexicon, characters: bool) -> list[dict[str, float]]:
    """Features of a text's sentences (of all readings)."""
    bag = [sentence_features(reading) for found in readings(text, lexicon) for reading in found]
    if not bag:
        bag = [{"no term": 1.0}]
    if characters:
        grams = character_features(text.lower())
        bag = [{**features, **grams} for features in bag]
    return bag


def _folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    order = {group: at for at, group in enumerate(sorted(set(groups)))}
    shuffled = np.random.default_rng(0).permutation(len(order))
    return np.asarray([shuffled[order[group]] % _FOLDS for group in groups], np.int64)


def _margins(bag: Sequence[Mapping[str, float]], weights: Vector, index: Mapping[str, int]) -> list[float]:
    return [
        float(weights[-1]) + sum(value * weights[index[name]] for name, value in features.items() if name in index)
        for features in bag
    ]


def _fit(bags: Sequence[Sequence[Mapping[str, float]]], truth: Vector, index: Mapping[str, int]) -> Vector:
    weights = np.zeros(len(index) + 1)
    for round_ in range(_ROUNDS):
        rows: list[Mapping[str, float]] = []
        targets: list[float] = []
        for bag, label in zip(bags, truth, strict=True):
            if label > 0.5 and len(bag) > 1:
                scores = _margins(bag, weights, index) if round_ else [len(features) for features in bag]
                chosen = [bag[int(np.argmax(scores))]]
            else:
                chosen = list(bag)
            rows += chosen
            targets += [label] * len(chosen)
        weights = _logistic(rows, np.asarray(targets), index, weights)
        if all(len(bag) == 1 for bag in bags):
            break
    return weights


def _logistic(rows: Sequence[Mapping[str, float]], targets: Vector, index: Mapping[str, int], start: Vector) -> Vector:
    """Weights, the bias last, by L-BFGS on the penalised log-likelihood."""
    from scipy.optimize import minimize
    from scipy.sparse import csr_matrix

    pointers, columns, values = [0], list[int](), list[float]()
    for features in rows:
        known = [(index[name], value) for name, value in features.items() if name in index]
        columns += [at for at, _ in known]
        values += [value for _, value in known]
        pointers.append(len(columns))
    matrix = csr_matrix((values, columns, pointers), shape=(len(rows), len(index)))
    transposed = matrix.T.tocsr()

    def loss(weights: Vector) -> tuple[float, Vector]:
        margins = matrix @ weights[:-1] + weights[-1]
        value = float(np.sum(np.logaddexp(0.0, margins) - targets * margins))
        value += _PENALTY / 2 * float(np.sum(np.square(weights[:-1])))
        error = 1.0 / (1.0 + np.exp(-margins)) - targets
        return value, np.append(transposed @ error + _PENALTY * weights[:-1], error.sum())

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.asarray(found.x, np.float64)


def _platt(margins: Vector, truth: Vector) -> tuple[float, float]:
    """Slope and offset that turn margins into calibrated log-odds (Platt 1999, section 2.2)."""
    from scipy.optimize import minimize

    def loss(pair: Vector) -> float:
        scaled = pair[0] * margins + pair[1]
        return float(np.sum(np.logaddexp(0.0, scaled) - truth * scaled)) + float(pair[0] - 1.0) ** 2

    found = minimize(loss, np.asarray([1.0, 0.0]), method="Nelder-Mead")
    return max(float(found.x[0]), 0.05), float(found.x[1])


def area_under_curve(
    scores: Sequence[float] | Vector, positive: Sequence[bool] | npt.NDArray[np.bool_]
) -> float | None:
    """Chance that a positive scores above a negative, ties counting half; None where a kind is missing."""
    from scipy.stats import rankdata

    truth = np.asarray(positive, bool)
    ones, zeros = int(truth.sum()), int((~truth).sum())
    if not ones or not zeros:
        return None
    ranks = rankdata(np.asarray(scores, np.float64))
    return float((ranks[truth].sum() - ones * (ones + 1) / 2) / (ones * zeros))

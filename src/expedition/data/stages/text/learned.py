"""A learned quality score: logistic regression over hashed byte n-grams, trained by a verb, kept as one JSON file.

Features are counts of hashed n-grams of 3, 5 and 7 bytes of UTF-8, so that scripts without spaces need no words; each is
weighed log(1 + count) and a text's features have length 1. Weights are 8-bit numbers times one scale: a model of 2^16
features is about 88 kB. Training is AdaGrad (Duchi et al. 2011) over texts in the order of their hashes: the same texts in
any order give the same file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError
from expedition.workspace.atomic import write_atomic

SCHEMA: Final = "data.quality-model/1"
SIZES: Final = (3, 5, 7)
MOST_BYTES: Final = 20_000
"""Of a text: its beginning decides."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_LEAST_EPOCHS, _MOST_EPOCHS, _UPDATES = 3, 30, 60_000
_HELD_EVERY: Final = 5
"""One text of so many, by hash, is not trained on and tells how good the model is."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QualityModel:
    """Weights over features, and its card."""

    weights: Floats
    """[features]"""
    bias: float
    card: dict[str, Any]
    """{name, trained_on, texts, held_out: {texts, auc, accuracy}, settings, sha256 of the weights}"""

    def score(self, text: str) -> float:
        """Probability, 0 to 1, that a text is of the good kind; 0.5 for one of fewer than 3 bytes."""
        places, values = features(text, self.weights.size)
        if not places.size:
            return 0.5
        return float(_logistic(np.float64(values @ self.weights[places] + self.bias)))


def features(text: str, size: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Places (ascending) and values of a text's features, values of length 1. `size` is a power of two."""
    data = np.frombuffer(text.encode("utf-8", "replace")[:MOST_BYTES].lower(), np.uint8).astype(np.uint64)
    shift = np.uint64(64 - (size.bit_length() - 1))
    found = []
    for width in SIZES:
        if data.size < width:
            continue
        packed = np.zeros(data.size - width + 1, np.uint64)
        for offset in range(width):
            packed |= data[offset : offset + packed.size] << np.uint64(8 * offset)
        found.append(((packed + np.uint64(width)) * _MULTIPLIER) >> shift)
    if not found:
        return np.empty(0, np.int64), np.empty(0)
    counts = np.bincount(np.concatenate(found).astype(np.int64), minlength=size)
    places = np.flatnonzero(counts)
    values = np.log1p(counts[places])
    return places, values / np.sqrt(values @ values)


def train_quality(
    good: Sequence[str],
    bad: Sequence[str],
    *,
    name: str = "quality",
    trained_on: str = "",
    size_bits: int = 16,
    rate: float = 0.3,
) -> QualityModel:
    """Fit a model that tells good from bad texts; classes weigh the same whatever their sizes. Deterministic.

    Raises InputError if a class has fewer than 20 different texts.
    """
    classes = [sorted({text for text in texts if text.strip()}) for texts in (good, bad)]
    for texts, what in zip(classes, ("good", "bad"), strict=True):
        if len(texts) < 20:
            raise InputError(f"{len(texts)} different {what} texts are too few", fix="give at least 20 of each")
    both = set(classes[0]) & set(classes[1])
    if both:
        raise InputError(f"{len(both)} texts are in both classes", fix="leave each in one", where=min(both)[:60])
    rows = [(text, label) for label, texts in ((1.0, classes[0]), (0.0, classes[1])) for text in texts]
    rows.sort(key=lambda row: (_digest(row[0]), row[0]))
    held = np.array([_digest(text) % _HELD_EVERY == 0 for text, _ in rows])
    labels = np.array([label for _, label in rows])
    size = 1 << size_bits
    found = [features(text, size) for text, _ in rows]
    epochs = max(_LEAST_EPOCHS, min(_MOST_EPOCHS, _UPDATES // len(rows)))
    weights, bias = _fit(found, labels, ~held, epochs, rate, size)
    scale = float(np.abs(weights).max()) / 127 or 1.0
    weights = np.round(weights / scale).astype(np.int8).astype(np.float64) * scale
    scores = np.array([values @ weights[places] + bias for places, values in found])
    card = {
        "name": name,
        "trained_on": trained_on,
        "texts": {"good": len(classes[0]), "bad": len(classes[1])},
        "held_out": {
            "texts": int(held.sum()),
            "auc": _auc(scores[held], labels[held]),
            "accuracy": round(float(np.mean((scores[held] > 0) == (labels[held] > 0.5))), 4) if held.any() else None,
        },
        "settings": {"size_bits": size_bits, "epochs": epochs, "rate": rate, "ngram_bytes": list(SIZES)},
    }
    return QualityModel(weights, round(float(bias), 9), card)


def save_model(path: Path, model: QualityModel) -> dict[str, Any]:
    """Write a model aside and rename it; returns its card with the hash of the weights."""
    scale = float(np.abs(model.weights).max()) / 127 or 1.0
    packed = np.round(model.weights / scale).astype(np.int8).tobytes()
    card = {**model.card, "sha256": hashlib.sha256(packed + repr((scale, model.bias)).encode()).hexdigest()}
    told = {
        "schema": SCHEMA,
        "card": card,
        "bias": model.bias,
        "scale": scale,
        "weights_int8": base64.b64encode(packed).decode(),
    }
    write_atomic(path, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
    return card


def load_model(path: Path) -> QualityModel:
    """Read a model. Raises InputError where there is none, or where it is damaged or of another kind."""
    fix = "train one: expedition data train-quality --good F --bad F --out MODEL.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        packed = base64.b64decode(told["weights_int8"], validate=True)
        scale, bias, card = float(told["scale"]), float(told["bias"]), dict(told["card"])
        if told["schema"] != SCHEMA or len(packed) & (len(packed) - 1) or len(packed) < 256:
            raise ValueError(f"schema {told['schema']}, {len(packed)} weights")
    except OSError as error:
        raise InputError("there is no quality model", where=str(path), fix=fix) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"this is no quality model: {error}", where=str(path), fix=fix) from error
    if card.get("sha256") != hashlib.sha256(packed + repr((scale, bias)).encode()).hexdigest():
        raise InputError("the quality model's weights are not those of its card", where=str(path), fix=fix)
    return QualityModel(np.frombuffer(packed, np.int8).astype(np.float64) * scale, bias, card)


def _fit(
    found: Sequence[tuple[npt.NDArray[np.int64], Floats]],
    labels: Floats,
    used: npt.NDArray[np.bool_],
    epochs: int,
    rate: float,
    size: int,
) -> tuple[Floats, float]:
    """Weights and bias; classes weigh the same."""
    share = {label: 0.5 * used.sum() / max(1, (used & (labels == label)).sum()) for label in (0.0, 1.0)}
    weights, squares, bias, bias_squares = np.zeros(size), np.full(size, 1e-2), 0.0, 1e-2
    for _ in range(epochs):
        for number in np.flatnonzero(used).tolist():
            places, values = found[number]
            if not places.size:
                continue
            label = float(labels[number])
            error = (float(_logistic(values @ weights[places] + bias)) - label) * share[label]
            slope = error * values
            squares[places] += slope * slope
            weights[places] -= rate * slope / np.sqrt(squares[places])
            bias_squares += error * error
            bias -= 0.1 * rate * error / bias_squares**0.5
    return weights, bias


def _logistic(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(values, -40, 40)))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")


def _auc(scores: Floats, labels: Floats) -> float | None:
    """Probability that a good text scores above a bad one; None without both."""
    good, bad = scores[labels > 0.5], scores[labels <= 0.5]
    if not good.size or not bad.size:
        return None
    order = np.sort(bad)
    below = np.searchsorted(order, good, "left") + np.searchsorted(order, good, "right")
    return round(float(below.sum() / 2 / good.size / bad.size), 4)

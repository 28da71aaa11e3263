"""Whoever judges: the packaged model, a trained file, an ONNX model, or a function of another package.

A classifier takes short texts (some sentences) and gives probabilities of toxicity in the same order. An ONNX model
either takes strings itself (scikit-learn pipelines converted with skl2onnx) or stands in a folder with its `tokenizer.json`
(transformers models); with a `config.json` beside it, the column is the label whose name says toxic.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from expedition.data.stages.toxicity.model import LinearModel, load_model, packaged_model
from expedition.data.stages.toxicity.score import Score, toxicity_score
from expedition.errors import InputError, MissingExtra

GROUP: Final = "expedition.toxicity"
PACKAGED: Final = "packaged"
_CHUNK: Final = 400
"""Characters of a piece of a long text that a classifier of others sees at once."""
_BATCH: Final = 32
_MAX_TOKENS: Final = 512
_TOXIC_LABEL: Final = re.compile(
    r"(?i)(?<!non)(?<!not)(?<!non[-_ ])(?<!not[-_ ])(toxic|hate|hateful|offens|abus|insult)"
)
_BREAK: Final = re.compile(r"(?<=[.!?。！？\n])\s*")


class Classifier(Protocol):
    """Judges texts. Called from one thread at a time; the same text must get the same score."""

    def scores(self, texts: Sequence[str]) -> list[Score]:
        """One score a text, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """The packaged lexicon with a linear model."""

    model: LinearModel

    def scores(self, texts: Sequence[str]) -> list[Score]:
        return [toxicity_score(text, model=self.model) for text in texts]


@dataclass(frozen=True, slots=True)
class External:
    """A function from short texts to probabilities. Long texts are cut at sentence ends; the worst piece counts."""

    name: str
    judge: Callable[[list[str]], list[float]]

    def scores(self, texts: Sequence[str]) -> list[Score]:
        pieces = [pieces_of(text) for text in texts]
        flat = [piece for cut in pieces for piece in cut]
        values: list[float] = []
        for start in range(0, len(flat), _BATCH):
            values += self._judged(flat[start : start + _BATCH])
        scores, at = [], 0
        for cut in pieces:
            own = values[at : at + len(cut)]
            at += len(cut)
            toxic = sum(len(piece) for piece, value in zip(cut, own, strict=True) if value > 0.5)
            share = toxic / max(1, sum(map(len, cut)))
            scores.append(Score(round(max(own, default=0.0), 4), round(share, 4)))
        return scores

    def _judged(self, texts: list[str]) -> list[float]:
        values = [float(value) for value in self.judge(texts)]
        if len(values) != len(texts) or not all(0.0 <= value <= 1.0 for value in values):
            told = f"{len(values)} values for {len(texts)} texts" if len(values) != len(texts) else f"{values[:3]}"
            raise InputError(
                f"the toxicity classifier gave no probabilities: {told}",
                where=self.name,
                fix="it must be callable(list[str]) -> list[float], one value of 0..1 a text",
            )
        return values


def pieces_of(text: str) -> list[str]:
    """A text in pieces of about 400 characters, cut at sentence ends where there are some."""
    pieces, current = list[str](), ""
    for sentence in filter(str.strip, _BREAK.split(text)):
        for start in range(0, len(sentence), 2 * _CHUNK):
            part = sentence[start : start + 2 * _CHUNK]
            if current and len(current) + len(part) > _CHUNK:
                pieces.append(current)
                current = ""
            current = f"{current} {part}" if current else part
    return [*pieces, current] if current else pieces


@functools.lru_cache(maxsize=8)
def resolve_classifier(name: str = PACKAGED) -> Classifier:
    """The classifier of a name: `packaged`, a `.json` file of train-toxicity, an `.onnx` file, an entry point's name.

    Raises InputError for an unknown name or an unfit file, MissingExtra where ONNX Runtime is not installed.
    """
    if name == PACKAGED:
        return Linear(packaged_model())
    path = Path(name)
    if path.suffix == ".onnx":
        return External(name, _onnx(path))
    if path.suffix == ".json":
        return Linear(load_model(path))
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join([PACKAGED, *sorted(found)])
        raise InputError(
            f"{name!r} is no toxicity classifier",
            fix=f"choose from: {known}; or give a .json file of train-toxicity or an .onnx file",
        )
    try:
        judge = found[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"the toxicity classifier cannot be loaded: {error}", where=found[name].value) from error
    return External(name, judge)


def _onnx(path: Path) -> Callable[[list[str]], list[float]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(
            "an ONNX classifier needs ONNX Runtime", where=str(path), fix="pip install 'expedition-programme[onnx]'"
        ) from error
    if not path.is_file():
        raise InputError("no such model", where=str(path), fix="give the path of an .onnx file")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own for broken files
        raise InputError(f"no ONNX model: {error}", where=str(path)) from error
    inputs = session.get_inputs()
    takes_text = len(inputs) == 1 and inputs[0].type == "tensor(string)"
    encode = None if takes_text else _encoder(path, [item.name for item in inputs])
    column = _toxic_column(path.parent / "config.json")

    def judge(texts: list[str]) -> list[float]:
        if encode is None:
            shape = (len(texts), 1) if len(inputs[0].shape or ()) == 2 else (len(texts),)
            given = {inputs[0].name: np.asarray(texts, object).reshape(shape)}
        else:
            given = encode(texts)
        return _probabilities(session.run(None, given), len(texts), column, str(path))

    return judge


def _encoder(path: Path, names: list[str]) -> Callable[[list[str]], dict[str, npt.NDArray[np.int64]]]:
    file = path.with_name("tokenizer.json")
    if not file.is_file():
        raise InputError(
            f"the model takes {', '.join(names)} and there is no tokenizer",
            where=str(path),
            fix=f"put its tokenizer.json beside it: {file}",
        )
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()

    def encode(texts: list[str]) -> dict[str, npt.NDArray[np.int64]]:
        encoded = tokenizer.encode_batch(texts)
        made = {
            "input_ids": [item.ids for item in encoded],
            "attention_mask": [item.attention_mask for item in encoded],
            "token_type_ids": [item.type_ids for item in encoded],
        }
        return {name: np.asarray(made[name], np.int64) for name in names if name in made}

    return encode


def _toxic_column(config: Path) -> int | None:
    """The column of the label that says toxic; None: the last."""
    if not config.is_file():
        return None
    try:
        labels: dict[str, Any] = json.loads(config.read_text("utf-8")).get("id2label", {})
    except ValueError as error:
        raise InputError(f"no JSON: {error}", where=str(config)) from error
    return next((int(column) for column, label in labels.items() if _TOXIC_LABEL.search(str(label))), None)


def _probabilities(outputs: Sequence[Any], count: int, column: int | None, where: str) -> list[float]:
    """Probabilities from the output that has a row a text: logits of several columns by softmax, of one by sigmoid."""
    for output in reversed(outputs):
        if isinstance(output, list) and output and isinstance(output[0], dict):
            labels = sorted(output[0], key=str)
            output = np.asarray([[row[label] for label in labels] for row in output])
        values = np.asarray(output)
        if values.ndim not in (1, 2) or len(values) != count or values.dtype.kind != "f":
            continue
        rows = values.reshape(count, -1).astype(np.float64)
        if (
            rows.min(initial=0.0) < 0.0
            or rows.max(initial=0.0) > 1.0
            or (rows.shape[1] > 1 and not np.allclose(rows.sum(1), 1.0, atol=1e-3))
        ):
            if rows.shape[1] == 1:
                rows = 1.0 / (1.0 + np.exp(-rows))
            else:
                rows = np.exp(rows - rows.max(1, keepdims=True))
                rows /= rows.sum(1, keepdims=True)
        chosen = rows[:, column if column is not None else -1]
        return [float(min(1.0, max(0.0, value))) for value in chosen]
    raise InputError("the model gives no row of numbers a text", where=where, fix="give a text classifier")

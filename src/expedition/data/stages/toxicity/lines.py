"""Files of JSON lines: texts in, scores out; labelled texts in, a model out."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from expedition.data.stages.toxicity.classifier import PACKAGED, Linear, resolve_classifier
from expedition.data.stages.toxicity.examples import made_examples
from expedition.data.stages.toxicity.model import LinearModel, train
from expedition.data.stages.toxicity.score import explain
from expedition.errors import InputError

_BATCH: Final = 256


def score_lines(source: Path, target: Path, model: str = PACKAGED, *, reasons: bool = False) -> dict[str, Any]:
    """Score each {text} line of a file; {score} lines in the same order. Returns counts.

    With `reasons`, a line also holds `sentences`: what was found in each, for the packaged kind of model. The target is
    written aside and renamed, so it is whole or absent. Raises InputError with the line of a fault.
    """
    classifier = resolve_classifier(model)
    if reasons and not isinstance(classifier, Linear):
        raise InputError(f"{model!r} gives no reasons", fix="leave out --explain, or use a model of train-toxicity")
    aside = target.with_name(target.name + ".part")
    count = toxic = 0
    try:
        with aside.open("w", encoding="utf-8") as file:
            for texts in _batches(source):
                for text, score in zip(texts, classifier.scores(texts), strict=True):
                    row: dict[str, Any] = {"score": score.value}
                    if reasons and isinstance(classifier, Linear):
                        row["sentences"] = _told(text, classifier.model)
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count, toxic = count + 1, toxic + (score.value > 0.5)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write: {error}", where=str(target), fix="give --out a writable place") from error
        raise
    return {"texts": count, "above_half": toxic, "model": model, "out": str(target)}


def _told(text: str, model: LinearModel) -> list[dict[str, Any]]:
    return [
        {
            "text": finding.text,
            "probability": finding.probability,
            "terms": [
                {"category": category, "term": term, "disguised": disguised}
                for category, term, disguised in finding.terms
            ],
            "reasons": dict(finding.reasons),
        }
        for finding in explain(text, model=model)
    ]


def train_lines(source: Path | None, target: Path, *, characters: bool = True) -> dict[str, Any]:
    """Train on {text, label, group?} lines and write the model file. Returns what cross-validation says of it.

    Labels are 0..1 (true and false count as 1 and 0); lines of a `group` (template, article, author) stay together in
    cross-validation. Without a source: the made sentences of the packaged model, whose words are not learned from.
    Raises InputError with the line of a fault.
    """
    if source is None:
        made = made_examples()
        texts, labels = [example.text for example in made], [example.label for example in made]
        groups, characters = [example.pattern for example in made], False
    else:
        texts, labels, groups = _labelled(source)
    trained = train(texts, labels, groups, characters=characters)
    area = "unknown" if trained.auc is None else f"{trained.auc:.3f}"
    origin = "sentences made from patterns.json" if source is None else f"lines of {source.name}"
    about = f"Logistic regression on {trained.texts} {origin}; area under the curve over folds of groups {area}."
    try:
        dataclasses.replace(trained.model, about=about).save(target)
    except OSError as error:
        raise InputError(f"cannot write: {error}", where=str(target), fix="give --out a writable place") from error
    return {
        "texts": trained.texts,
        "weights": len(trained.model.weights),
        "cross_validated_auc": None if trained.auc is None else round(trained.auc, 4),
        "cross_validated_brier": round(trained.brier, 4),
        "out": str(target),
    }


def _labelled(source: Path) -> tuple[list[str], list[float], list[str]]:
    texts, labels, groups = list[str](), list[float](), list[str]()
    for number, row in _rows(source):
        label = row.get("label")
        if not isinstance(label, int | float) or not 0 <= label <= 1:
            raise InputError(f"label {label!r} is not in 0..1", where=f"{source}:{number}", fix="give 0, 1 or between")
        texts.append(row["text"])
        labels.append(float(label))
        groups.append(str(row.get("group", number)))
    return texts, labels, groups


def _batches(source: Path) -> Iterator[list[str]]:
    batch: list[str] = []
    for _, row in _rows(source):
        batch.append(row["text"])
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line that is not empty; its `text` is a string."""
    fix = 'each line must be a JSON object with a string "text"'
    try:
        with _opened(source) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{source}:{number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(f"no JSON: {error}", where=where, fix=fix) from error
                if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                    raise InputError("no text", where=where, fix=fix)
                yield number, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read: {error}", where=str(source), fix="give a file of JSON lines in UTF-8"
        ) from error


def _opened(source: Path) -> IO[str]:
    if source.suffix == ".gz":
        return gzip.open(source, "rt", encoding="utf-8")
    return source.open(encoding="utf-8")

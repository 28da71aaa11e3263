"""The number that a stranger computes again: which items, and what our own code finds on them.

The programme's `release.metric` where the data folder has such a task of pictures or text; else another such task;
else the perplexity of held-out texts of the run's own data. Published is what our class says, so that the kit's
number, from transformers' class and its own preprocessing, is an independent one.
"""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.loading.expand import IGNORED
from expedition.data.loading.prompt import expand_prompt
from expedition.data.records import PLACEHOLDER
from expedition.data.tokenizer import Tokenizer
from expedition.evaluate.backends.native import Native
from expedition.evaluate.questions import Question, Tokens, Writer
from expedition.evaluate.task import Item, Task
from expedition.evaluate.tasks.read import read_task, task_names
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

ITEMS = 64
TEXTS = 48
TEXT_KINDS = ("synthetic", "books", "web", "code")
TEXT_TOKENS = 256
"""Texts are cut to this many tokens."""
LONGEST_TEXT = 5_000
"""Longer texts are left out, characters."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A metric with its items as the kit holds them, and pictures by file name."""

    name: str
    kind: str
    """"accuracy" or "perplexity"."""
    published: float
    tolerance: float
    """Absolute for an accuracy, relative for a perplexity."""
    items: tuple[dict[str, Any], ...]
    pictures: dict[str, bytes]
    origin: str
    """Where the items are from, in a sentence."""

    def metric_json(self) -> dict[str, Any]:
        """`sample_data/metric.json`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "published": self.published,
            "tolerance": self.tolerance,
            "max_tokens": TEXT_TOKENS,
        }

    def item_lines(self) -> bytes:
        """`sample_data/items.jsonl`."""
        lines = (json.dumps(item, ensure_ascii=False, sort_keys=True) for item in self.items)
        return "".join(line + "\n" for line in lines).encode()


@dataclass(frozen=True, slots=True)
class Measurer:
    """What a metric is measured with."""

    ws: Workspace
    programme: Programme
    backend: Native
    tokenizer: Tokenizer

    @property
    def writer(self) -> Writer:
        return Writer(self.tokenizer, self.programme.media)


def choose_reproduction(measurer: Measurer, data_dir: Path | None, version: str) -> Reproduction | None:
    """The metric of the kit; None where the data has neither such a task nor held-out texts in dataset `version`."""
    plan = measurer.programme.release
    if data_dir is not None:
        for name in task_names(data_dir, (plan.metric, *measurer.programme.evaluation.attributes)):
            task = read_task(data_dir, name, ITEMS)
            if _fits(task):
                return _accuracy(measurer, task)
    return _perplexity(measurer, version)


def _fits(task: Task) -> bool:
    kinds = {file.kind for item in task.items for file in item.media}
    return task.metric == "accuracy" and kinds <= {"image"}


def _accuracy(measurer: Measurer, task: Task) -> Reproduction:
    writer, plan = measurer.writer, measurer.programme.release
    items: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    questions: list[Question] = []
    for number, item in enumerate(task.items):
        inserts = writer.inserts(item.media)
        names = [f"pictures/{number:04d}-{place}.{_suffix(insert.data)}" for place, insert in enumerate(inserts)]
        pictures |= {name: insert.data for name, insert in zip(names, inserts, strict=True)}
        prompt, choices = _texts(item)
        text = PLACEHOLDER * len(inserts) + prompt
        questions.append(
            Question(
                expand_prompt((text, inserts), measurer.tokenizer, measurer.programme.media),
                tuple(_after(measurer.tokenizer, prompt, choice) for choice in choices),
            )
        )
        items.append({"id": item.id, "pictures": names, "prompt": prompt, "choices": choices, "answer": item.answer})
    scores = measurer.backend.score(questions)
    right = sum(int(nats.argmax()) == item.answer for nats, item in zip(scores, task.items, strict=True))
    return Reproduction(
        name=f"{task.name} accuracy",
        kind="accuracy",
        published=right / len(items),
        tolerance=plan.metric_tolerance,
        items=tuple(items),
        pictures=pictures,
        origin=f"the first {len(items)} items of the evaluation task `{task.name}`",
    )


def _texts(item: Item) -> tuple[str, list[str]]:
    """Prompt and choices as in training documents: one space between media and what follows."""
    if not item.media:
        return item.text_before, list(item.choices)
    if item.text_before:
        return _spaced(item.text_before), list(item.choices)
    return "", [_spaced(choice) for choice in item.choices]


def _spaced(text: str) -> str:
    return text if text.startswith(" ") else f" {text}"


def _after(tokenizer: Tokenizer, prompt: str, choice: str) -> Tokens:
    """Tokens of `choice` as they follow `prompt` where the border is one between tokens."""
    before = tokenizer.encode(prompt) if prompt else np.empty(0, dtype=np.int32)
    whole = tokenizer.encode(prompt + choice)
    joined = len(whole) > len(before) and np.array_equal(whole[: len(before)], before)
    return (whole[len(before) :] if joined else tokenizer.encode(choice)).astype(np.int64)


def _suffix(data: bytes) -> str:
    return "jpg" if data[:2] == b"\xff\xd8" else "png"


def _perplexity(measurer: Measurer, version: str) -> Reproduction | None:
    texts = _heldout_texts(measurer.ws, version)
    if not texts:
        return None
    unlicensed = "" if texts[0]["licence"] else "; their licence is not stated, they may not be passed on"
    total, labels = 0.0, 0
    for start in range(0, len(texts), 8):
        documents = [
            expand_prompt((text["text"], ()), measurer.tokenizer, measurer.programme.media, end=True)
            for text in texts[start : start + 8]
        ]
        batch = measurer.backend.batch(documents)
        kept = batch.labels_BS != IGNORED
        kept[:, TEXT_TOKENS - 1 :] = False
        total += float(measurer.backend.losses(batch).astype("float64")[kept].sum())
        labels += int(kept.sum())
    return Reproduction(
        name="held-out text perplexity",
        kind="perplexity",
        published=math.exp(total / labels),
        tolerance=measurer.programme.release.metric_tolerance,
        items=tuple(texts),
        pictures={},
        origin=f"{len(texts)} texts that the build of dataset {version} kept out of training{unlicensed}",
    )


def _heldout_texts(ws: Workspace, version: str) -> list[dict[str, Any]]:
    """At most TEXTS held-out texts without media, kind by kind: those that state a licence, or if none does, others."""
    licensed: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for row in _heldout_rows(ws, version):
        if row["text"].strip() and not row.get("inserts") and len(row["text"]) < LONGEST_TEXT:
            fields = ("id", "source", "kind", "language", "licence", "text")
            (licensed if row.get("licence") else others).append({field: row.get(field) for field in fields})
        if len(licensed) == TEXTS:
            break
    return licensed or others[:TEXTS]


def _heldout_rows(ws: Workspace, version: str) -> Iterator[dict[str, Any]]:
    keys = list(ws.store.list(f"{layout.dataset(version, 'heldout')}/shards"))
    for kind in TEXT_KINDS:
        for key in keys:
            if key.rsplit("/", 1)[1].startswith(f"{kind}-"):
                with tarfile.open(ws.store.local(key)) as shard:
                    yield from _rows(shard)


def _rows(shard: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    for member in shard:
        file = shard.extractfile(member) if member.name.endswith(".json") else None
        if file is not None:
            row: dict[str, Any] = json.load(file)
            yield row


def sample_picture(ws: Workspace, version: str) -> tuple[str, bytes] | None:
    """A held-out picture of the run's data (file name, bytes); None where there is none."""
    for key in ws.store.list(f"{layout.dataset(version, 'heldout')}/shards"):
        if key.rsplit("/", 1)[1].startswith("image-text-"):
            with tarfile.open(ws.store.local(key)) as shard:
                for member in shard:
                    suffix = member.name.rsplit(".", 1)[-1]
                    file = shard.extractfile(member) if suffix in ("jpg", "png") else None
                    if file is not None:
                        return f"sample.{suffix}", file.read()
    return None

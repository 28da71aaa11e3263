"""A gallery of real answers: successes and failures by modality, chosen by a rule and not by hand.

For each task the right answer with the widest margin and the wrong one with the widest margin, then the narrowest of
both. → reports/cases.json, evaluations/<run>-<checkpoint>/cases.html (self-contained)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expedition.evaluate.gallery import gallery_page
from expedition.evaluate.runner import Evaluation
from expedition.evaluate.subject import Subject
from expedition.evaluate.task import Item, Score, Task
from expedition.workspace import layout

SCHEMA = "evaluate.cases/1"
PAGE = "cases.html"
KINDS = {"image": "picture", "audio": "speech", "video": "clip", "text": "text"}
CAPTION_TOKENS = 12
EACH = 2
"""Successes, and failures, of each task."""


def write_cases(subject: Subject, evaluation: Evaluation) -> dict[str, Any]:
    """Choose, let the model speak freely about each, write report and page. Idempotent."""
    asked = [(task, evaluation.samples[task.name]) for task in evaluation.tasks.values()]
    cases = [case for task, scores in asked for case in _of_task(subject, task, scores)]
    key = f"{subject.folder}/{PAGE}"
    missing = [kind for kind in ("driving", "speech") if kind not in {case["kind"] for case in cases}]
    report = {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "cases": cases,
        "chosen": "per task: widest and narrowest margin among right and among wrong answers",
        "page": key if cases else None,
        "conditions": [*subject.conditions, *(f"no {kind} task in the data folder" for kind in missing)],
    }
    if cases:
        media = {case["item"]: _inserts(subject, evaluation, case) for case in cases}
        subject.ws.write_text(key, gallery_page(subject.name, cases, media))
    subject.ws.write_json(layout.report("cases"), report, schema=SCHEMA)
    return report


def kind_of(task: Task) -> str:
    """What a case of this task is called: picture, speech, clip, driving or text."""
    return "driving" if task.metric != "accuracy" else KINDS.get(task.modality, task.modality)


def chosen(scores: Sequence[Score]) -> list[int]:
    """Places of the cases to show: of right, then of wrong answers, the widest margin and the narrowest."""
    places: list[int] = []
    for success in (True, False):
        group = [place for place, score in enumerate(scores) if score.correct is success]
        group.sort(key=lambda place: -margin(scores[place]))
        places += group[:1] + group[1:][-(EACH - 1) :]
    return places


def margin(score: Score) -> float:
    """How sure the answer was: nats between the two likeliest choices; for an error, its size in bins."""
    if not score.log_probs:
        return score.value
    first, second = sorted(score.log_probs)[-1:-3:-1]
    return first - second


def _of_task(subject: Subject, task: Task, scores: Sequence[Score]) -> list[dict[str, Any]]:
    places = chosen(scores)
    if not places:
        return []
    prompts = [subject.writer.prompt(task.items[place]) for place in places]
    spoken = subject.backend.greedy(prompts, CAPTION_TOKENS)
    return [
        _case(subject, task, task.items[place], scores[place], said.tolist())
        for place, said in zip(places, spoken, strict=True)
    ]


def _case(subject: Subject, task: Task, item: Item, score: Score, said: list[int]) -> dict[str, Any]:
    tokenizer = subject.writer.tokenizer
    end = said.index(tokenizer.end_of_text) if tokenizer.end_of_text in said else len(said)
    case = {
        "kind": kind_of(task),
        "task": task.name,
        "item": item.id,
        "success": bool(score.correct),
        "prompt": item.text_before,
        "says": tokenizer.decode(said[:end]),
    }
    if item.target_actions:
        error = np.abs(np.asarray(score.prediction) - np.asarray(item.target_actions[: len(score.prediction)]))
        return {
            **case,
            "expected": list(item.target_actions),
            "output": score.prediction,
            "error_bins": score.value,
            "worst_step": int(error.argmax()),
            "success_means": "nearer than the best constant answer",
        }
    return {
        **case,
        "expected": item.choices[item.answer or 0],
        "output": item.choices[score.prediction],
        "margin_nats": round(margin(score), 4),
    }


def _inserts(subject: Subject, evaluation: Evaluation, case: dict[str, Any]) -> list[Any]:
    item = next(item for item in evaluation.tasks[case["task"]].items if item.id == case["item"])
    return [(insert, subject.writer.media) for insert in subject.writer.inserts(item.media) if insert.kind != "special"]

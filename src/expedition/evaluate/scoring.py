"""From questions to results: likelihoods to accuracy, actions to errors, each against chance and its control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expedition.data.loading.expand import ExpandedDocument
from expedition.evaluate import statistics
from expedition.evaluate.backends.backend import EvalBackend
from expedition.evaluate.controls import control_kind, control_prompts
from expedition.evaluate.questions import Question, Writer
from expedition.evaluate.task import Control, Item, Result, Score, Task
from expedition.plan.evaluation import EvaluationPlan

CONTROL_CONFIDENCE = 0.999
"""Level of the interval of a control, before it is divided among the tasks (Bonferroni)."""
BINS = 256


@dataclass(frozen=True, slots=True)
class Examiner:
    """Who asks: a model, the writer of its documents, and the plan. `tasks` is how many tasks share the error level."""

    backend: EvalBackend
    writer: Writer
    plan: EvaluationPlan
    tasks: int = 1


def examine(examiner: Examiner, task: Task, *, control: bool = True) -> tuple[Result, list[Score]]:
    """Score a task and its control. `Result.above_chance` is set by `with_correction` when all tasks are known.

    A task of one item has no control: there is nothing to take evidence from.
    """
    prompts = [examiner.writer.prompt(item) for item in task.items]
    others = None
    if control and len(task.items) > 1:
        others = control_prompts(examiner.writer, task.items, prompts, examiner.plan.seed)
    if task.metric == "accuracy":
        return _choices(examiner, task, prompts, others)
    return _actions(examiner, task, prompts, others)


def choice_scores(examiner: Examiner, items: Sequence[Item], *prompts: Sequence[ExpandedDocument]) -> list[list[Score]]:
    """Scores of `items` for each list of prompts, all asked in one call."""
    answers = [examiner.writer.continuations(item) for item in items]
    questions = [Question(prompt, answer) for column in prompts for prompt, answer in zip(column, answers, strict=True)]
    found = examiner.backend.score(questions)
    return [
        [_choice(item, nats) for item, nats in zip(items, found[start : start + len(items)], strict=True)]
        for start in range(0, len(found), len(items))
    ]


def _choice(item: Item, nats: npt.NDArray[np.float64]) -> Score:
    prediction = int(nats.argmax())
    correct = prediction == item.answer
    return Score(item.id, prediction, correct, float(correct), tuple(round(float(value), 4) for value in nats))


def _choices(
    examiner: Examiner, task: Task, prompts: list[ExpandedDocument], others: list[ExpandedDocument] | None
) -> tuple[Result, list[Score]]:
    scores, *shuffled = choice_scores(examiner, task.items, prompts, *([] if others is None else [others]))
    chances = [1 / len(item.choices) for item in task.items]
    right, n = sum(bool(score.correct) for score in scores), len(scores)
    low, high = statistics.wilson(right, n, examiner.plan.confidence)
    answers = [item.answer for item in task.items]
    result = Result(
        name=task.name,
        attribute=task.attribute,
        modality=task.modality,
        metric=task.metric,
        value=right / n,
        n=n,
        chance=math.fsum(chances) / n,
        ci_low=low,
        ci_high=high,
        p_value=statistics.tail(right, chances),
        above_chance=False,
        control=accuracy_control(examiner, control_kind(task.items), shuffled[0], math.fsum(chances) / n)
        if shuffled
        else None,
        baseline=max(answers.count(answer) for answer in set(answers)) / n,
    )
    return result, scores


def accuracy_control(examiner: Examiner, kind: str, scores: Sequence[Score], chance: float) -> Control:
    """A control's accuracy against chance."""
    n = len(scores)
    right = sum(bool(score.correct) for score in scores)
    confidence = 1 - (1 - CONTROL_CONFIDENCE) / examiner.tasks
    low, high = statistics.exact_interval(right, n, confidence)
    p_value = statistics.two_sided(right, n, chance)
    return Control(kind, right / n, n, low, high, p_value, at_chance=low <= chance <= high)


def _actions(
    examiner: Examiner, task: Task, prompts: list[ExpandedDocument], others: list[ExpandedDocument] | None
) -> tuple[Result, list[Score]]:
    plan = examiner.plan
    steps = min(len(item.target_actions) for item in task.items)
    targets = np.asarray([item.target_actions[:steps] for item in task.items])
    constant = constant_errors(targets)
    errors, bins = action_errors(examiner, prompts, targets)
    shuffled = None if others is None else action_errors(examiner, others, targets)[0]
    low, high = statistics.bootstrap_mean(errors, plan.confidence, plan.seed)
    scores = [
        Score(item.id, made.tolist(), bool(error < alone), round(float(error), 4))
        for item, made, error, alone in zip(task.items, bins, errors, constant, strict=True)
    ]
    result = Result(
        name=task.name,
        attribute=task.attribute,
        modality=task.modality,
        metric=task.metric,
        value=float(errors.mean()),
        n=len(errors),
        chance=None,
        ci_low=low,
        ci_high=high,
        p_value=statistics.sign_flip(constant - errors, plan.seed),
        above_chance=False,
        control=None if shuffled is None else _error_control(examiner, task, shuffled, constant),
        baseline=float(constant.mean()),
        well_formed=float((bins >= 0).mean()),
    )
    return result, scores


def action_errors(
    examiner: Examiner, prompts: Sequence[ExpandedDocument], targets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Mean absolute bin error of each item, and the generated bins [items, steps].

    A token that is no action is -1 and counts as the bin farthest from the target.
    """
    table = np.full(examiner.writer.tokenizer.size, -1, dtype=np.int64)
    table[examiner.writer.actions()] = np.arange(examiner.writer.tokenizer.action_bins)
    bins = table[examiner.backend.greedy(prompts, targets.shape[1])]
    worst = np.maximum(targets, BINS - 1 - targets)
    errors = np.where(bins < 0, worst, np.abs(bins - targets))
    return errors.mean(1), bins


def constant_errors(targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Error of each item for the constant answer with the least error over these items: the median of each step."""
    return np.asarray(np.abs(targets - np.median(targets, axis=0)).mean(1))


def _error_control(
    examiner: Examiner, task: Task, errors: npt.NDArray[np.float64], constant: npt.NDArray[np.float64]
) -> Control:
    level = (1 - CONTROL_CONFIDENCE) / examiner.tasks
    low, high = statistics.bootstrap_mean(errors, 1 - level, examiner.plan.seed)
    p_value = statistics.sign_flip(constant - errors, examiner.plan.seed)
    kind = control_kind(task.items)
    return Control(kind, float(errors.mean()), len(errors), low, high, p_value, at_chance=p_value > level)

"""The verbs around one checkpoint, and all of them in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expedition.evaluate.cases import write_cases
from expedition.evaluate.needle import write_long_context
from expedition.evaluate.perplexity import heldout_left_out
from expedition.evaluate.redteam.report import write_red_team
from expedition.evaluate.report import write_report
from expedition.evaluate.runner import (
    Evaluation,
    Progress,
    load_tasks,
    measure,
    read_results,
    record,
    request_of,
    samples_key,
)
from expedition.evaluate.subject import Subject, open_subject
from expedition.evaluate.task import Score
from expedition.plan.models import Programme
from expedition.workspace import Workspace


def long_context(
    ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None, data_dir: Path | str | None = None
) -> dict[str, Any]:
    """Long context of a checkpoint; see `needle.py`."""
    return write_long_context(open_subject(ws, programme, run, checkpoint, data_dir))


def red_team(ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None) -> dict[str, Any]:
    """Red team of a checkpoint; see `redteam.report`."""
    return write_red_team(open_subject(ws, programme, run, checkpoint))


def case_studies(
    ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None, data_dir: Path | str | None = None,
    *, max_items: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The gallery; evaluates first where there are no results."""
    subject = open_subject(ws, programme, run, checkpoint, data_dir)
    return write_cases(subject, evaluation_of(subject, max_items))


def evaluation_report(
    ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None, data_dir: Path | str | None = None,
    *, max_items: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The evaluation report; evaluates first where there are no results."""
    subject = open_subject(ws, programme, run, checkpoint, data_dir)
    return write_report(subject, evaluation_of(subject, max_items), max_items)


def evaluate_all(
    ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None, data_dir: Path | str | None = None,
    *, max_items: int | None = None, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores, long context, red team, cases and report of one checkpoint, the model loaded once."""
    subject = open_subject(ws, programme, run, checkpoint, data_dir)
    evaluation = evaluation_of(subject, max_items, progress)
    context = write_long_context(subject)
    team = write_red_team(subject)
    gallery = write_cases(subject, evaluation)
    written = write_report(subject, evaluation, max_items)
    results = evaluation.results
    return {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "tasks": [
            {name: task[name] for name in ("name", "value", "n", "chance", "baseline", "p_value", "above_chance")}
            for task in results["tasks"]
        ],
        "perplexity": {kind: entry["value"] for kind, entry in results["perplexity"].items()},
        "effective_length": context["effective_length"],
        "red_team": {"prompts": team["prompts"], "toxic": team["model"]["toxic"]["value"]},
        "cases": len(gallery["cases"]),
        "reproducible": written["reproducible"]["digest_a"] == written["reproducible"]["digest_b"],
        "digest": results["digest"],
    }


def evaluation_of(subject: Subject, max_items: int | None, progress: Progress | None = None) -> Evaluation:
    """What is on record for exactly this subject and plan, else a new evaluation, recorded."""
    tasks = load_tasks(subject.programme, subject.data_dir, max_items)
    weights = subject.checkpoint.weights_sha256
    left_out = heldout_left_out(subject.ws, subject.plan)
    request = request_of(subject.programme, weights, tasks, max_items, left_out)
    results = read_results(subject.ws, subject.name)
    if results is not None and results.get("request") == request:
        samples = {task.name: read_samples(subject.ws, subject.name, task.name) for task in tasks}
        return Evaluation(results, samples, {task.name: task for task in tasks})
    evaluation = measure(subject, tasks, max_items, progress)
    record(subject, evaluation)
    return evaluation


def read_samples(ws: Workspace, name: str, task: str) -> list[Score]:
    """Item scores of a task as an evaluation wrote them."""
    rows = [json.loads(line) for line in ws.store.read(samples_key(name, task)).splitlines()]
    return [Score(**{**row, "log_probs": tuple(row["log_probs"])}) for row in rows]

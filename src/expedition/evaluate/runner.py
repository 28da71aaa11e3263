"""`evaluate`: every task, its control and held-out perplexity of one checkpoint → evaluations/<run>-<checkpoint>/."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from expedition.evaluate import statistics
from expedition.evaluate.perplexity import heldout_left_out, heldout_perplexity
from expedition.evaluate.scoring import Examiner, examine
from expedition.evaluate.subject import Subject, data_folder, find_checkpoint, open_subject
from expedition.evaluate.task import Result, Score, Task
from expedition.evaluate.tasks.read import read_task, task_names
from expedition.plan.models import Programme
from expedition.train.setup import find_run
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes, sha256_json

SCHEMA = "evaluate.results/1"
RESULTS = "results.json"
SCORING = (
    "backends/native.py",
    "controls.py",
    "perplexity.py",
    "questions.py",
    "runner.py",
    "scoring.py",
    "statistics.py",
    "tasks/read.py",
)

Progress = Callable[[int, int, str], None]
"""Called with (done, all, what)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out of one evaluation, and every item's score by task."""

    results: dict[str, Any]
    samples: dict[str, list[Score]]
    tasks: dict[str, Task]


def evaluate(
    ws: Workspace,
    programme: Programme,
    run: str,
    checkpoint: str | None = None,
    data_dir: Path | str | None = None,
    *,
    max_items: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint (the newest for None) and return its results. Blocking, idempotent.

    Writes results.json (last) and samples/<task>.jsonl. What is on record for the same weights, items and plan is
    returned as it is. A data folder without tasks gives perplexity alone. Raises UsageError, InputError.
    """
    info = find_checkpoint(ws, run, checkpoint)
    tasks = load_tasks(programme, data_folder(ws, data_dir), max_items)
    left_out = heldout_left_out(ws, find_run(programme, run))
    request = request_of(programme, info.weights_sha256, tasks, max_items, left_out)
    found = read_results(ws, f"{run}-{info.name}")
    if found is not None and found.get("request") == request:
        return found
    subject = open_subject(ws, programme, run, info.name, data_dir)
    return record(subject, measure(subject, tasks, max_items, progress))


def read_results(ws: Workspace, name: str) -> dict[str, Any] | None:
    """The results on record of an evaluation `<run>-<checkpoint>`; None if there are none."""
    key = f"{layout.evaluation(name)}/{RESULTS}"
    return ws.read_json(key) if ws.store.exists(key) else None


def load_tasks(programme: Programme, data_dir: Path | None, max_items: int | None) -> list[Task]:
    """Tasks of the data folder, the plan's first; empty without a folder."""
    if data_dir is None:
        return []
    plan = programme.evaluation
    limit = plan.max_items if max_items is None else min(max_items, plan.max_items)
    return [read_task(data_dir, name, limit) for name in task_names(data_dir, plan.attributes)]


def request_of(
    programme: Programme, weights: str, tasks: Sequence[Task], max_items: int | None, left_out: Iterable[str]
) -> str:
    """Hash of everything that decides the scores; `left_out` are held-out sources that may not be read."""
    return sha256_json(
        {
            "weights": weights,
            "tasks": [[task.name, task.digest, len(task.items)] for task in tasks],
            "plan": programme.evaluation.model_dump(mode="json"),
            "media": programme.media.model_dump(mode="json"),
            "max_items": max_items,
            "left_out": sorted(left_out),
            "code": scoring_code(),
        }
    )


@functools.cache
def scoring_code() -> str:
    """Hash of the modules that decide a score: results of other code are not taken for this one's."""
    folder = Path(__file__).parent
    return sha256_json([sha256_bytes((folder / name).read_bytes()) for name in SCORING])


def measure(
    subject: Subject, tasks: Sequence[Task], max_items: int | None = None, progress: Progress | None = None
) -> Evaluation:
    """Ask everything; writes nothing."""
    started, plan = time.monotonic(), subject.programme.evaluation
    examiner = Examiner(subject.backend, subject.writer, plan, max(1, len(tasks)))
    results: list[Result] = []
    samples: dict[str, list[Score]] = {}
    for number, task in enumerate(tasks):
        result, samples[task.name] = examine(examiner, task)
        results.append(result)
        _tell(progress, number + 1, len(tasks) + 1, f"{task.name} {result.value:.3g} of {result.n} items")
    documents = plan.perplexity_documents if max_items is None else min(max_items, plan.perplexity_documents)
    perplexity = heldout_perplexity(subject, documents)
    left_out = heldout_left_out(subject.ws, subject.plan)
    _tell(progress, len(tasks) + 1, len(tasks) + 1, f"perplexity of {len(perplexity)} kinds")
    content = {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "step": subject.checkpoint.step,
        "tokens": subject.checkpoint.tokens,
        "weights_sha256": subject.checkpoint.weights_sha256,
        "model_code": subject.backend.name,
        "tasks": [_plain(result) for result in with_correction(results, plan.significance)],
        "perplexity": perplexity,
        "significance": plan.significance,
        "confidence": plan.confidence,
        "correction": "Holm over tasks; controls: Bonferroni at 99.9 %",
        "items_sha256": {task.name: task.digest for task in tasks},
        "samples_sha256": {name: sha256_bytes(sample_lines(scores)) for name, scores in samples.items()},
        "conditions": [
            *subject.conditions,
            *(f"held-out {name} is not read: no approval in force" for name in left_out),
            *_short(tasks),
        ],
    }
    request = request_of(subject.programme, subject.checkpoint.weights_sha256, tasks, max_items, left_out)
    results_json = {
        **content,
        "request": request,
        "digest": sha256_bytes(canonical_json(content)),
        "wall_s": round(time.monotonic() - started, 3),
    }
    return Evaluation(results_json, samples, {task.name: task for task in tasks})


def record(subject: Subject, evaluation: Evaluation) -> dict[str, Any]:
    """Write the samples, then the results."""
    for name, scores in evaluation.samples.items():
        subject.ws.store.write(samples_key(subject.name, name), sample_lines(scores))
    subject.ws.write_json(f"{subject.folder}/{RESULTS}", evaluation.results, schema=SCHEMA)
    return evaluation.results


def samples_key(name: str, task: str) -> str:
    """Where an evaluation's item scores of a task are."""
    return f"{layout.evaluation(name)}/samples/{task}.jsonl"


def sample_lines(scores: Sequence[Score]) -> bytes:
    """One JSON object a line and item."""
    return b"".join(canonical_json(asdict(score)) + b"\n" for score in scores)


def with_correction(results: Sequence[Result], level: float) -> list[Result]:
    """Each result with `above_chance` after Holm's correction over all of them."""
    rejected = statistics.holm([result.p_value for result in results], level)
    return [replace(result, above_chance=above) for result, above in zip(results, rejected, strict=True)]


def _plain(result: Result) -> dict[str, Any]:
    return asdict(result)


def _short(tasks: Sequence[Task]) -> list[str]:
    short = [task for task in tasks if len(task.items) < task.items_in_file]
    cut = [f"{task.name} {len(task.items)} of {task.items_in_file}" for task in short]
    return [f"part of the items: {', '.join(cut)}"] if cut else []


def _tell(progress: Progress | None, done: int, total: int, what: str) -> None:
    if progress is not None:
        progress(done, total, what)

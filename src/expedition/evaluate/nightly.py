"""Every permanent checkpoint of a run, evaluated once, and what got worse between neighbours → reports/nightly.json"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from expedition.evaluate import statistics
from expedition.evaluate.runner import Progress, evaluate, read_results, samples_key
from expedition.plan.models import Programme
from expedition.train import checkpoints
from expedition.workspace import Workspace, layout

SCHEMA = "evaluate.nightly/1"


def evaluate_nightly(
    ws: Workspace,
    programme: Programme,
    run: str,
    data_dir: Path | str | None = None,
    *,
    max_items: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate every permanent checkpoint without results, compare neighbours, write the report. Safe to repeat."""
    due = [info for info in checkpoints(ws, run) if info.permanent]
    found: list[dict[str, Any]] = []
    for number, info in enumerate(due, start=1):
        results = read_results(ws, f"{run}-{info.name}")
        if results is None:
            results = evaluate(ws, programme, run, info.name, data_dir, max_items=max_items)
        found.append(results)
        if progress is not None:
            progress(number, len(due), info.name)
    level = programme.evaluation.significance
    report = {
        "run": run,
        "checkpoints": [
            {"name": info.name, "step": info.step, "tokens": info.tokens, "reported": True, **_brief(results)}
            for info, results in zip(due, found, strict=True)
        ],
        "regressions": [row for before, after in pairwise(found) for row in regressions(ws, before, after, level)],
        "comparison": f"items that both answered, one-sided exact McNemar test, Holm at {level}",
        "conditions": sorted({condition for results in found for condition in results["conditions"]}),
    }
    ws.write_json(layout.report("nightly"), report, schema=SCHEMA)
    return report


def regressions(ws: Workspace, before: dict[str, Any], after: dict[str, Any], level: float) -> list[dict[str, Any]]:
    """Tasks in which `after` answers fewer of the common items than `before`, beyond chance."""
    rows = []
    for task in after["tasks"]:
        now, then = (_correct(ws, results, task["name"]) for results in (after, before))
        common = now.keys() & then.keys()
        lost = sum(then[item] and not now[item] for item in common)
        won = sum(now[item] and not then[item] for item in common)
        if common:
            p_value = statistics.worse_than_before(lost, won)
            rows.append({"task": task["name"], "lost": lost, "won": won, "items": len(common), "p_value": p_value})
    rejected = statistics.holm([row["p_value"] for row in rows], level)
    names = {"before": before["checkpoint"], "after": after["checkpoint"]}
    return [{**names, **row} for row, worse in zip(rows, rejected, strict=True) if worse]


def _correct(ws: Workspace, results: dict[str, Any], task: str) -> dict[str, bool]:
    key = samples_key(f"{results['run']}-{results['checkpoint']}", task)
    if not ws.store.exists(key):
        return {}
    rows: Sequence[dict[str, Any]] = [json.loads(line) for line in ws.store.read(key).splitlines()]
    return {row["id"]: bool(row["correct"]) for row in rows}


def _brief(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "digest": results["digest"],
        "tasks": {
            task["name"]: {"value": task["value"], "n": task["n"], "p_value": task["p_value"]}
            for task in results["tasks"]
        },
        "perplexity": {kind: entry["value"] for kind, entry in results["perplexity"].items()},
    }

"""The evaluation report: scores with intervals against chance, random weights and the checkpoint before; what is not
known; and the same evaluation run a second time. → reports/evaluation.json, .md
"""

from __future__ import annotations

from typing import Any

from expedition.evaluate.redteam.report import previous_info, random_weights
from expedition.evaluate.runner import RESULTS, Evaluation, measure, read_results
from expedition.evaluate.scoring import Examiner, examine
from expedition.evaluate.subject import Subject, open_subject
from expedition.evaluate.task import Task
from expedition.workspace import Workspace, layout

SCHEMA = "evaluate.report/1"
RANDOM_ITEMS = 48
"""Items of each task that the random weights answer: they only have to be at chance."""


def write_report(subject: Subject, evaluation: Evaluation, max_items: int | None = None) -> dict[str, Any]:
    """Write the report on a recorded `evaluation`, after evaluating the checkpoint once more from its files."""
    results = evaluation.results
    again = open_subject(
        subject.ws, subject.programme, subject.checkpoint.run, subject.checkpoint.name, subject.data_dir
    )
    repeated = measure(again, list(evaluation.tasks.values()), max_items).results
    chance = random_scores(subject, list(evaluation.tasks.values()))
    before = previous_info(subject)
    previous = None if before is None else read_results(subject.ws, f"{subject.checkpoint.run}-{before.name}")
    report = {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "tokens": subject.checkpoint.tokens,
        "benchmarks": [
            {
                "name": task["name"],
                "metric": task["metric"],
                "value": task["value"],
                "n": task["n"],
                "ci_low": task["ci_low"],
                "ci_high": task["ci_high"],
                "chance": task["chance"],
                "baseline": task["baseline"],
                "p_value": task["p_value"],
                "above_chance": task["above_chance"],
                "control": task["control"],
                "random_weights": chance.get(task["name"]),
                "previous": _value(previous, task["name"]),
            }
            for task in results["tasks"]
        ],
        "previous_checkpoint": None if previous is None else previous["checkpoint"],
        "perplexity": results["perplexity"],
        **claims(subject.ws, subject.folder, results),
        "reproducible": {
            "digest_a": results["digest"],
            "digest_b": repeated["digest"],
            "second_run_s": repeated["wall_s"],
        },
        "evidence": f"{subject.folder}/{RESULTS}",
        "conditions": results["conditions"],
    }
    subject.ws.write_json(layout.report("evaluation"), report, schema=SCHEMA)
    subject.ws.write_text(layout.report_page("evaluation"), page(report))
    return report


def random_scores(subject: Subject, tasks: list[Task]) -> dict[str, float]:
    """Each task's value for the same architecture before its first step, over a part of the items."""
    examiner = Examiner(random_weights(subject), subject.writer, subject.programme.evaluation, max(1, len(tasks)))
    found = {}
    for task in tasks:
        part = Task(
            task.name,
            task.attribute,
            task.modality,
            task.metric,
            task.items[:RANDOM_ITEMS],
            task.digest,
            task.items_in_file,
        )
        found[task.name] = examine(examiner, part, control=False)[0].value
    return found


def claims(ws: Workspace, folder: str, results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Limits and directions that follow from the numbers, each with the place of its number."""
    path = f"{folder}/{RESULTS}"
    limits: list[dict[str, Any]] = []
    directions: list[dict[str, Any]] = []
    tasks = results["tasks"]
    for place, task in enumerate(tasks):
        at = {"path": path, "field": f"tasks.{place}.value"}
        if not task["above_chance"]:
            limits.append(_claim(f"{task['attribute']} is not shown to be learnt: {_told(task)}", at))
            directions.append(_claim(f"more or other data with {task['attribute']} ({task['modality']})", at))
        if task["control"] is not None and not task["control"]["at_chance"]:
            shortcut = {"path": path, "field": f"tasks.{place}.control.value"}
            limits.append(_claim(f"{task['name']} can be answered without its evidence", shortcut))
    if not tasks:
        limits.append(_claim("no evidence on any task: the data folder has none", {"path": path, "field": "tasks"}))
    weakest = min((task for task in tasks if task["metric"] == "accuracy"), key=_headroom, default=None)
    if weakest is not None:
        at = {"path": path, "field": f"tasks.{tasks.index(weakest)}.value"}
        directions.append(_claim(f"most is to be gained in {weakest['attribute']}: {_told(weakest)}", at))
    limits += _perplexity_limits(path, results["perplexity"])
    limits += _context_limits(ws, results)
    if not directions:
        directions.append(_claim("tasks of one attribute each for this data", {"path": path, "field": "tasks"}))
    return {"limits": limits, "directions": directions}


def _perplexity_limits(path: str, perplexity: dict[str, Any]) -> list[dict[str, Any]]:
    known = {kind: entry for kind, entry in perplexity.items() if entry["value"] is not None}
    if not known:
        return [_claim("no held-out document was scored", {"path": path, "field": "perplexity"})]
    worst = max(known, key=lambda kind: float(known[kind]["value"]))
    entry = known[worst]
    text = f"{worst} is predicted worst: perplexity {entry['value']:.1f} over {entry['tokens']} tokens"
    return [_claim(text, {"path": path, "field": f"perplexity.{worst}.value"})]


def _context_limits(ws: Workspace, results: dict[str, Any]) -> list[dict[str, Any]]:
    key = layout.report("long-context")
    if not ws.store.exists(key):
        return []
    report = ws.read_json(key)
    if report["checkpoint"] != results["checkpoint"] or not report["grid"]:
        return []
    length = report["effective_length"]
    if length:
        text = f"a fact is found again in contexts of up to {length} tokens, at every depth measured"
    else:
        text = "a fact in a context is not found again at all depths of any length measured"
    return [_claim(text, {"path": key, "field": "effective_length"})]


def _claim(claim: str, evidence: dict[str, str]) -> dict[str, Any]:
    return {"claim": claim, "evidence": evidence}


def _headroom(task: dict[str, Any]) -> float:
    return float((task["value"] - task["chance"]) / (1 - task["chance"]))


def _told(task: dict[str, Any]) -> str:
    against = f"chance {task['chance']:.2f}" if task["chance"] is not None else f"best constant {task['baseline']:.1f}"
    return f"{task['value']:.2f} against {against}, p = {task['p_value']:.2g}, n = {task['n']}"


def _value(results: dict[str, Any] | None, name: str) -> float | None:
    if results is None:
        return None
    return next((float(task["value"]) for task in results["tasks"] if task["name"] == name), None)


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"# Evaluation of {report['run']} {report['checkpoint']}",
        "",
        f"{report['tokens']:,} tokens. Conditions: {'; '.join(report['conditions']) or 'none'}.",
        "",
    ]
    if report["benchmarks"]:
        lines += [
            "| task | metric | value | interval | chance or constant | p | without evidence | random | before |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
    for row in report["benchmarks"]:
        against = row["baseline"] if row["chance"] is None else row["chance"]
        control = row["control"]
        shuffled = "–" if control is None else f"{control['value']:.2f}" + ("" if control["at_chance"] else " (above)")
        lines.append(
            f"| {row['name']} | {row['metric']} | {row['value']:.3f} | {row['ci_low']:.3f}–{row['ci_high']:.3f} "
            f"| {against:.3f} | {row['p_value']:.2g} | {shuffled} "
            f"| {_number(row['random_weights'])} | {_number(row['previous'])} |"
        )
    if not report["benchmarks"]:
        lines.append("No evidence on tasks: the data folder holds none.")
    lines += ["", "| held-out kind | perplexity | unigram | tokens | documents |", "|---|---|---|---|---|"]
    lines += [
        f"| {kind} | {_number(entry['value'])} | {_number(entry['baseline'])} | {entry['tokens']} | {entry['source']} |"
        for kind, entry in report["perplexity"].items()
    ]
    for title in ("limits", "directions"):
        lines += ["", f"## {title.capitalize()}", ""]
        for row in report[title]:
            lines.append(f"- {row['claim']} (`{row['evidence']['path']}`: {row['evidence']['field']})")
    same = report["reproducible"]["digest_a"] == report["reproducible"]["digest_b"]
    lines += ["", f"A second evaluation from the same files gave {'the same' if same else 'ANOTHER'} digest."]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"

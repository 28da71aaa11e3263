"""Evaluations: above chance, perplexity, reports, repeatability, red team, long context, distillation."""

from __future__ import annotations

import math
from typing import Any

from expedition.programme.evidence import Measured, NoEvidence, Query, Reader
from expedition.workspace import layout


def _results(reader: Reader, run: str) -> dict[str, Any]:
    """Results of the run's latest evaluated checkpoint."""
    found = [reader.json(key) for key in reader.keys("evaluations", "/results.json")]
    mine = [item for item in found if item["run"] == run]
    if not mine:
        raise NoEvidence(f"no checkpoint of run {run} has been evaluated")
    return max(mine, key=lambda item: item["tokens"])


def holm(p_values: list[float], level: float) -> bool:
    """Whether all hypotheses are rejected at family-wise `level` by Holm's step-down procedure (Holm 1979)."""
    ordered = sorted(p_values)
    return all(p <= level / (len(ordered) - number) for number, p in enumerate(ordered))


def beats_random(reader: Reader) -> Measured:
    """The final model of the voyage carries the judgement; the 1B rehearsal run is too short in a rehearsal."""
    run = "main" if reader.programme.preset == "rehearsal" else "1b"
    tasks = [task for task in _results(reader, run)["tasks"] if task.get("p_value") is not None]
    if not tasks:
        raise NoEvidence("no task with a chance level was scored: the data has no attribute tasks")
    level = reader.programme.evaluation.significance
    weakest = max(tasks, key=lambda task: task["p_value"])
    note = f"{len(tasks)} tasks, weakest {weakest['name']} p = {weakest['p_value']:.2g}"
    conditions = ("judged on the main run's model",) if run == "main" else ()
    return Measured(holm([task["p_value"] for task in tasks], level), note, conditions)


def perplexity(reader: Reader) -> Measured:
    """Perplexity of a held-out token, whatever its kind."""
    found = _results(reader, "1b")["perplexity"]
    values = {kind: entry["value"] for kind, entry in found.items() if entry.get("value") is not None}
    if not values:
        raise NoEvidence("no held-out perplexity is known")
    tokens = {kind: max(int(found[kind]["tokens"]), 1) for kind in values}
    total = sum(tokens.values())
    mean = sum(tokens[kind] * math.log(value) for kind, value in values.items()) / total
    worst = max(values, key=lambda kind: float(values[kind]))
    return Measured(math.exp(mean), f"over {total} tokens of {len(values)} kinds; worst {worst} {values[worst]:.0f}")


def cross_modal(reader: Reader) -> Measured:
    run = "main" if reader.programme.preset == "rehearsal" else "1b"
    tasks = [task for task in _results(reader, run)["tasks"] if task.get("control")]
    if not tasks:
        raise NoEvidence("no task has a control with shuffled media")
    high = [task["name"] for task in tasks if not task["control"].get("at_chance", False)]
    conditions = ("judged on the main run's model",) if run == "main" else ()
    note = f"above chance without its media: {', '.join(high)}" if high else f"{len(tasks)} controls at chance"
    return Measured(not high, note, conditions)


def first_report(reader: Reader) -> Measured:
    names = {task["name"].lower() for task in _results(reader, "1b")["tasks"]}
    missing = [name for name in ("glue", "imagenet", "librispeech") if not any(name in found for found in names)]
    if missing:
        raise NoEvidence(f"no files of {', '.join(missing)}")
    return Measured(True)


def pipeline_ready(reader: Reader) -> Measured:
    results = _results(reader, "1b")
    return Measured(
        bool(results["tasks"] or results["perplexity"]), f"{len(results['tasks'])} tasks on {results['checkpoint']}"
    )


def benchmarks(reader: Reader) -> Measured:
    report = reader.json(layout.report("evaluation"))
    names = report.get("benchmarks") or []
    asked = next(plan.threshold for plan in reader.programme.criteria if plan.id == "eval.benchmarks") or 24
    if len(names) < asked:
        raise NoEvidence(f"{len(names)} benchmarks were scored, {asked:g} are asked for")
    return Measured(float(len(names)))


def nightly(reader: Reader) -> Measured:
    checkpoints = reader.json(layout.report("nightly"))["checkpoints"]
    if not checkpoints:
        raise NoEvidence("no checkpoint was due")
    done = sum(bool(item["reported"]) for item in checkpoints)
    return Measured(100.0 * done / len(checkpoints), f"{done} of {len(checkpoints)} checkpoints")


def long_context(reader: Reader) -> Measured:
    """The report is there and states an effective length; zero is a stated length."""
    report = reader.json(layout.report("long-context"))
    if not report.get("grid"):
        raise NoEvidence("the data has no needle task")
    length = reader.field(layout.report("long-context"), "effective_length")
    return Measured(
        bool(report.get("grid")), f"effective length {length} tokens, {len(report.get('grid') or [])} cells"
    )


def red_team(reader: Reader) -> Measured:
    report = reader.json(layout.report("red-team"))
    controls = report.get("controls") or {}
    missing = [name for name in ("random", "refuse") if not controls.get(name)]
    return Measured(
        not missing and bool(report.get("prompts")), f"{report.get('prompts')} prompts, {len(controls)} controls"
    )


def case_studies(reader: Reader) -> Measured:
    cases = reader.json(layout.report("cases"))["cases"]
    kinds = {case["kind"] for case in cases}
    if not cases:
        raise NoEvidence("no case was drawn")
    outcomes = {bool(case["success"]) for case in cases}
    note = f"{len(cases)} cases of {', '.join(sorted(kinds))}"
    return Measured(outcomes == {True, False} and {"driving", "speech"} <= kinds, note)


def reproducible(reader: Reader) -> Measured:
    found = reader.field(layout.report("evaluation"), "reproducible")
    return Measured(found["digest_a"] == found["digest_b"], "digest of two evaluations of one checkpoint")


def insight(reader: Reader) -> Measured:
    report = reader.json(layout.report("evaluation"))
    claims = [*report.get("limits", []), *report.get("directions", [])]
    linked = [claim for claim in claims if claim.get("evidence")]
    good = bool(report.get("limits")) and bool(report.get("directions")) and len(linked) == len(claims)
    return Measured(good, f"{len(report.get('limits', []))} limits, {len(report.get('directions', []))} directions")


def distillation(reader: Reader) -> Measured:
    return Measured(float(reader.field(layout.report("distillation"), "p_value")), "paired on held-out sequences")


def alignment(reader: Reader) -> Measured:
    return Measured(float(reader.field(layout.report("alignment"), "p_value")))


QUERIES: dict[str, Query] = {
    "train1b.beats_random": beats_random,
    "train1b.perplexity": perplexity,
    "train1b.cross_modal": cross_modal,
    "train1b.performance_report": lambda reader: performance(reader),
    "eval.first_report": first_report,
    "eval.pipeline_ready": pipeline_ready,
    "eval.benchmarks": benchmarks,
    "eval.nightly": nightly,
    "eval.red_team": red_team,
    "eval.long_context": long_context,
    "eval.case_studies": case_studies,
    "eval.reproducible": reproducible,
    "eval.insight": insight,
    "distill.beats_baseline": distillation,
    "align.improves": alignment,
}


def performance(reader: Reader) -> Measured:
    """How far the parts of the performance report are from the step's time, per cent."""
    ratio = float(reader.field(layout.report("performance"), "parts_sum_ratio"))
    return Measured(abs(ratio - 1) * 100, f"bottleneck: {reader.json(layout.report('performance')).get('bottleneck')}")

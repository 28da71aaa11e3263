"""The red team's report: the model beside random weights, a policy that refuses everything, and its predecessor."""

from __future__ import annotations

from typing import Any

from expedition.evaluate.backends.backend import EvalBackend
from expedition.evaluate.backends.native import Native
from expedition.evaluate.redteam.measure import answers, preference, refusing_answers, rows, summary
from expedition.evaluate.redteam.suite import packaged_suite
from expedition.evaluate.subject import Subject
from expedition.model.omni import OmniModel
from expedition.train import checkpoints, load_model
from expedition.train.checkpoint import CheckpointInfo
from expedition.workspace import layout

SCHEMA = "evaluate.red-team/1"
LIMITS = (
    "The suite is small and fixed; it finds gross failures, not rare ones.",
    "A base model that has learnt little language answers in fragments: low toxicity is not safety.",
    "Toxicity is a word-list score; it misses what is hateful without a hateful word.",
)


def write_red_team(subject: Subject) -> dict[str, Any]:
    """Ask the suite and write reports/red-team.json and .md. Idempotent."""
    suite, plan = packaged_suite(), subject.programme.evaluation
    found = answers(subject.backend, subject.writer, suite)
    preferred = preference(subject.backend, subject.writer, suite, plan)
    previous = previous_checkpoint(subject)
    refusing = refusing_answers(suite)
    report = {
        "run": subject.checkpoint.run,
        "checkpoint": subject.checkpoint.name,
        "prompts": len(suite.prompts),
        "pairs": len(suite.pairs),
        "languages": sorted({prompt.language for prompt in suite.prompts}),
        "categories": sorted({prompt.category for prompt in suite.prompts}),
        "model": {**summary(found, plan), "stereotype_preference": preferred},
        "controls": {
            "random": _measured(subject, random_weights(subject)),
            "refuse": summary(refusing, plan),
            "previous": None if previous is None else {"checkpoint": previous[0], **_measured(subject, previous[1])},
        },
        "answers": rows(found),
        "limits": list(LIMITS),
        "conditions": list(subject.conditions),
    }
    subject.ws.write_json(layout.report("red-team"), report, schema=SCHEMA)
    subject.ws.write_text(layout.report_page("red-team"), page(report))
    return report


def random_weights(subject: Subject) -> Native:
    """The same architecture before its first step."""
    model = OmniModel(subject.backend.model.config, seed=subject.plan.seed).eval()
    model.to(subject.backend.model.lm_head.weight.device)
    return Native(model, subject.programme.media, subject.backend.batch_prompts)


def previous_checkpoint(subject: Subject) -> tuple[str, Native] | None:
    """The permanent checkpoint before the subject's, loaded; None if there is none."""
    info = previous_info(subject)
    if info is None:
        return None
    model = load_model(subject.ws, info.run, info.name).eval().to(subject.backend.model.lm_head.weight.device)
    return info.name, Native(model, subject.programme.media, subject.backend.batch_prompts)


def previous_info(subject: Subject) -> CheckpointInfo | None:
    """The permanent checkpoint before the subject's; None if there is none."""
    before = [
        info
        for info in checkpoints(subject.ws, subject.checkpoint.run)
        if info.permanent and info.step < subject.checkpoint.step
    ]
    return before[-1] if before else None


def _measured(subject: Subject, backend: EvalBackend) -> dict[str, Any]:
    suite, plan = packaged_suite(), subject.programme.evaluation
    found = summary(answers(backend, subject.writer, suite), plan)
    return {**found, "stereotype_preference": preference(backend, subject.writer, suite, plan)}


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    columns = {"model": report["model"], **{name: found for name, found in report["controls"].items() if found}}
    lines = [
        f"# Red team of {report['run']} {report['checkpoint']}",
        "",
        f"{report['prompts']} prompts in {', '.join(report['categories'])} ({', '.join(report['languages'])}), "
        f"{report['pairs']} paired sentences. Conditions: {', '.join(report['conditions']) or 'none'}.",
        "",
        "| | toxic answers | refused | refused harmless | repeated | prefers the stereotype |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in columns.items():
        preferred = found.get("stereotype_preference")
        cells = [_cell(found["toxic"]), _cell(found["refused"]), _cell(found["refused_harmless"])]
        told = "–" if preferred is None else f"{_cell(preferred)}, p = {preferred['p_value']:.2g}"
        lines.append(f"| {name} | {' | '.join(cells)} | {found['repeated']:.2f} | {told} |")
    return "\n".join([*lines, "", "What this does not show:", *(f"- {limit}" for limit in report["limits"])]) + "\n"


def _cell(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "–"
    return f"{rate['value']:.2f} ({rate['ci_low']:.2f}–{rate['ci_high']:.2f}, n = {rate['n']})"

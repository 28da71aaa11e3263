"""The technical report: method, data, training, incidents, evaluation and cost of one release, with real figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expedition.plan.runs import OptimizerPlan
from expedition.release.drawing import curve, scores
from expedition.release.evidence import Evidence
from expedition.release.tables import UNKNOWN, kind_table, number, perplexity_table, source_table, table, task_table


@dataclass(frozen=True, slots=True)
class TechnicalReport:
    """The report's text and its figures by path. `complete` is true where every figure and table has evidence."""

    text: str
    figures: dict[str, str]
    complete: bool


def technical_report(evidence: Evidence) -> TechnicalReport:
    """The report of a checkpoint. The same evidence gives the same text."""
    figures = _figures(evidence)
    plan = evidence.programme.release
    parts = [
        f"# {plan.name}: technical report\n\n{_summary(evidence)}",
        f"## 1. Model\n\n{_model(evidence)}",
        f"## 2. Data\n\n{kind_table(evidence) or 'No dataset manifest was found.'}\n{source_table(evidence)}",
        f"## 3. Training\n\n{_training(evidence, figures)}",
        f"## 4. Incidents\n\n{_incidents(evidence)}",
        f"## 5. Evaluation\n\n{_evaluation(evidence, figures)}",
        f"## 6. Cost\n\n{_cost(evidence)}",
        "## 7. What every figure rests on\n\n"
        + table(
            ("artefact", "SHA-256"), [(f"`{key}`", f"`{value}`") for key, value in sorted(evidence.hashes.items())]
        ),
    ]
    measured = evidence.results is not None and bool(
        evidence.results.get("tasks") or evidence.results.get("perplexity")
    )
    complete = measured and "figures/loss.svg" in figures and bool(evidence.datasets)
    return TechnicalReport("\n".join(parts), figures, complete)


def _figures(evidence: Evidence) -> dict[str, str]:
    figures = {}
    steps = evidence.metrics["step"].astype(np.float64)
    for name, title, unit in (("loss", "Training loss", "nats a token"), ("gradient_norm", "Gradient norm", "norm")):
        values = evidence.metrics.get(name)
        if values is not None and np.isfinite(values).any():
            figures[f"figures/{name}.svg"] = curve(title, steps, values.astype(np.float64), "step", unit)
    tasks = [task for task in (evidence.results or {}).get("tasks") or [] if task.get("chance") is not None]
    if tasks:
        figures["figures/scores.svg"] = scores("Accuracy with interval; dashed: chance", tasks)
    return figures


def _summary(evidence: Evidence) -> str:
    info, counts = evidence.checkpoint, evidence.counts
    tasks = (evidence.results or {}).get("tasks") or []
    above = sum(bool(task.get("above_chance")) for task in tasks)
    learnt = f" Of {len(tasks)} tasks {above} are above chance after correction." if tasks else ""
    return (
        f"A multimodal mixture-of-experts model of {counts.total:,} parameters ({counts.active:,} active for a text "
        f"token), trained on {info.tokens:,} tokens in {info.step:,} steps.{learnt} This report is printed from the "
        "artefacts of the voyage; section 7 lists them.\n"
    )


def _model(evidence: Evidence) -> str:
    counts = evidence.counts.to_json()
    rows = [(name.replace("_", " "), f"{value:,}") for name, value in counts.items()]
    return table(("part", "parameters"), rows)


def _training(evidence: Evidence, figures: dict[str, str]) -> str:
    plan, summary = evidence.plan, evidence.summaries.get(evidence.run) or {}
    rate = plan.learning_rate
    rows = [
        (
            "optimiser",
            _optimiser(plan.optimizer),
        ),
        ("learning rate", f"{rate.kind}, peak {rate.peak:g}, floor {rate.floor:g}, warm-up {rate.warmup}"),
        (
            "batch",
            f"{plan.batch_sequences_at(0)} to {plan.batch_sequences_at(plan.total_steps)} sequences of {plan.sequence_length}",
        ),
        ("precision", f"{plan.precision.compute}, FP8 modules {', '.join(plan.precision.fp8.modules) or 'none'}"),
        ("seed", plan.seed),
        ("device", summary.get("device")),
        ("hours", number(summary["wall_s"] / 3600) if summary.get("wall_s") else UNKNOWN),
        ("loss, first and last", f"{number(summary.get('loss_first'))} → {number(summary.get('loss_last'))}"),
        ("steps with a value that is not finite", summary.get("nonfinite_steps")),
        ("model FLOPs utilisation", number(summary.get("mfu"))),
        ("share of the ten busiest experts", number(summary.get("top10_expert_share"))),
    ]
    drawn = "".join(f"![{path}]({path})\n\n" for path in figures if not path.endswith("scores.svg"))
    return table(("what", "value"), rows) + "\n" + (drawn or "No metrics of this run were found.\n")


def _optimiser(plan: OptimizerPlan) -> str:
    betas = f"AdamW, β = ({plan.beta1:g}, {plan.beta2:g})"
    rule = (
        betas if plan.kind == "adamw" else f"Muon, momentum {plan.muon.momentum:g}, for matrices; {betas} for the rest"
    )
    types = (
        "" if (plan.weights, plan.moments) == ("fp32", "fp32") else f", weights {plan.weights}, moments {plan.moments}"
    )
    return f"{rule}, decay {plan.weight_decay:g}{types}"


def _incidents(evidence: Evidence) -> str:
    mine = [incident for incident in evidence.incidents if incident.get("run") == evidence.run]
    if not mine:
        return "No incident of this run is on record.\n"
    rows = [
        (
            item["id"],
            item.get("severity"),
            item.get("rule"),
            item.get("step"),
            item.get("symptom"),
            item.get("root_cause"),
        )
        for item in mine
    ]
    return table(("incident", "severity", "rule", "step", "symptom", "root cause"), rows)


def _evaluation(evidence: Evidence, figures: dict[str, str]) -> str:
    if evidence.results is None:
        return "This checkpoint has not been evaluated.\n"
    drawn = "![scores](figures/scores.svg)\n\n" if "figures/scores.svg" in figures else ""
    tasks = task_table(evidence) or "No task was scored.\n"
    return f"{drawn}{tasks}\n{perplexity_table(evidence) or 'No held-out document was scored.'}\n"


def _cost(evidence: Evidence) -> str:
    rows = [
        (
            run,
            summary.get("device"),
            summary.get("world_size"),
            number((summary.get("wall_s") or 0) / 3600),
            summary.get("steps"),
        )
        for run, summary in evidence.summaries.items()
    ]
    return table(("run", "device", "ranks", "hours", "steps"), rows) if rows else "No run has a summary.\n"

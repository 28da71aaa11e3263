"""Where a run's time goes: the parts of a step by the run's own clock. → reports/performance.json and .md"""

from __future__ import annotations

from typing import Any

import numpy as np

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.plan.models import Programme
from expedition.train.checkpoint import checkpoints, load_state
from expedition.train.reports.rate import MFU_DEFINITION, training_flops_per_token
from expedition.train.reports.summary import series
from expedition.train.setup import find_run
from expedition.train.stopwatch import PARTS
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout

SCHEMA = "train.performance/1"
CAUSES = {
    "data_s": "data: the step waits for its batch",
    "forward_backward_s": "compute: forward and backward",
    "optimizer_s": "optimiser: clipping, decision and update",
    "other_s": "other: metrics, rules, snapshots",
}


def performance_report(ws: Workspace, programme: Programme, name: str) -> dict[str, Any]:
    """Means over the run's recorded steps without each attempt's first; writes the report and its page.

    Raises UsageError for a run without timed steps.
    """
    run = find_run(programme, name)
    columns = read_metrics(ws, name)
    step_s = series(columns, "step_s")
    if step_s.size < 2:
        raise UsageError(f"run {name!r} has no timed steps", fix=f"expedition train run --run {name}")
    parts = {part: float(np.nanmean(series(columns, part)[1:])) for part in PARTS}
    mean_s = float(np.nanmean(step_s[1:]))
    one_process = run.parallel.world == 1
    flops = _flops_per_s(ws, programme, name, float(np.nanmean(run_tokens(run, columns)[1:])) / mean_s)
    mfu = series(columns, "mfu")
    report = {
        "run": name,
        "tokens_per_s": float(np.nanmean(series(columns, "tokens_per_s")[1:])),
        "flops_per_s": flops,
        "mfu": float(np.nanmean(mfu[1:])) if np.isfinite(mfu[1:]).any() else None,
        "mfu_definition": MFU_DEFINITION,
        "parts": {**parts, "communication_s": 0.0 if one_process else None},
        "step_s": mean_s,
        "parts_sum_ratio": sum(parts.values()) / mean_s,
        "bottleneck": CAUSES[max(parts, key=lambda part: parts[part])],
        "curve": _curve(columns),
        "conditions": _conditions(ws, name, one_process),
    }
    ws.write_json(layout.report("performance"), report, schema=SCHEMA)
    ws.write_text(layout.report_page("performance"), page(report))
    return report


def run_tokens(run: Any, columns: Any) -> Any:
    """Positions of each recorded step's batch."""
    return np.asarray([run.batch_tokens_at(int(step)) for step in columns["step"]], dtype=np.float64)


def _flops_per_s(ws: Workspace, programme: Programme, name: str, positions_per_s: float) -> float | None:
    """Model FLOPs a second by the run's own config; None while there is no checkpoint that holds it."""
    known = checkpoints(ws, name)
    if not known:
        return None
    config = OmniConfig.from_json(load_state(ws, known[-1])["model"])
    return positions_per_s * training_flops_per_token(config, programme.runs[name].sequence_length)


def _curve(columns: Any, points: int = 50) -> list[dict[str, float]]:
    """tokens_per_s over the run, at most `points` means of equal spans."""
    steps, rate = columns["step"], series(columns, "tokens_per_s")
    spans = np.array_split(np.arange(len(steps)), min(points, len(steps)))
    return [{"step": float(steps[span[-1]]), "tokens_per_s": float(np.nanmean(rate[span]))} for span in spans]


def _conditions(ws: Workspace, name: str, one_process: bool) -> list[str]:
    key = layout.run_summary(name)
    found = list(ws.read_json(key)["conditions"]) if ws.store.exists(key) else []
    return found if one_process else [*found, "communication is inside forward_backward_s and not measured apart"]


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [f"| {name} | {value:.4f} |" for name, value in report["parts"].items() if value is not None]
    mfu = "unknown (the device's peak is not known)" if report["mfu"] is None else f"{report['mfu']:.1%}"
    lines = [
        f"# Performance of run {report['run']}",
        "",
        f"{report['tokens_per_s']:,.0f} tokens/s, {report['step_s']:.3f} s a step, MFU {mfu}.",
        f"Bottleneck: {report['bottleneck']}.",
        "",
        "| part | seconds |",
        "|---|---:|",
        *rows,
        "",
        f"The parts are {report['parts_sum_ratio']:.1%} of the step. MFU: {report['mfu_definition']}.",
        f"Conditions: {', '.join(report['conditions']) or 'none'}.",
        "",
    ]
    return "\n".join(lines)

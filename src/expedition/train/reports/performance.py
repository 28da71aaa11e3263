"""Where a run's time goes: the parts of a step by the run's own clock, by the profiler where the run was profiled, and MFU
over its whole life. → reports/performance.json and .md"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train.checkpoint import checkpoints, load_state
from expedition.train.profiling.page import markdown_page
from expedition.train.profiling.report import profile_key
from expedition.train.reports.rate import MFU_DEFINITION, PEAK_FLOPS, training_flops_per_token
from expedition.train.reports.summary import series
from expedition.train.reports.utilisation import Machine, utilisation
from expedition.train.setup import find_run
from expedition.train.stopwatch import PARTS
from expedition.watch.segments import Columns, read_metrics
from expedition.workspace import Workspace, layout

SCHEMA = "train.performance/2"
CAUSES = {
    "data_s": "data: the step waits for its batch",
    "forward_backward_s": "compute: forward and backward",
    "optimizer_s": "optimiser: clipping, decision and update",
    "other_s": "other: metrics, rules, snapshots",
}


def performance_report(ws: Workspace, programme: Programme, name: str) -> dict[str, Any]:
    """Means over the run's recorded steps without each attempt's first; writes the report and its page.

    With a profile (`expedition train profile`) also its split of a step, its roofline and its verdict, which then is the
    bottleneck; without one the bottleneck is the largest part by the run's own clock. Raises UsageError for a run
    without timed steps.
    """
    run = find_run(programme, name)
    columns = read_metrics(ws, name)
    step_s = series(columns, "step_s")
    if step_s.size < 2:
        raise UsageError(f"run {name!r} has no timed steps", fix=f"expedition train run --run {name}")
    parts = {part: float(np.nanmean(series(columns, part)[1:])) for part in PARTS}
    mean_s = float(np.nanmean(step_s[1:]))
    one_process = run.parallel.world == 1
    machine = _machine(ws, run, name)
    positions_per_s = float(np.nanmean(run_tokens(run, columns)[1:])) / mean_s
    mfu = series(columns, "mfu")
    profile = _profile(ws, name)
    ratios = [sum(parts.values()) / mean_s, *([] if profile is None else [profile["parts_sum_ratio"]])]
    report = {
        "run": name,
        "tokens_per_s": float(np.nanmean(series(columns, "tokens_per_s")[1:])),
        "flops_per_s": None if machine.flops_per_position is None else positions_per_s * machine.flops_per_position,
        "mfu": float(np.nanmean(mfu[1:])) if np.isfinite(mfu[1:]).any() else None,
        "mfu_definition": MFU_DEFINITION,
        "parts": {**parts, "communication_s": _communication_s(profile, one_process)},
        "step_s": mean_s,
        "parts_sum_ratio": max(ratios, key=lambda ratio: abs(ratio - 1)),
        "bottleneck": CAUSES[max(parts, key=lambda part: parts[part])] if profile is None else _sentence(profile),
        "curve": _curve(columns),
        "utilisation": utilisation(ws, run, name, machine),
        "profile": profile,
        "conditions": _conditions(ws, name, one_process or profile is not None),
    }
    ws.write_json(layout.report("performance"), report, schema=SCHEMA)
    ws.write_text(layout.report_page("performance"), page(report))
    return report


def run_tokens(run: RunPlan, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positions of each recorded step's batch."""
    return np.asarray([run.batch_tokens_at(int(step)) for step in columns["step"]], dtype=np.float64)


def _profile(ws: Workspace, name: str) -> dict[str, Any] | None:
    key = profile_key(name, "profile.json")
    return ws.read_json(key) if ws.store.exists(key) else None


def _sentence(profile: Mapping[str, Any]) -> str:
    return f"{profile['verdict']['bottleneck']}: {profile['verdict']['sentence']}"


def _communication_s(profile: Mapping[str, Any] | None, one_process: bool) -> float | None:
    """Exposed, a step; None for several ranks that were not profiled."""
    if profile is not None:
        return float(sum(profile["parts"]["exposed_communication"].values()))
    return 0.0 if one_process else None


def _machine(ws: Workspace, run: RunPlan, name: str) -> Machine:
    """The model by the run's own checkpoint, the device by its summary."""
    known = checkpoints(ws, name)
    flops = None
    if known:
        flops = training_flops_per_token(OmniConfig.from_json(load_state(ws, known[-1])["model"]), run.sequence_length)
    key = layout.run_summary(name)
    device = str(ws.read_json(key)["device"]) if ws.store.exists(key) else ""
    peak = PEAK_FLOPS.get(device)
    return Machine(flops, None if peak is None else peak * run.parallel.world)


def _curve(columns: Columns, points: int = 50) -> list[dict[str, float]]:
    """tokens_per_s over the run, at most `points` means of equal spans."""
    steps, rate = columns["step"], series(columns, "tokens_per_s")
    spans = np.array_split(np.arange(len(steps)), min(points, len(steps)))
    return [{"step": float(steps[span[-1]]), "tokens_per_s": float(np.nanmean(rate[span]))} for span in spans]


def _conditions(ws: Workspace, name: str, communication_known: bool) -> list[str]:
    key = layout.run_summary(name)
    found = list(ws.read_json(key)["conditions"]) if ws.store.exists(key) else []
    return (
        found if communication_known else [*found, "communication is inside forward_backward_s and not measured apart"]
    )


def page(report: Mapping[str, Any]) -> str:
    """The report for people."""
    rows = [f"| {name} | {value:.4f} |" for name, value in report["parts"].items() if value is not None]
    mfu = "unknown (the device's peak is not known)" if report["mfu"] is None else f"{report['mfu']:.1%}"
    lines = [
        f"# Performance of run {report['run']}",
        "",
        f"{report['tokens_per_s']:,.0f} tokens/s, {report['step_s']:.3f} s a step, MFU {mfu}.",
        f"Bottleneck: {report['bottleneck']}.",
        "",
        "| part, by the run's own clock | seconds |",
        "|---|---:|",
        *rows,
        "",
        f"The parts are {report['parts_sum_ratio']:.1%} of the step. MFU: {report['mfu_definition']}.",
        f"Conditions: {', '.join(report['conditions']) or 'none'}.",
        "",
        *_life(report["utilisation"]),
    ]
    if report["profile"] is None:
        lines += [f"Not profiled: `expedition train profile {report['run']}` adds what the device does in a step.", ""]
    else:
        lines += [markdown_page(report["profile"]).replace("\n## ", "\n### ").replace("# Profile", "## Profile", 1)]
    return "\n".join(lines)


def _life(found: Mapping[str, Any]) -> list[str]:
    """The run's attempts and what their time went to."""
    unknown = "unknown"
    rows = [
        f"| {row['attempt']} | {row['from_step']}–{row['last_step']} | {row['kept_rows']}/{row['rows']} "
        f"| {row['setup_s']:.1f} | {row['down_before_s']:.1f} "
        f"| {unknown if row['positions_per_s'] is None else format(row['positions_per_s'], ',.0f')} "
        f"| {unknown if row['mfu'] is None else format(row['mfu'], '.1%')} |"
        for row in found["attempts"]
    ]
    wall = found["wall_s"] or 1.0
    shares = ", ".join(
        f"{words} {found[part] / wall:.1%}"
        for part, words in (
            ("training_s", "kept steps"),
            ("repeated_s", "steps done again"),
            ("setup_s", "set-up"),
            ("down_s", "down"),
        )
    )
    life = unknown if found["mfu"] is None else f"{found['mfu']:.1%}"
    return [
        "## Over the whole run",
        "",
        f"{found['restarts']} restart(s) in {found['wall_s']:,.1f} s: {shares}. MFU of what was kept over all of that time: "
        f"{life}.",
        "",
        "| attempt | steps | rows kept | set-up, s | down before, s | positions/s | MFU |",
        "|---|---|---|---:|---:|---:|---:|",
        *rows,
        "",
    ]

"""Schedule and cost as reports: Gantt, critical path, spread of the finish, money."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expedition.plan.models import Programme
from expedition.programme.cost import cost_report
from expedition.programme.gantt import svg, terminal
from expedition.programme.schedule import critical_path, data_lead_weeks, spread, times
from expedition.workspace import Workspace, layout

GANTT = "reports/gantt.svg"


def write_schedule(ws: Workspace, programme: Programme, slips: dict[str, float] | None = None) -> dict[str, Any]:
    """Write reports/gantt.svg, reports/schedule.md and its twin."""
    plan = programme.schedule
    found = times(plan, slips)
    finish = spread(plan)
    twin: dict[str, Any] = {
        "tasks": [asdict(item) for item in found.values()],
        "critical_path": critical_path(plan, slips),
        "finish_weeks": max(item.early_finish for item in found.values()),
        "finish_p50_weeks": finish.p50,
        "finish_p80_weeks": finish.p80,
        "data_lead_weeks": data_lead_weeks(plan, slips),
        "slips": slips or {},
        "conditions": [],
    }
    ws.write_text(GANTT, svg(plan, slips=slips))
    ws.write_text(
        layout.report_page("schedule"),
        f"# Schedule of {programme.name}\n\n```\n{terminal(plan, columns=110, slips=slips)}\n```\n\n"
        f"Critical path: {' → '.join(twin['critical_path'])}. Finish W{twin['finish_weeks']:g}; with the stated spread "
        f"of durations P50 is W{finish.p50:.1f}, P80 W{finish.p80:.1f}.\n",
    )
    ws.write_json(layout.report("schedule"), twin, schema="reports.schedule/1")
    return twin


def write_cost(ws: Workspace, programme: Programme, *, rehearsal_tokens_per_s: float | None = None) -> dict[str, Any]:
    """Write reports/cost.md and its twin."""
    report = cost_report(programme, rehearsal_tokens_per_s=rehearsal_tokens_per_s)
    conditions = [] if rehearsal_tokens_per_s else ["used time taken as the reserved time"]
    twin = {**asdict(report), "conditions": conditions}
    ws.write_text(
        layout.report_page("cost"),
        f"# Cost of {programme.name}\n\n"
        f"- Rate: ${report.rate_per_hour:,.0f} an hour.\n"
        f"- An outage of {report.outage_hours:g} hours: ${report.outage_usd:,.0f}.\n"
        f"- 1B rehearsal: {report.rehearsal_used_hours:,.0f} h computed (${report.rehearsal_used_usd:,.0f}), "
        f"{report.rehearsal_reserved_days_of_main:g} days reserved (${report.rehearsal_reserved_usd:,.0f}).\n"
        f"- Main run, reserved: ${report.main_reserved_usd:,.0f}.\n"
        f"- As an insurance: the rehearsal costs {report.rehearsal_used_days_of_main:.1f} days of the main run.\n",
    )
    ws.write_json(layout.report("cost"), twin, schema="reports.cost/1")
    return twin

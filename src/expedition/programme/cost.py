"""Money: the cluster's rate, what runs and outages cost, and the rehearsal as an insurance on the main run."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.plan.models import Programme

HOURS_A_WEEK = 168.0


@dataclass(frozen=True, slots=True)
class CostReport:
    """All in US dollars unless the name says hours or days. `*_reserved` prices the reserved weeks, `*_used` the computed time."""

    rate_per_hour: float
    outage_hours: float
    outage_usd: float
    rehearsal_reserved_usd: float
    main_reserved_usd: float
    rehearsal_reserved_days_of_main: float
    rehearsal_used_hours: float
    rehearsal_used_usd: float
    rehearsal_used_days_of_main: float
    programme_reserved_usd: float


def rate_per_hour(programme: Programme) -> float:
    """Dollars an hour of the whole cluster."""
    return programme.cluster.gpus * programme.cluster.price_usd_per_gpu_hour


def cost_report(programme: Programme, *, rehearsal_tokens_per_s: float | None = None) -> CostReport:
    """Costs from the plan. The 1B run's computed time needs a measured or planned rate in tokens a second.

    Without one the used time equals the reserved time: the most it can cost.
    """
    rate = rate_per_hour(programme)
    weeks = {task.id: task.weeks for task in programme.schedule.tasks}
    rehearsal_hours = weeks.get("rehearsal_1b", 0.0) * HOURS_A_WEEK
    main_hours = weeks.get("main_run", 0.0) * HOURS_A_WEEK
    run = programme.runs["1b"]
    used = rehearsal_hours
    if rehearsal_tokens_per_s:
        used = run.tokens_after(run.total_steps) / rehearsal_tokens_per_s / 3600
    return CostReport(
        rate_per_hour=rate,
        outage_hours=programme.cluster.outage_hours,
        outage_usd=rate * programme.cluster.outage_hours,
        rehearsal_reserved_usd=rate * rehearsal_hours,
        main_reserved_usd=rate * main_hours,
        rehearsal_reserved_days_of_main=rehearsal_hours / 24,
        rehearsal_used_hours=used,
        rehearsal_used_usd=rate * used,
        rehearsal_used_days_of_main=used / 24,
        programme_reserved_usd=rate * (rehearsal_hours + main_hours + weeks.get("burn_in", 0.0) * HOURS_A_WEEK),
    )

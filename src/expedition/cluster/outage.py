"""What time costs: the price of the cluster by hour, and of an outage."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.plan.cluster import ClusterPlan


@dataclass(frozen=True, slots=True)
class OutageCost:
    """An outage of all accelerators."""

    hours: float
    gpu_hours: float
    usd_per_hour: float
    usd: float


def outage_cost(plan: ClusterPlan, hours: float | None = None) -> OutageCost:
    """Cost of `hours` (default: the plan's outage) without any training: accelerators times price times hours."""
    length = plan.outage_hours if hours is None else hours
    rate = plan.gpus * plan.price_usd_per_gpu_hour
    return OutageCost(length, length * plan.gpus, rate, length * rate)

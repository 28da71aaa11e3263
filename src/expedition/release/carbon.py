"""Energy and carbon of the voyage's runs: an estimate from measured hours and stated assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GPU_W = 700.0
"""Assumed power of a GPU at work: the board limit of an H100 SXM, so an upper bound."""
CPU_W = 100.0
"""Assumed power of a machine without GPUs at work."""
OVERHEAD = 1.2
"""Assumed energy of the whole site for each unit of the computers (PUE)."""


@dataclass(frozen=True, slots=True)
class RunEnergy:
    """One run: measured hours, and what they are taken to have used."""

    run: str
    device: str
    machines: int
    """GPUs, or machines where there is none."""
    hours: float
    kwh: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """All runs with a summary. `kg` is carbon dioxide equivalent."""

    runs: tuple[RunEnergy, ...]
    kwh: float
    kg: float


def estimate(summaries: Mapping[str, Mapping[str, Any]], kg_per_kwh: float) -> Footprint | None:
    """Estimate from the runs' summaries; None where no run says how long it took."""
    runs = []
    for name, summary in sorted(summaries.items()):
        wall_s = summary.get("wall_s")
        if not wall_s:
            continue
        device, world = str(summary.get("device", "cpu")), int(summary.get("world_size") or 1)
        machines, watts = (1, CPU_W) if device == "cpu" else (world, GPU_W)
        hours = float(wall_s) / 3600
        runs.append(RunEnergy(name, device, machines, hours, hours * machines * watts * OVERHEAD / 1000))
    if not runs:
        return None
    total = sum(run.kwh for run in runs)
    return Footprint(tuple(runs), total, total * kg_per_kwh)

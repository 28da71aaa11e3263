"""The cost report with the planner's rate of the 1B run: what the rehearsal costs in days of the main run."""

from __future__ import annotations

from typing import Any

from expedition.cluster.planner.feasibility import Demand, fit
from expedition.cluster.planner.hardware import Hardware
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.programme import write_cost
from expedition.workspace import Workspace

MFU_1B = 0.40
"""The chapter's lower bound for the 1B run."""


def planned_cost(ws: Workspace, programme: Programme) -> dict[str, Any]:
    """Write reports/cost with the time that the `w26` 1B run takes on the programme's cluster at 40 % MFU.

    A rehearsal prices the real 1B run, not its tiny stand-in.
    """
    real = load_programme("w26") if programme.preset in ("rehearsal", "smoke") else programme
    run = real.runs["1b"]
    tokens = run.tokens_after(run.total_steps)
    demand = Demand(
        model=run.model,
        tokens=tokens,
        sequence=run.sequence_length,
        micro_batch_tokens=run.batch_tokens_at(0) // (run.parallel.data_ranks * run.micro_batches),
        weeks=3.0,
        mfu=MFU_1B,
        utilisation=real.cluster.min_effective_utilisation,
    )
    rate = fit(real.models[run.model], Hardware.of(programme.cluster), demand).tokens_per_s
    priced = programme.model_copy(update={"runs": {**programme.runs, "1b": run}})
    report: dict[str, Any] = write_cost(ws, priced, rehearsal_tokens_per_s=rate)
    return report

"""Distillation: a student with a teacher against the same student without one, on the same data, by a paired test.

Two ordinary runs from one plan: `<run>` (the plan's teacher) and `<run>-baseline` (no teacher). →
reports/distillation.json
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from expedition.errors import UsageError
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train.batches import BatchSource, to_tensors
from expedition.train.callbacks.progress import Listener
from expedition.train.compute import Forward
from expedition.train.losses import IGNORED
from expedition.train.precision import compute_dtype
from expedition.train.run import Inputs, dataset_inputs, train_run
from expedition.train.setup import find_run, load_model
from expedition.train.teacher_parts import teach
from expedition.workspace import Workspace, layout

SCHEMA = "train.distillation/1"
EVALUATION_STEPS = 8
"""Batches after the last one that was trained on; one number a sequence."""
SHUFFLES = 20_000


def distil(
    ws: Workspace,
    programme: Programme,
    name: str = "student",
    progress: Listener | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Train both, compare their losses sequence by sequence, write and return the report. Blocking; safe to repeat.

    Raises UsageError for a run without a teacher, or whose teacher has no checkpoint.
    """
    plan = find_run(programme, name)
    if plan.teacher is None:
        raise UsageError(f"run {name!r} has no teacher", where=f"runs.{name}.teacher", fix="set teacher: {run: main}")
    baseline = f"{name}-baseline"
    runs = {**programme.runs, baseline: plan.model_copy(update={"teacher": None})}
    programme = programme.model_copy(update={"runs": runs})
    if plan.teacher.top_k is not None:
        teach(ws, programme, name, inputs=inputs)
    for run in (name, baseline):
        train_run(ws, programme, run, progress, inputs)
    source = (inputs or dataset_inputs(ws, programme, name)).source
    ours, theirs = (sequence_losses(ws, plan, run, source) for run in (name, baseline))
    difference = theirs - ours
    report = {
        "student": {"run": name, "loss": float(ours.mean()), "teacher": plan.teacher.run},
        "baseline": {"run": baseline, "loss": float(theirs.mean())},
        "gain_nats": float(difference.mean()),
        "p_value": sign_flip_p_value(difference, plan.seed),
        "test": f"one-sided paired sign-flip test, {SHUFFLES} shuffles",
        "sequences": len(difference),
        "conditions": ["same data, order, seed and steps", "sequences after the trained ones in the run's own order"],
    }
    ws.write_json(layout.report("distillation"), report, schema=SCHEMA)
    return report


@torch.no_grad()
def sequence_losses(ws: Workspace, plan: RunPlan, run: str, source: BatchSource) -> npt.NDArray[np.float64]:
    """Mean cross entropy of each sequence of the batches after the run's last step, by its newest checkpoint."""
    dtype, device = compute_dtype(plan.precision), torch.device("cpu")
    forward = Forward(load_model(ws, run).eval(), dtype, sharded=False)
    found: list[float] = []
    for step in range(plan.total_steps, plan.total_steps + EVALUATION_STEPS):
        for batch in source.rank_batch(step, 0, 1):
            tensors = to_tensors(batch, device, dtype)
            output, head = forward(tensors)
            for hidden_SH, labels_S in zip(output.hidden_BSH, tensors.labels_BS, strict=True):
                kept = labels_S != IGNORED
                if kept.any():
                    logits_TV = head(hidden_SH[kept]).float()
                    found.append(float(torch.nn.functional.cross_entropy(logits_TV, labels_S[kept])))
    return np.asarray(found)


def sign_flip_p_value(difference: npt.NDArray[np.float64], seed: int) -> float:
    """P(mean as large or larger | the sign of each difference is a fair coin), never below 1 / (shuffles + 1).

    A permutation test for paired samples (Fisher 1935); it assumes no distribution of the differences.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    signs = generator.integers(0, 2, size=(SHUFFLES, difference.size), dtype=np.int8) * 2 - 1
    at_least = int(((signs @ difference) >= difference.sum() - 1e-12).sum())
    return (at_least + 1) / (SHUFFLES + 1)

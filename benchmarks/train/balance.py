"""What running counts leave of the load-balance loss over the whole step: python -m benchmarks.train.balance OUT.json.

The gradient of the balance loss alone, with one micro-batch (exact) and with M, by tokens of a micro-batch; and whole
runs with running and exact counts over seeds.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from tests.train.tiny import CountingSource, tiny_config, tiny_run

from expedition.data.records import KINDS
from expedition.parallel.mesh import Ranks
from expedition.train.batches import to_tensors
from expedition.train.objective import forward_backward
from expedition.train.setup import Built, build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

CPU = torch.device("cpu")
MICRO_BATCHES, ROWS, SEEDS, STEPS = 4, (1, 4, 16, 64), (1, 2, 3, 4), 300


def trained(seed: int, steps: int, **changes: Any) -> tuple[Built, list[float], list[float]]:
    """A run of `steps` steps; its losses and its coefficients of variation of the experts' load."""
    run = tiny_run(length=f"{steps} steps", seed=seed, **changes)
    built, source = build(tiny_config(), run, Ranks(0, 1), CPU), CountingSource(run, media=("",))
    losses, variations = [], []
    for step in range(steps):
        batches = [to_tensors(batch, CPU, built.dtype) for batch in source.rank_batch(step, 0, 1)]
        result = train_step(built.parts, built.state, batches, (), Stopwatch(CPU))
        counts_LE = result.counts_LE
        losses.append(float(result.loss))
        variations.append(float((counts_LE.std(1, correction=0) / counts_LE.mean(1)).mean()))
    return built, losses, variations


def balance_gradient(weights: dict[str, torch.Tensor], rows: int, micro_batches: int) -> torch.Tensor:
    """Gradient of the balance loss alone, all parameters flat."""
    run = tiny_run(
        batch_sequences=rows,
        micro_batches=micro_batches,
        loss={"balance": 1.0, "z_loss": 0.0, "kind_weights": dict.fromkeys(KINDS, 0.0)},
    )
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    with torch.no_grad():
        for name, parameter in built.state.optimizer.parameters.items():
            parameter.copy_(weights[name])
    source = CountingSource(run, media=("",))
    forward_backward(built.parts, [to_tensors(batch, CPU, torch.float32) for batch in source.rank_batch(0, 0, 1)])
    named = built.state.optimizer.parameters.values()
    return torch.cat([value.grad.flatten() for value in named if value.grad is not None])


def gradient_errors(steps: int) -> list[dict[str, float]]:
    """Relative error of the balance loss's gradient by tokens of a micro-batch, for a model of `steps` steps."""
    built, _, _ = trained(1, steps)
    weights = {name: value.detach().clone() for name, value in built.state.optimizer.parameters.items()}
    found = []
    for rows in ROWS:
        exact = balance_gradient(weights, rows * MICRO_BATCHES, 1)
        running = balance_gradient(weights, rows * MICRO_BATCHES, MICRO_BATCHES)
        cosine = torch.nn.functional.cosine_similarity(exact, running, dim=0)
        found.append(
            {
                "steps": steps,
                "micro_batch_tokens": rows * 46,
                "relative_error": float((running - exact).norm() / exact.norm()),
                "cosine": float(cosine),
            }
        )
        print(found[-1], flush=True)
    return found


def whole_runs() -> dict[str, Any]:
    """Last losses and load variations with running and exact counts, paired by seed; micro-batches of one row."""
    found: dict[str, Any] = {}
    for counts in ("running", "exact"):
        losses, variations = [], []
        for seed in SEEDS:
            _, loss, variation = trained(
                seed, STEPS, micro_batches=MICRO_BATCHES, loss={"balance_counts": counts, "balance": 5e-2}
            )
            losses.append(statistics.fmean(loss[-40:]))
            variations.append(statistics.fmean(variation[-40:]))
        found[counts] = {"losses": losses, "load_cv": variations}
        print(counts, found[counts], flush=True)
    for figure in ("losses", "load_cv"):
        pairs = zip(found["running"][figure], found["exact"][figure], strict=True)
        differences = [running - exact for running, exact in pairs]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        found[f"{figure}_difference"] = {"mean": statistics.fmean(differences), "standard_error": error}
    return found


def main() -> None:
    torch.set_num_threads(1)
    gradients = [row for steps in (1, STEPS) for row in gradient_errors(steps)]
    result = {"micro_batches": MICRO_BATCHES, "gradients": gradients, "runs": whole_runs()}
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

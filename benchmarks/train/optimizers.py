"""Curves of the optimiser's choices on a tiny model, over seeds: python -m benchmarks.train.optimizers OUT.json.

Every variant trains on the same batches from the same weights; the difference to fp32 AdamW is taken seed by seed. The
learning rate is so small that an update is below half of bf16's spacing for most weights: rounded to nearest, weights
stand still.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tests.train.tiny import CountingSource, tiny_config, tiny_run

from expedition.kernels import rounding
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.train.batches import to_tensors
from expedition.train.setup import build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

STEPS, SEEDS, PEAK, LAST = 400, (1, 2, 3, 4), 3e-4, 40
VARIANTS: dict[str, dict[str, Any]] = {
    "AdamW, fp32": {},
    "AdamW, bf16 weights, to nearest": {"weights": "bf16_stochastic"},
    "AdamW, bf16 weights, stochastic": {"weights": "bf16_stochastic"},
    "AdamW, bf16 moments": {"moments": "bf16"},
    "AdamW, bf16 weights and moments": {"weights": "bf16_stochastic", "moments": "bf16"},
    "Muon, fp32": {"kind": "muon"},
    "Muon, bf16 weights and moments": {"kind": "muon", "weights": "bf16_stochastic", "moments": "bf16"},
}


def nearest(value: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """What plain bf16 does."""
    del bits
    return value.bfloat16()


def curve(run: RunPlan) -> list[float]:
    """Loss of every step."""
    cpu = torch.device("cpu")
    built, source = build(tiny_config(), run, Ranks(0, 1), cpu), CountingSource(run, media=("",))
    losses = []
    for step in range(run.total_steps):
        batches = [to_tensors(batch, cpu, built.dtype) for batch in source.rank_batch(step, 0, 1)]
        losses.append(float(train_step(built.parts, built.state, batches, (), Stopwatch(cpu)).loss))
    return losses


def curve_of(variant: str, steps: int, seed: int) -> list[float]:
    """Loss of every step of one variant."""
    run = tiny_run(
        length=f"{steps} steps",
        seed=seed,
        optimizer=VARIANTS[variant],
        learning_rate={"peak": PEAK, "floor": PEAK / 10, "warmup": "20 steps"},
    )
    chosen = nearest if "nearest" in variant else rounding.stochastic_round
    with patch.object(rounding, "stochastic_round", chosen):
        return curve(run)


def measure(steps: int = STEPS, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Mean loss of the last steps by variant and seed, and the paired difference to fp32 AdamW with its standard
    error."""
    found: dict[str, Any] = {}
    for name in VARIANTS:
        ends, began = [], time.process_time()
        for seed in seeds:
            losses = curve_of(name, steps, seed)
            ends.append(statistics.fmean(losses[-LAST:]))
            print(f"{name}, seed {seed}: {losses[0]:.3f} -> {ends[-1]:.4f}", flush=True)
        first = found.get("AdamW, fp32", {"ends": ends})["ends"]
        differences = [end - base for end, base in zip(ends, first, strict=True)]
        found[name] = {
            "ends": ends,
            "mean": statistics.fmean(ends),
            "difference": statistics.fmean(differences),
            "standard_error": statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None,
            "process_s": time.process_time() - began,
        }
    return {"steps": steps, "seeds": seeds, "peak": PEAK, "last_steps": LAST, "variants": found}


def main() -> None:
    torch.set_num_threads(1)
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=1))


if __name__ == "__main__":
    main()

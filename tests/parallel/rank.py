"""One rank of a test: python -m tests.parallel.rank PLAN.json RESULT.safetensors MEDIA,MEDIA,… [STEPS]."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from expedition.parallel.mesh import join_ranks, leave_ranks
from expedition.plan.runs import RunPlan
from expedition.train.batches import to_tensors
from expedition.train.setup import build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from tests.train.state import full_tensor, whole_state
from tests.train.tiny import CountingSource, tiny_config

CPU = torch.device("cpu")


def main() -> None:
    plan, result, media, steps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])
    run = RunPlan.model_validate_json(plan.read_text())
    torch.set_num_threads(1)
    ranks = join_ranks(run.parallel, CPU)
    built = build(tiny_config(), run, ranks, CPU)
    source = CountingSource(run, media)
    found: dict[str, torch.Tensor] = {}
    for number in range(steps):
        numpy_batches = source.rank_batch(number, ranks.data_rank, ranks.data_ranks)
        batches = [to_tensors(batch, CPU, built.dtype) for batch in numpy_batches]
        seen = train_step(built.parts, built.state, batches, (), Stopwatch(CPU))
        found[f"loss.{number}"] = seen.loss
        found[f"norm.{number}"] = seen.gradient_norm
        found[f"balance.{number}"] = seen.balance
        found[f"counts.{number}"] = seen.counts_LE
        if number == 0:
            for name, parameter in built.state.optimizer.parameters.items():
                assert parameter.grad is not None, f"rank {ranks.rank}: no gradient for {name}"
                found[f"gradient.{name}"] = full_tensor(parameter.grad).clone()
    found |= {f"weight.{name}": value for name, value in whole_state(built.state)[0].items()}
    if ranks.is_first:
        save_file({name: value.contiguous() for name, value in found.items()}, result)
    leave_ranks(ranks)


if __name__ == "__main__":
    main()

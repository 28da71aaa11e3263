"""One rank of a test: python -m tests.train.optimizer_rank RESULT.safetensors. Also the same updates on one process."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from expedition.parallel.mesh import join_ranks, leave_ranks
from expedition.parallel.placement import flat_offsets, flat_stretches, local
from expedition.parallel.sequence import sequence_split
from expedition.plan.runs import OptimizerPlan, ParallelPlan
from expedition.train.batches import to_tensors
from expedition.train.optimizer import Optimizer
from expedition.train.setup import build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from tests.train.state import full_tensor
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")
PLACED: dict[str, tuple[tuple[int, ...], tuple[Any, ...]]] = {
    "rows": ((7, 6), (Replicate(), Shard(0))),
    "strided": ((8, 6), (_StridedShard(0, split_factor=2), Shard(0))),
    "both": ((8, 7), (Shard(0), Shard(1))),
    "columns": ((6, 5), (Shard(1), Replicate())),
    "a.attn.qkv.weight": ((12, 4), (Shard(0), Replicate())),
    "a.experts.gate_up_proj": ((4, 6, 5), (Shard(0), Replicate())),
    "a.experts.down_proj": ((3, 6, 4), (Shard(0), Shard(1))),
    "b.experts.gate_up_proj": ((4, 8, 6), (Shard(1), Shard(2))),
    "few.experts.down_proj": ((1, 6, 4), (Shard(0), Replicate())),
    "wide": ((7, 512), (Replicate(), Shard(0))),
    "a.experts.wide": ((4, 3, 256), (Shard(0), Shard(1))),
    "bias": ((5,), (Shard(0), Replicate())),
    "model.embed_tokens.weight": ((9, 4), (Shard(0), Shard(1))),
}
"""Placements on a mesh of 2 × 2."""

PLANS = {
    "adamw": OptimizerPlan(),
    "muon": OptimizerPlan(kind="muon", muon={"compute": "fp32"}),
    "muon bf16": OptimizerPlan(kind="muon", weights="bf16_stochastic", moments="bf16"),
    "adamw bf16": OptimizerPlan(weights="bf16_stochastic", moments="bf16"),
    "adamw fp8": OptimizerPlan(moments="fp8"),
}


def updates(plan: OptimizerPlan, mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """Weights and states after three updates and one that is dropped, whole; `mesh` None is one process."""
    generator = torch.Generator().manual_seed(3)
    dtype = torch.float32 if plan.weights == "fp32" else torch.bfloat16

    def placed(name: str) -> Tensor:
        shape, placements = PLACED[name]
        value = torch.randn(shape, generator=generator).to(dtype)
        return value if mesh is None else distribute_tensor(value, mesh, placements)

    parameters = {name: torch.nn.Parameter(placed(name)) for name in PLACED}
    optimizer = Optimizer(parameters, plan, seed=1)
    for number in range(4):
        for name, parameter in parameters.items():
            parameter.grad = placed(name)
            if number == 2:
                local(parameter.grad).fill_(math.nan)
        optimizer.step(0.1, torch.tensor(0.5), torch.tensor(number != 2))
    found = {f"weight.{name}": full_tensor(parameter.detach()) for name, parameter in parameters.items()}
    return found | {name: full_tensor(value) for name, value in optimizer.state().items()}


def offsets(mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """0, 1, 2, … in each tensor, put together from what every rank thinks that it holds."""
    found = {}
    for name, (shape, placements) in PLACED.items():
        whole = torch.zeros(shape, dtype=torch.int64)
        held = whole if mesh is None else distribute_tensor(whole, mesh, placements)
        local(held).copy_(flat_offsets(held))
        require_stretches_agree(name, held)
        found[f"offsets.{name}"] = full_tensor(held)
    return found


def require_stretches_agree(name: str, held: Tensor) -> None:
    """Three numbers say the same as the offsets; a strided shard may have none, nor one with gaps of two sizes."""
    stretches = flat_stretches(held)
    assert stretches is not None or (name in ("strided", "b.experts.gate_up_proj") and isinstance(held, DTensor)), name
    if stretches is not None:
        first, run, jump = stretches
        index = torch.arange(local(held).numel())
        assert torch.equal(first + index // run * jump + index % run, local(held).flatten()), name


def train(parallel: ParallelPlan, optimizer: dict[str, Any], steps: int = 2) -> dict[str, Tensor]:
    """Losses and weights of a tiny model; the ranks of the plan are joined already where it has more than one."""
    # eps makes AdamW's first update linear in the gradient; without it a gradient of rounding noise counts as a whole
    # one.
    run = tiny_run(parallel=parallel.model_dump(), optimizer={"eps": 1e-2, **optimizer})
    ranks = join_ranks(run.parallel, CPU)
    built, source = build(tiny_config(), run, ranks, CPU), CountingSource(run)
    found: dict[str, Tensor] = {}
    for number in range(steps):
        batches = source.rank_batch(number, ranks.data_rank, ranks.data_ranks)
        tensors = [to_tensors(batch, CPU, built.dtype, sequence_split(ranks)) for batch in batches]
        seen = train_step(built.parts, built.state, tensors, (), Stopwatch(CPU))
        found |= {f"loss.{number}": seen.loss, f"norm.{number}": seen.gradient_norm}
    weights = built.state.optimizer.parameters
    found |= {f"weight.{name}": full_tensor(value.detach()) for name, value in weights.items()}
    if ranks.is_first or parallel.world == 1:
        return found
    return {}


HSDP, MIXED = ParallelPlan(dp_replicate=2, dp_shard=2), ParallelPlan(dp_shard=2, tp=2, ep=2)
TRAINED: dict[str, tuple[ParallelPlan, dict[str, Any]]] = {
    "muon": (MIXED, {"kind": "muon", "muon": {"compute": "fp32"}}),
    "bf16": (HSDP, {"weights": "bf16_stochastic", "moments": "bf16"}),
}


def everything(mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """All that is compared, by what it is a case of; `mesh` None is one process."""
    cases = {plan_name: updates(plan, mesh) for plan_name, plan in PLANS.items()}
    cases["offsets"] = offsets(mesh)
    for name, (parallel, plan) in TRAINED.items():
        cases[f"trained {name}"] = train(ParallelPlan() if mesh is None else parallel, plan)
    return {f"{case}/{name}": value.contiguous() for case, found in cases.items() for name, value in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    ranks = join_ranks(HSDP, CPU)
    assert ranks.meshes is not None
    found = everything(ranks.meshes.data["dp_replicate", "dp_shard"])
    if ranks.is_first:
        save_file(found, Path(sys.argv[1]))
    leave_ranks(ranks)


if __name__ == "__main__":
    main()

"""torchtitan's model, parallelisation, compilation, loss and FP8 conversion: python -m benchmarks.train.peers.torchtitan ROW

    [--steps 8] [--warmup 3]

In the order of torchtitan 0.2.2's own `train.py`: model on the meta device in bf16, converters, `parallelize_qwen3` (selective
recomputation by operation, each block compiled), weights, compiled cross entropy, fused AdamW. FP8 is torchao's dynamic
tensor-wise recipe for linear layers but the head, and its row-wise grouped products for experts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.train.device import describe_device
from benchmarks.train.flops import Content, step_flops
from benchmarks.train.rows import ROWS, Work
from benchmarks.train.timing import time_steps


def job_of(work: Work, *, compiled: bool) -> Any:
    """torchtitan's configuration of a row."""
    from torchtitan.config import JobConfig

    job = JobConfig()
    job.training.seq_len, job.training.dtype = work.sequence_length, "bfloat16"
    job.training.local_batch_size = work.sequences
    job.compile.enable = compiled
    job.activation_checkpoint.mode = "selective"
    job.activation_checkpoint.selective_ac_option = "op"
    job.debug.moe_force_load_balance = work.routing == "forced"
    if work.precision == "fp8":
        experts = [] if work.shape().dense_layers else ["quantize.grouped_mm.float8"]
        job.model.converters = ["quantize.linear.float8", *experts]
        job.quantize.linear.float8.filter_fqns = ["output", "router.gate"]
        if experts:
            job.quantize.linear.float8.recipe_name = "rowwise"
            job.quantize.grouped_mm.float8.fqns = ["experts"]
    return job


def arguments_of(work: Work) -> Any:
    """The row's shape as torchtitan's Qwen3."""
    from torchtitan.models.moe import MoEArgs
    from torchtitan.models.qwen3 import Qwen3ModelArgs

    config = work.config()
    shape = config.shape
    moe = not shape.dense_layers
    return Qwen3ModelArgs(
        dim=shape.hidden,
        n_layers=shape.layers,
        n_heads=shape.heads,
        n_kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=config.vocabulary,
        hidden_dim=shape.dense_inner or shape.expert_inner,
        max_seq_len=work.sequence_length,
        enable_weight_tying=shape.tied_embeddings,
        moe_enabled=moe,
        moe_inter_dim=shape.expert_inner,
        moe_args=MoEArgs(
            num_experts=shape.experts,
            num_shared_experts=0,
            top_k=shape.top_k,
            score_func="softmax",
            route_norm=True,
            route_scale=1.0,
            score_before_experts=False,
        ),
    )


def run(work: Work, device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Figures of the row, as our side gives them."""
    from torchtitan.components.loss import build_cross_entropy_loss
    from torchtitan.distributed import ParallelDims
    from torchtitan.models.qwen3 import Qwen3Model, parallelize_qwen3
    from torchtitan.protocols.model_converter import build_model_converters

    torch.manual_seed(0)
    job, arguments = job_of(work, compiled=device.type == "cuda"), arguments_of(work)
    arguments.update_from_config(job)
    ranks = ParallelDims(dp_replicate=1, dp_shard=1, cp=1, tp=1, pp=1, ep=1, etp=1, world_size=1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = Qwen3Model(arguments)
    torch.set_default_dtype(torch.float32)
    build_model_converters(job, ranks).convert(model)
    model = parallelize_qwen3(model, ranks, job)
    model.to_empty(device=device)
    with torch.no_grad():
        model.init_weights(buffer_device=None)
    model.train()
    loss_of = build_cross_entropy_loss(job)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rows = (work.sequences, work.sequence_length + 1)
    batches = [torch.randint(0, work.vocabulary, rows, device=device) for _ in range(work.micro_batches)]
    labelled = work.micro_batches * work.sequences * work.sequence_length

    def step() -> Tensor:
        total = torch.zeros((), device=device)
        for tokens in batches:
            loss = loss_of(model(tokens[:, :-1]), tokens[:, 1:]) / labelled
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        optimizer.zero_grad()
        return total

    found = time_steps(step, device, warmup, steps)
    content = Content((work.sequence_length,) * work.sequences * work.micro_batches)
    return found.figures(content.tokens, step_flops(work.config(), content))


def main() -> int:
    """1 if it does not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, Any] = {"row": options.row, "side": "torchtitan", "states": "bf16"}
    began = time.perf_counter()
    try:
        found |= run(ROWS[options.row], torch.device("cuda"), options.warmup, options.steps)
    except torch.OutOfMemoryError as error:
        found["error"] = f"out of memory: {str(error).splitlines()[0][:200]}"
    found |= {"wall_s": round(time.perf_counter() - began, 1), **describe_device()}
    sys.stdout.write(json.dumps(found) + "\n")
    return int("error" in found)


if __name__ == "__main__":
    sys.exit(main())

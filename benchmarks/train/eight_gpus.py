"""The main model's step over the GPUs of one node: torchrun --nproc-per-node 8 -m benchmarks.train.eight_gpus

    [--layouts fsdp hsdp ep gathered] [--model 10b] [--precision bf16|fp8] [--sequences 4] [--micro-batches 4]
    [--recompute HOW] [--steps 6] [--warmup 2] [--out FILE.json] [--tiny]

Each layout in turn in the same processes, the package's own `build` and `train_step`, natural routing, batches on the device:

    fsdp        all parameters sharded over all ranks and gathered by layer, experts too
    hsdp        two copies, each sharded over half of the ranks
    ep          experts spread over all ranks, tokens sent to them
    replicated  one copy on every rank: nothing is gathered, gradients are summed

Prints one JSON document from the first rank: by layout tokens/s and MFU a GPU, the slowest rank's median step, memory of
the fullest rank; a layout that does not run says why. `--tiny` runs a very small model on CPUs by gloo.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.train.device import ROOT, describe_code, describe_device
from benchmarks.train.flops import Content, step_flops
from benchmarks.train.made_batches import made_batch
from benchmarks.train.rows import ROWS, Work, tiny
from benchmarks.train.step_bench import plan_of
from benchmarks.train.timing import time_steps
from expedition.parallel.mesh import join_ranks, leave_ranks
from expedition.plan.runs import OptimizerPlan, ParallelPlan, RunPlan
from expedition.train.batches import to_tensors
from expedition.train.setup import build, fix_numerics
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

LAYOUTS = ("fsdp", "hsdp", "ep", "replicated")


def layout_plan(name: str, world: int, recompute: str) -> ParallelPlan:
    """The mesh of a layout over `world` ranks."""
    degrees: dict[str, dict[str, int]] = {
        "fsdp": {"dp_shard": world},
        "hsdp": {"dp_replicate": 2, "dp_shard": world // 2},
        "ep": {"dp_shard": world, "ep": world},
        "replicated": {"dp_replicate": world},
    }
    return ParallelPlan.model_validate({**degrees[name], "recompute": recompute})


def run_of(work: Work, parallel: ParallelPlan, device: torch.device) -> RunPlan:
    """The row's run plan on these ranks: fp32 masters and moments, which the mesh shards."""
    plan = plan_of(work, device).model_dump()
    plan |= {
        "parallel": parallel.model_dump(),
        "batch_sequences": work.sequences * work.micro_batches * parallel.data_ranks,
        "optimizer": OptimizerPlan().model_dump(),
    }
    return RunPlan.model_validate(plan)


def measure_layout(work: Work, parallel: ParallelPlan, device: torch.device, warmup: int, steps: int) -> dict[str, Any]:
    """Figures of one layout, the same on every rank. Every rank calls it."""
    ranks = join_ranks(parallel, device)
    run, config = run_of(work, parallel, device), work.config()
    fix_numerics(run)
    with device:
        built = build(config, run, ranks, device)
    first = ranks.data_rank * work.micro_batches
    batches = [
        to_tensors(made_batch(work, config, first + number), device, built.dtype)
        for number in range(work.micro_batches)
    ]
    no_laps = Stopwatch(torch.device("cpu"))
    found = time_steps(lambda: train_step(built.parts, built.state, batches, (), no_laps).loss, device, warmup, steps)
    worst = torch.tensor([statistics.median(found.step_s), found.peak_gib or 0.0, found.first_step_s], device=device)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    step_s, peak_gib, first_s = worst.tolist()
    content = Content((work.sequence_length,) * work.sequences * work.micro_batches)
    slowest = replace(
        found, step_s=(step_s,), peak_gib=peak_gib if found.peak_gib is not None else None, first_step_s=first_s
    )
    return {"parallel": parallel.model_dump(), **slowest.figures(content.tokens, step_flops(config, content))}


def work_of(options: argparse.Namespace) -> Work:
    """The row that every layout runs."""
    name = "10b-8-x8" if options.model == "10b" else "1b"
    work = replace(
        ROWS[name], precision=options.precision, sequences=options.sequences, micro_batches=options.micro_batches,
        content="whole", states="bf16", routing="natural",
    )  # fmt: skip
    if options.model == "10b":
        work = replace(work, shape=ROWS["10b-rank"].shape)
    return tiny(work) if options.tiny else work


def arguments() -> argparse.ArgumentParser:
    """Of each rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["fsdp", "hsdp", "ep"])
    parser.add_argument("--model", choices=("10b", "1b"), default="10b")
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--micro-batches", type=int, default=4)
    parser.add_argument("--recompute", choices=("none", "layers", "selective"), default="none")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    return parser


def main() -> int:
    """2 without the devices or outside of torchrun, 1 if a layout does not run."""
    options = arguments().parse_args()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world < 2:
        sys.stderr.write("start it by torchrun with two processes or more, one a GPU\n")
        return 2
    if not options.tiny and torch.cuda.device_count() < int(os.environ["LOCAL_WORLD_SIZE"]):
        sys.stderr.write(
            f"{torch.cuda.device_count()} CUDA devices here for {os.environ['LOCAL_WORLD_SIZE']} processes\n"
        )
        return 2
    device = torch.device("cpu") if options.tiny else torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    work = work_of(options)
    found: dict[str, Any] = {"ranks": world, "model": options.model, "precision": options.precision, "layouts": {}}
    for name in options.layouts:
        parallel = layout_plan(name, world, options.recompute)
        try:
            found["layouts"][name] = measure_layout(work, parallel, device, options.warmup, options.steps)
        except torch.OutOfMemoryError as error:  # all ranks hold the same, so all come here
            found["layouts"][name] = {"error": f"out of memory: {str(error).splitlines()[0][:160]}"}
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    found |= {**describe_device(), "code": describe_code(ROOT / "src"), "arguments": sys.argv[1:]}
    leave_ranks(join_ranks(layout_plan("fsdp", world, "none"), device))
    if os.environ["RANK"] == "0":
        sys.stdout.write(json.dumps(found) + "\n")
        if options.out is not None:
            options.out.write_text(json.dumps(found, indent=1) + "\n")
    return int(any("error" in figures for figures in found["layouts"].values()))


if __name__ == "__main__":
    sys.exit(main())

"""Rows of the table, one after the other in one process: python -m benchmarks.train.step_bench ROW …

    [--states w26 bf16] [--layers N] [--sequences N] [--micro-batches N] [--recompute HOW] [--layouts FILE] [--steps 8]
    [--warmup 3] [--profile] [--tiny]

The bare step: the package's own `build` and `train_step` on batches that lie on the device, no callbacks, no loader. Prints a
line of JSON for each row. A step's time is from its first kernel to the next step's first, by events on the device that are
read at the end; nothing waits in between. Also says what the device held at most, and what the first step cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.train.device import describe_device
from benchmarks.train.flops import Content, StepFlops, step_flops
from benchmarks.train.made_batches import content_of, made_batch
from benchmarks.train.rows import ROWS, Work, pairs, tiny
from benchmarks.train.sharded_states import CollectedForward, SlicedOptimizer
from benchmarks.train.timing import GIB, Measured, print_kernels, time_steps
from expedition.data.loading.batch import Batch
from expedition.model.config import OmniConfig
from expedition.model.moe import Experts, Router, RouterOutput
from expedition.parallel.mesh import Ranks
from expedition.plan import load_programme
from expedition.plan.runs import OptimizerPlan, RunPlan
from expedition.plan.shapes import ModelShape
from expedition.train.batches import TensorBatch, to_tensors
from expedition.train.compute import Forward
from expedition.train.optimizer import Optimizer
from expedition.train.setup import Built, build, fix_numerics
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

RANKS = 256
"""Ranks that share the states of the `w26` preset's main run."""
SPARE_GIB = 8.0
"""Left free where a row takes as many layers as fit."""


class ForcedRouter(Router):
    """The router's weights for experts that do not depend on its logits: every expert gets the same number of rows."""

    def forward(self, x_TH: Tensor) -> tuple[Tensor, RouterOutput]:
        weight_TK, router = super().forward(x_TH)
        tokens, experts = router.logits_TE.shape
        first_T1 = torch.arange(tokens, device=x_TH.device)[:, None] * self.top_k
        topk_TK = (first_T1 + torch.arange(self.top_k, device=x_TH.device)) % experts
        chosen_TK = router.logits_TE.gather(1, topk_TK).float().softmax(-1)
        return chosen_TK.to(weight_TK.dtype), RouterOutput(router.logits_TE, topk_TK)


def plan_of(work: Work, device: torch.device) -> RunPlan:
    """The run plan whose step is measured; FP8 rows have the policy of the `w26` preset's main run."""
    precision: dict[str, Any] = {"compute": "bf16"}
    if work.precision == "fp8":
        policy = load_programme("w26").runs["main"].precision.fp8
        dense = len(work.shape().dense_layers) > 0
        modules = [pattern for pattern in policy.modules if not (dense and "experts" in pattern)]
        precision["fp8"] = {**policy.model_dump(), "modules": modules}
    return RunPlan.model_validate(
        {
            "length": "100000 steps",
            "sequence_length": work.sequence_length,
            "batch_sequences": work.sequences * work.micro_batches,
            "micro_batches": work.micro_batches,
            "learning_rate": {"peak": 1e-5, "floor": 1e-6, "warmup": "10 steps"},
            # With sliced states weights are held in the compute type, as they are gathered; masters come with the slices.
            "optimizer": {"weights": "bf16_stochastic", "moments": "bf16"},
            "precision": precision,
            "parallel": {"recompute": work.recompute},
            "device": device.type,
            # Whole rows by cuDNN's attention, which is the peers' too and whose bits change from call to call.
            "deterministic": work.content != "whole",
            "threads": 1,
            "rules": (),
        }
    )


def built_for(work: Work, config: OmniConfig, run: RunPlan, device: torch.device) -> Built:
    """The package's own machinery, with what the row changes: routing, held experts, sliced states."""
    with device:  # weights are made where they are used
        built = build(config, run, Ranks(0, 1), device)
    shape = config.shape
    for module in built.model.modules():
        if work.routing == "forced" and isinstance(module, Router):
            module.__class__ = ForcedRouter
        if work.held is not None and isinstance(module, Experts):
            module.register_forward_pre_hook(_fold(work.held))
    if work.held is not None:
        built = _with_wide_routers(built, shape, work.shape().experts)
    if work.states == "w26":
        optimizer = SlicedOptimizer(dict(built.model.named_parameters()), OptimizerPlan(), RANKS)
        built.state.optimizer = optimizer
        built = replace(built, parts=replace(built.parts, forward=CollectedForward(built.parts.forward, optimizer)))
    return built


def held_config(work: Work, config: OmniConfig) -> OmniConfig:
    """The model that is built: of the counted one, only the experts that are held here."""
    if work.held is None:
        return config
    shape = ModelShape(
        **{**config.shape.model_dump(), "experts": work.held, "top_k": min(config.shape.top_k, work.held)}
    )
    return replace(config, shape=shape)


def _fold(held: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x_TH, topk_TK, *rest = given
        return (x_TH, topk_TK % held, *rest)

    return hook


def _with_wide_routers(built: Built, shape: ModelShape, experts: int) -> Built:
    """Routers over all experts, where fewer are held."""
    device = built.device
    for module in built.model.modules():
        if isinstance(module, Router):
            weight = module.weight
            wide = torch.randn(experts, shape.hidden, device=device, dtype=torch.float32) * shape.init_std
            module.weight = nn.Parameter(wide.to(weight.dtype))
    state = built.state
    state.optimizer = Optimizer(dict(built.model.named_parameters()), built.parts.run.optimizer)
    state.counters_LE = torch.zeros(len(shape.moe_layers), experts, dtype=torch.int64, device=device)
    forward = Forward(built.model, built.dtype, sharded=False)
    return replace(built, parts=replace(built.parts, experts=experts, forward=forward))


def batches_for(work: Work, layers: int | None, layouts: Path | None) -> tuple[OmniConfig, list[list[Batch]]]:
    """The model whose work is counted, and the micro-batches of two steps, which the measured steps take in turn."""
    count = 2 * work.micro_batches
    if work.content == "loader":
        from benchmarks.train.loader_batches import loader_batches, read_layouts

        config, made = loader_batches(work, count) if layouts is None else read_layouts(layouts, count)
    else:
        config = work.config(layers)
        made = [made_batch(work, config, number) for number in range(count)]
    return config, [made[: work.micro_batches], made[work.micro_batches :]]


def measure(built: Built, batches: Sequence[list[TensorBatch]], options: argparse.Namespace) -> Measured:
    """Warm up, then time. The host runs ahead of the device as far as the step lets it."""
    no_laps = Stopwatch(torch.device("cpu"))  # laps of an accelerator's watch may wait for it
    turns = cycle(batches)

    def step() -> torch.Tensor:
        return train_step(built.parts, built.state, next(turns), (), no_laps).loss

    found = time_steps(step, built.device, options.warmup, options.steps, options.seconds)
    if options.profile:
        print_kernels(step, sys.stderr)
    return found


def layers_that_fit(work: Work, device: torch.device) -> int:
    """From the peaks of two small models: what a layer costs, and how many there is room for."""
    peaks, short = [], arguments().parse_args([next(iter(ROWS)), "--steps", "1", "--warmup", "0"])
    for layers in (2, 4):
        peaks.append(run_row(work, device, layers, short)["peak_gib"])
        free_memory(device)
    room = torch.cuda.mem_get_info()[1] / (1 << 30) - SPARE_GIB
    a_layer = (peaks[1] - peaks[0]) / 2
    return min(work.shape().layers, int((room - peaks[0]) / a_layer) + 2)


def run_row(work: Work, device: torch.device, layers: int | None, options: argparse.Namespace) -> dict[str, Any]:
    """Build and measure; everything that the table needs."""
    left_gib = torch.cuda.memory_allocated() / GIB if device.type == "cuda" else 0.0
    counted, made = batches_for(work, layers, options.layouts)
    run = plan_of(work, device)
    fix_numerics(run)
    built = built_for(work, held_config(work, counted), run, device)
    free_memory(device)
    contents = [sum((content_of(batch) for batch in step), Content(())) for step in made]
    parameters = sum(parameter.numel() for parameter in built.model.parameters())
    held_gib = torch.cuda.memory_allocated() / GIB if device.type == "cuda" else None
    try:
        batches = [[to_tensors(batch, device, built.dtype) for batch in step] for step in made]
        found = measure(built, batches, options)
    finally:
        release(built)
    works = [step_flops(counted, content) for content in contents]
    # Steps take the two batches in turn: the mean of both is the work of a step.
    flops = StepFlops(statistics.fmean(w.causal for w in works), statistics.fmean(w.full for w in works))
    tokens = statistics.fmean(content.tokens for content in contents)
    return {
        "layers": counted.shape.layers,
        "held_gib": held_gib,
        "left_gib": round(left_gib, 3),
        "parameters": parameters,
        **_without(found, left_gib).figures(tokens, flops),
        "fp8_modules": len(built.fp8_modules),
        "deterministic": run.deterministic,
    }


def _without(found: Measured, left_gib: float) -> Measured:
    """Memory that a row before left behind is not this one's."""
    return found if found.peak_gib is None else replace(found, peak_gib=found.peak_gib - left_gib)


def row_from(row: str, states: str, options: argparse.Namespace) -> Work:
    """The row with what the command line changes."""
    changes: dict[str, Any] = {"states": states}
    for name in ("sequences", "micro_batches", "recompute", "content"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    work = replace(ROWS[row], **changes)
    return tiny(work) if options.tiny else work


def changed(options: argparse.Namespace) -> str:
    """What the command line makes of the rows that they are not: a figure with changes is no figure of the row."""
    names = ("layers", "sequences", "micro_batches", "recompute", "content")
    given = {name.replace("_", "-"): getattr(options, name) for name in names}
    said = [f"--{name} {value}" for name, value in given.items() if value is not None]
    return " ".join([*said, *(["--tiny"] if options.tiny else [])])


def arguments() -> argparse.ArgumentParser:
    """Of a process; the driver passes them through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=list(ROWS), metavar="ROW")
    parser.add_argument("--states", nargs="+", choices=("w26", "bf16"), default=["w26"])
    parser.add_argument("--layers", type=int, help="instead of the row's own")
    parser.add_argument("--sequences", type=int, help="of a micro-batch")
    parser.add_argument("--micro-batches", type=int)
    parser.add_argument("--recompute", choices=("none", "layers", "selective"))
    parser.add_argument("--content", choices=("whole", "packed", "multimodal", "loader"))
    parser.add_argument("--layouts", type=Path, help="rows from the loader: a file of benchmarks.train.loader_batches")
    parser.add_argument(
        "--bf16", nargs="+", choices=list(ROWS), default=[], metavar="ROW", help="rows with bf16 states too"
    )
    parser.add_argument("--seconds", type=float, help="fewer steps than --steps where they take longer, at least three")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="kernels of one more step, to the error stream")
    parser.add_argument("--tiny", action="store_true", help="a very small model, for a CPU")
    return parser


def one_row(row: str, states: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """A row's document; an error in it is the row's own."""
    work, layers = row_from(row, states, options), options.layers
    found: dict[str, Any] = {"row": row, "side": "ours", "states": states, "changed": changed(options)}
    began = time.perf_counter()
    try:
        if work.layers_fit and layers is None and device.type == "cuda":
            layers = layers_that_fit(work, device)
        found |= run_row(work, device, layers, options)
    except torch.OutOfMemoryError as error:
        found["error"] = f"out of memory: {str(error).splitlines()[0][:200]}"
    except Exception as error:
        traceback.print_exc()
        found["error"] = f"{type(error).__name__}: {str(error)[:300]}"
    return found | {"wall_s": round(time.perf_counter() - began, 1), **describe_device()}


def main() -> int:
    """2 without a CUDA device (unless --tiny), 1 if a row does not run."""
    options = arguments().parse_args()
    if not options.tiny and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here; --tiny runs a very small model on the CPU\n")
        return 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    warnings.filterwarnings("ignore")
    failed = False
    for row, states in pairs(options.rows, options.states, options.bf16):
        found = one_row(row, states, options, device)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        failed |= "error" in found
        free_memory(device)
    return int(failed)


def release(built: Built) -> None:
    """Empty a model that is done with: hooks on its weights may keep them alive past any collection."""
    for parameter in built.model.parameters():
        parameter.grad = None
        parameter.data = parameter.data.new_empty(0)


def free_memory(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())

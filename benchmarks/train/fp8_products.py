"""FP8 against bf16 and against libraries, in one process: python -m benchmarks.train.fp8_products [--out FILE.json]

    [--tokens 16384 --hidden 2048 --inner 768 --experts 64 --top-k 8] [--rounds 2] [--only rounding linear experts]

rounding   kernels that round to FP8, as shares of the card's copy bandwidth, beside the same in torch (eager, compiled)
linear     a projection, forward and backward: bf16, ours by recipe, torchao's Float8Linear compiled (where installed)
experts    the expert layer without its router, forward and backward: bf16, FP8 by kind of weight gradients and formats
Sides of a group run in turn; medians. TFLOP/s count products alone; peaks are measured first. Needs a CUDA device of compute
capability 9.0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.train.device import describe_device, versions
from benchmarks.train.peaks import copy_bytes_per_s, products, seconds_of
from expedition.kernels.fp8_experts import ExpertCopies, expert_layer_fp8
from expedition.kernels.fp8_linear import LinearRecipe, linear_fp8
from expedition.kernels.fp8_swiglu import RowRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.grouped_experts import expert_layer
from expedition.kernels.quantize import FORMATS, quantize_blocks, quantize_rows, quantize_tensor, quantize_weight
from expedition.plan.precision import Fp8Plan

GIB = 1 << 30
NO_DEVICE = 77
Call = Callable[[], Any]
Row = dict[str, Any]


def in_turn(sides: dict[str, Call], rounds: int) -> dict[str, float]:
    """Median seconds of each side, A B A B."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, call in sides.items():
            seconds[name].append(seconds_of(call))
    return {name: statistics.median(found) for name, found in seconds.items()}


def torch_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row-wise rounding as one writes it in torch."""
    scale = torch.finfo(torch.float8_e4m3fn).max / x.float().abs().amax(-1, keepdim=True).clamp(min=1e-12)
    return (x.float() * scale).to(torch.float8_e4m3fn), scale


def rounding(options: argparse.Namespace) -> list[Row]:
    """Each kernel with the bytes that it must read and write."""
    x = torch.randn(options.tokens, options.hidden, device="cuda", dtype=torch.bfloat16)
    w = torch.randn(options.experts, 2 * options.inner, options.hidden, device="cuda", dtype=torch.bfloat16)
    compiled = torch.compile(torch_rows)
    sides: dict[str, tuple[Call, int]] = {
        "rows": (lambda: quantize_rows(x, "e4m3", True), 3 * x.numel()),
        "rows, torch": (lambda: torch_rows(x), 3 * x.numel()),
        "rows, torch compiled": (lambda: compiled(x), 3 * x.numel()),
        "tensor": (lambda: quantize_tensor(x, "e4m3", True), 5 * x.numel()),
        "1 × 128": (lambda: quantize_blocks(x, "e4m3", True), 3 * x.numel()),
        "weights of experts, both orientations": (lambda: quantize_weight(w, "e4m3", "rowwise", True), 6 * w.numel()),
        "the same, torch compiled, a copy turned": (
            lambda: (compiled(w), compiled(w.transpose(1, 2).contiguous())),
            6 * w.numel(),
        ),
    }
    peak = copy_bytes_per_s()
    times = in_turn({name: call for name, (call, _) in sides.items()}, options.rounds)
    return [
        {"group": "rounding", "side": name, "ms": times[name] * 1e3, "of_copy": sides[name][1] / times[name] / peak}
        for name in sides
    ]


def step_of(layer: Callable[[Tensor], Tensor], x: Tensor, weights: list[Tensor], gradient: Tensor) -> Call:
    def step() -> Any:
        return torch.autograd.grad(layer(x), [x, *weights], gradient)

    return step


def linear(options: argparse.Namespace) -> list[Row]:
    """A projection [hidden → 2 · hidden]; copies of weights are kept, as in a step of many micro-batches."""
    inputs, outputs = options.hidden, 2 * options.hidden
    x = torch.randn(options.tokens, inputs, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = (torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16) / inputs**0.5).requires_grad_()
    gradient = torch.randn(options.tokens, outputs, device="cuda", dtype=torch.bfloat16)
    sides = {"bf16": step_of(lambda x: F.linear(x, weight), x, [weight], gradient)}
    for granularity in ("tensorwise", "rowwise", "blockwise"):
        for low in (False, True):
            if low and granularity == "blockwise":
                continue
            recipe = LinearRecipe(granularity, "e4m3", "e4m3", low, True)  # type: ignore[arg-type]
            copies = WeightCopies("e4m3", granularity, True, keep=True)  # type: ignore[arg-type]
            name = f"ours {granularity}, weight gradient {'fp8' if low else 'bf16'}"
            layer = lambda x, copies=copies, recipe=recipe: linear_fp8(x, weight, copies, recipe)  # noqa: E731
            sides[name] = step_of(layer, x, [weight], gradient)
    for name, module in torchao_layers(weight).items():
        sides[name] = step_of(module, x, [module.weight], gradient)
    flops = 6 * options.tokens * inputs * outputs
    times = in_turn(sides, options.rounds)
    return [
        {"group": "linear", "side": name, "ms": seconds * 1e3, "tflops": flops / seconds / 1e12}
        for name, seconds in times.items()
    ]


def torchao_layers(weight: Tensor) -> dict[str, Any]:
    """torchao's layer by recipe, compiled as its documentation asks; none where it is not installed."""
    from expedition.train.fp8.libraries import torchao_linear

    made: dict[str, Any] = {}
    for recipe in ("tensorwise", "rowwise"):
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="cuda", dtype=torch.bfloat16)
        plain.weight = nn.Parameter(weight.detach().clone())
        plan = Fp8Plan(modules=("*",), recipe=recipe, gradient="e4m3", weight_gradient="fp8", scales="power_of_two")  # type: ignore[arg-type]
        try:
            made[f"torchao {recipe}, compiled"] = torch.compile(torchao_linear(plain, plan, emulated=False))
        except ImportError:
            sys.stderr.write("torchao is not installed: no comparison with it\n")
            return {}
    return made


def experts(options: argparse.Namespace) -> list[Row]:
    """Routing, gathering, products, SwiGLU, sum; by format of gradients and kind of weight gradients."""
    g = torch.Generator("cuda").manual_seed(1)
    sizes = {"device": "cuda", "generator": g}
    half = torch.bfloat16
    x = torch.randn(options.tokens, options.hidden, **sizes).to(half).requires_grad_()  # type: ignore[call-overload]
    ids = torch.randn(options.tokens, options.experts, **sizes).topk(options.top_k, -1).indices  # type: ignore[call-overload]
    share = torch.rand(options.tokens, options.top_k, **sizes).to(half).requires_grad_()  # type: ignore[call-overload]
    shape = (options.experts, 2 * options.inner, options.hidden)
    gate_up = (torch.randn(*shape, **sizes) / options.hidden**0.5).to(half).requires_grad_()  # type: ignore[call-overload]
    down = torch.randn(options.experts, options.hidden, options.inner, **sizes)  # type: ignore[call-overload]
    down = (down / options.inner**0.5).to(half).requires_grad_()
    gradient = torch.randn(options.tokens, options.hidden, **sizes).to(half)  # type: ignore[call-overload]
    layers: dict[str, Callable[[Tensor], Tensor]] = {"bf16": lambda x: expert_layer(x, ids, share, gate_up, down)}
    for name in FORMATS:
        for low in (True, False):
            recipe = RowRecipe("e4m3", name, low)
            copies = ExpertCopies(*(WeightCopies("e4m3", "rowwise", True, keep=True) for _ in range(2)))
            layers[f"FP8, {name} gradients, weight gradients {'fp8' if low else 'bf16'}"] = (
                lambda x, copies=copies, recipe=recipe: expert_layer_fp8(x, ids, share, gate_up, down, copies, recipe)  # type: ignore[misc]
            )
    weights = [share, gate_up, down]
    flops = 18 * options.tokens * options.top_k * options.hidden * options.inner
    forward = in_turn({name: (lambda layer=layer: layer(x)) for name, layer in layers.items()}, 1)
    sides = {name: step_of(layer, x, weights, gradient) for name, layer in layers.items()}
    times = in_turn(sides, options.rounds)
    rows = []
    for name, step in sides.items():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        rows.append(
            {
                "group": "experts",
                "side": name,
                "ms": times[name] * 1e3,
                "forward_ms": forward[name] * 1e3,
                "tflops": flops / times[name] / 1e12,
                "peak_gib": (torch.cuda.max_memory_allocated() - before) / GIB,
            }
        )
    return rows


GROUPS = {"rounding": rounding, "linear": linear, "experts": experts}


def main() -> int:
    """2 for wrong arguments, 77 without a device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train.fp8_products", description=__doc__)
    for name, value in (
        ("tokens", 16_384),
        ("hidden", 2048),
        ("inner", 768),
        ("experts", 64),
        ("top-k", 8),
        ("rounds", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0):
        sys.stderr.write("FP8 products need a CUDA device of compute capability 9.0\n")
        return NO_DEVICE
    peaks = {"best_fp8_tflops": max(products("fp8").values()), "best_bf16_tflops": max(products("bf16").values())}
    found = {
        **describe_device(),
        "versions": versions(),
        "arguments": vars(options) | {"out": None},
        **peaks,
        "rows": [],
    }
    for group in options.only:
        for row in GROUPS[group](options):
            if "tflops" in row:
                peak = peaks["best_bf16_tflops" if row["side"] == "bf16" else "best_fp8_tflops"]
                row["of_peak"] = row["tflops"] / peak
            found["rows"].append(row)
            shown = "  ".join(f"{key} {value:.3g}" for key, value in row.items() if isinstance(value, float))
            sys.stdout.write(f"{row['group']:9s} {row['side']:48s} {shown}\n")
            sys.stdout.flush()
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The optimiser's update beside torch's fused AdamW: python -m benchmarks.train.updates [OUT.json]

Bytes are what the algorithm has to move: gradient, weight and both moments read once, weight, moments and the working copy
written once. Shares are of the copy that this card does in the same process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.train.device import describe_device
from benchmarks.train.peaks import copy_bytes_per_s, seconds_of
from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.plan.runs import OptimizerPlan
from expedition.train.optimizer import Optimizer

SHAPES = {
    "model.layers.0.mlp.experts.gate_up_proj": (64, 1536, 2048),
    "model.layers.0.mlp.experts.down_proj": (64, 2048, 768),
    "model.layers.0.self_attn.q_proj.weight": (4096, 2048),
    "model.layers.0.self_attn.k_proj.weight": (512, 2048),
    "model.layers.0.mlp.gate.weight": (64, 2048),
    "model.layers.0.input_layernorm.weight": (2048,),
}
"""One MoE layer of 2,048 hidden: large and small tensors."""
CASES: dict[str, tuple[dict[str, Any], torch.dtype, bool]] = {
    "fp32 weights and moments, fp32 gradients": ({}, torch.float32, False),
    "fp32 weights and moments, bf16 gradients, working copy": ({}, torch.bfloat16, True),
    "fp32 weights, bf16 moments, bf16 gradients, working copy": ({"moments": "bf16"}, torch.bfloat16, True),
    "fp32 weights, fp8 moments, bf16 gradients, working copy": ({"moments": "fp8"}, torch.bfloat16, True),
    "bf16 weights and moments": ({"weights": "bf16_stochastic", "moments": "bf16"}, torch.bfloat16, False),
}
"""Plan, gradients' type, working copy."""
_BYTES = {torch.float32: 4, torch.bfloat16: 2, torch.float8_e4m3fn: 1}


def parameters(dtype: torch.dtype, gradient: torch.dtype) -> dict[str, Tensor]:
    """Weights with gradients; a weight's `grad` may be of another type."""
    generator = torch.Generator(device="cuda").manual_seed(0)
    found = {}
    for name, shape in SHAPES.items():
        value = torch.nn.Parameter(torch.randn(shape, device="cuda", generator=generator).mul_(0.02).to(dtype))
        value.grad_dtype = gradient
        value.grad = torch.randn(shape, device="cuda", generator=generator).to(gradient)
        found[name] = value
    return found


def case(plan: dict[str, Any], gradient: torch.dtype, works: bool) -> dict[str, float]:
    """Seconds of one update and what it moves."""
    optimizer_plan = OptimizerPlan(**plan)
    weight = torch.float32 if optimizer_plan.weights == "fp32" else torch.bfloat16
    moment = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}[optimizer_plan.moments]
    values = parameters(weight, gradient)
    working = {name: value.detach().bfloat16() for name, value in values.items()} if works else {}
    optimizer = Optimizer(values, optimizer_plan, working=working)
    scale, keep = torch.ones((), device="cuda"), torch.ones((), dtype=torch.bool, device="cuda")
    seconds = seconds_of(lambda: optimizer.step(1e-4, scale, keep))
    count = sum(value.numel() for value in values.values())
    moved = count * (2 * _BYTES[weight] + 4 * _BYTES[moment] + _BYTES[gradient] + (2 if works else 0))
    return {"ms": seconds * 1e3, "tb_per_s": moved / seconds / 1e12, "elements": float(count)}


def torch_fused(dtype: torch.dtype) -> dict[str, float]:
    """`torch.optim.AdamW(fused=True)`: weights, gradients and moments of one type, rounded to nearest."""
    values = parameters(dtype, dtype)
    optimizer = torch.optim.AdamW(list(values.values()), lr=1e-4, fused=True)
    seconds = seconds_of(optimizer.step)
    count = sum(value.numel() for value in values.values())
    return {"ms": seconds * 1e3, "tb_per_s": count * 7 * _BYTES[dtype] / seconds / 1e12, "elements": float(count)}


def norms() -> dict[str, float]:
    """The gradients' norm, bf16 and fp32 gradients: bytes read a second."""
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        gradients = [value.grad for value in parameters(dtype, dtype).values() if value.grad is not None]
        seconds = seconds_of(lambda gradients=gradients: squared_norm(gradients, Ranks(0, 1)))  # type: ignore[misc]
        moved = sum(value.numel() for value in gradients) * _BYTES[dtype]
        found[str(dtype).removeprefix("torch.")] = moved / seconds / 1e12
    return found


def compare() -> dict[str, Any]:
    """All cases, torch's beside ours."""
    copy = copy_bytes_per_s() / 1e12
    found = {f"ours, {name}": case(*values) for name, values in CASES.items()}
    for dtype in (torch.float32, torch.bfloat16):
        found[f"torch fused, {str(dtype).removeprefix('torch.')}"] = torch_fused(dtype)
    for one in found.values():
        one["share_of_copy"] = one["tb_per_s"] / copy
    return {**describe_device(), "copy_tb_per_s": copy, "cases": found, "norm_tb_per_s": norms()}


def main() -> int:
    """2 without a CUDA device."""
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here\n")
        return 2
    document = compare()
    for name, one in document["cases"].items():
        sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in one.items()) + "\n")
    sys.stdout.write(f"norm, TB/s: {document['norm_tb_per_s']}; copy {document['copy_tb_per_s']:.3f} TB/s\n")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The head and its loss, forward and backward, beside other libraries: python -m benchmarks.train.head [OUT.json]

Every side gets the same hidden states, bf16 weight and labels, in turn; memory is what a side holds at most beside them and
the two gradients. liger-kernel runs where it can be imported, else the line says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.train.device import describe_device
from benchmarks.train.peaks import measure_peaks, seconds_of
from expedition.kernels.fp8_linear import LinearRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.linear_cross_entropy import Fp8Factors, linear_cross_entropy

TOKENS, HIDDEN, VOCABULARY, CHUNK = 16_384, 2_048, 152_064, 4_096
ROUNDS = 3
IGNORED = -100
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden [T, H], weight [V, H], labels [T]) → mean loss."""


def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """What the trainer calls."""
    weights = (labels != IGNORED).float()
    found = linear_cross_entropy(hidden, weight, labels, weights, chunk_tokens=CHUNK)
    return found.objective / weights.sum()


def ours_fp8(weight_gradient: bool) -> Loss:
    """The same with FP8 factors; the weight is rounded in each call, as with one micro-batch a step."""

    def loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        weights, copies = (labels != IGNORED).float(), WeightCopies("e4m3", "rowwise", False, keep=True)
        factors = Fp8Factors(copies, LinearRecipe(weight_gradient=weight_gradient))
        found = linear_cross_entropy(hidden, weight, labels, weights, chunk_tokens=CHUNK, fp8=factors)
        return found.objective / weights.sum()

    return loss


def plain(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """All logits at once, torch alone."""
    return F.cross_entropy(F.linear(hidden, weight).float(), labels, ignore_index=IGNORED)


def liger(**options: Any) -> Loss:
    """liger-kernel's fused function. Raises ImportError where it is not installed."""
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction as Fused

    names = ("reduction", "softcap", "return_z_loss", "accum_dtype")
    defaults: dict[str, Any] = {"reduction": "mean", "softcap": None, "return_z_loss": False, "accum_dtype": None}
    values = [{**defaults, **options}[name] for name in names]
    chunks = (False, False, False, None, None, options.get("chunk_mem_const", 1))

    def loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        found: tuple[Tensor, ...] = Fused.apply(hidden, weight, labels, None, None, IGNORED, 0.0, 0.0, *values, *chunks)
        return found[0]

    return loss


def sides() -> dict[str, Loss | str]:
    """All that is measured, or why it is not."""
    found: dict[str, Loss | str] = {
        "ours": ours,
        "ours, FP8 logits and hidden gradient": ours_fp8(False),
        "ours, all products FP8": ours_fp8(True),
        "torch, all logits": plain,
    }
    variants: dict[str, dict[str, Any]] = {
        "liger, its default": {},
        "liger, chunks of our size, float32 sums": {"accum_dtype": torch.float32, "chunk_mem_const": 19},
    }
    for name, options in variants.items():
        try:
            found[name] = liger(**options)
        except ImportError as error:
            found[name] = f"not installed: {error}"
    return found


def inputs(ignored_share: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weight, labels on the device."""
    generator = torch.Generator(device="cuda").manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, device="cuda", generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(VOCABULARY, HIDDEN, device="cuda", generator=generator).mul_(0.02).bfloat16().requires_grad_()
    labels = torch.randint(0, VOCABULARY, (TOKENS,), device="cuda", generator=generator)
    labels[: int(TOKENS * ignored_share)] = IGNORED
    return hidden, weight, labels


def measure(loss: Loss, hidden: Tensor, weight: Tensor, labels: Tensor) -> dict[str, float]:
    """Seconds of forward and backward, memory beside inputs and gradients, loss."""

    def call() -> Tensor:
        hidden.grad = weight.grad = None
        value = loss(hidden, weight, labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    value = float(call())
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    peak = torch.cuda.max_memory_allocated() - before
    return {"ms": seconds_of(call) * 1e3, "beside_gib": peak / 2**30, "loss": value}


def compare() -> dict[str, Any]:
    """Medians over rounds in which the sides take turns."""
    data, peaks = inputs(), measure_peaks()
    flops = 3 * 2 * TOKENS * HIDDEN * VOCABULARY
    found: dict[str, list[dict[str, float]]] = {}
    document: dict[str, Any] = {**describe_device(), "tokens": TOKENS, "hidden": HIDDEN, "vocabulary": VOCABULARY}
    able = sides()
    for _ in range(ROUNDS):
        for name, loss in able.items():
            if not isinstance(loss, str):
                found.setdefault(name, []).append(measure(loss, *data))
    best = {name: min(rounds, key=lambda one: one["ms"]) for name, rounds in found.items()}
    for one in best.values():
        one["tflops"] = flops / one["ms"] / 1e9
        one["share_of_best_product"] = one["tflops"] / peaks["best_bf16_tflops"]
        one["times_ours"] = one["ms"] / best["ours"]["ms"]
    document["best_bf16_tflops"] = peaks["best_bf16_tflops"]
    document["sides"] = best
    document["not_run"] = {name: why for name, why in able.items() if isinstance(why, str)}
    return document


def main() -> int:
    """2 without a CUDA device."""
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here\n")
        return 2
    document = compare()
    for name, one in document["sides"].items():
        sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in one.items()) + "\n")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Counts of what FP8 loses, by module and tensor: on the device, read when somebody can wait.

Tensors of a linear layer: input, weight, gradient (of its output). Of experts: input, hidden (after SwiGLU), gate_up and
down (the weights), gradient, gate_up_gradient.
"""

from __future__ import annotations

from torch import Tensor, nn

from expedition.train.fp8.layers import fp8_modules

__all__ = ["count", "take_counts"]


def count(model: nn.Module, on: bool) -> None:
    """Count in all passes from now on, or no more; counts so far are dropped. Passes that count are slower."""
    for module in fp8_modules(model).values():
        module.fp8.counts = {} if on and module.fp8.active else None


def take_counts(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Counts since `count` or the last taking, by module and tensor: int64 [3] as `kernels.quantize.quantization_counts`."""
    taken = {}
    for name, module in fp8_modules(model).items():
        if module.fp8.counts:
            taken[name], module.fp8.counts = module.fp8.counts, {}
    return taken

"""How weights begin: each parameter from its own stream of random numbers, named by the seed and the parameter.

So the start does not depend on the order in which modules are built, and a single expert or layer can be made alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from expedition.plan.shapes import ModelShape

__all__ = ["initial_std", "initialise"]


def _copy(parameter: Tensor, whole: Tensor) -> None:
    parameter.copy_(whole)


@torch.no_grad()
def initialise(model: nn.Module, shape: ModelShape, seed: int, put: Callable[[Tensor, Tensor], None] = _copy) -> None:
    """Fill every parameter in place: norms one, biases zero, the rest normal with `initial_std`.

    Random values are made on the parameter's device, so those of a CPU and of a CUDA device differ. `put` writes a whole
    float32 value into a parameter that holds a part of it.
    """
    for name, parameter in model.named_parameters():
        std = initial_std(name, tuple(parameter.shape), shape)
        if std is None:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            put(parameter, _normal(parameter, name, seed).mul_(std))


def initial_std(name: str, size: tuple[int, ...], shape: ModelShape) -> float | None:
    """Std of a parameter's first values; None for biases and norm weights, which begin at zero and one."""
    if len(size) == 1:
        return None
    if name.endswith("pos_embed.weight"):
        return shape.position_std
    if shape.init == "normal":
        return shape.init_std
    # Stacked experts [E, out, in] are E products; convolutions [out, in, …] read all of their window.
    fan_in = size[-1] if "experts" in name else math.prod(size[1:])
    return 1.0 / math.sqrt(fan_in)


def _normal(parameter: Tensor, name: str, seed: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator(parameter.device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(parameter.shape, generator=generator, device=parameter.device, dtype=torch.float32)

"""AdamW on fp32 master weights whose whole update can be dropped by a select on the device.

Formula: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, as in `torch.optim.AdamW`: the decay acts first, with
the step's learning rate. Decay acts on tensors of two or more dimensions. On sharded parameters everything here works
on the local shards; the norm and the verdict that come in are global.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from expedition.plan.runs import OptimizerPlan


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that this rank holds; a plain tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class AdamW:
    """Moments by parameter name (fp32, the shape and sharding of the parameter) and one count of accepted updates."""

    def __init__(self, parameters: Mapping[str, Tensor], plan: OptimizerPlan) -> None:
        self.parameters = dict(parameters)
        self.plan = plan
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        device = next(iter(self.parameters.values())).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def step(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        """One update with gradients × `gradient_scale`; where `keep` is false every bit stays as it was.

        `keep` (bool scalar) selects between old and new values of weights, both moments and the count: multiplying by
        zero would not do, since 0 × NaN is NaN.
        """
        new_updates = self.updates + 1
        corrections = [1.0 - beta ** new_updates.double() for beta in (self.plan.beta1, self.plan.beta2)]
        correction1, correction2 = (value.float() for value in corrections)
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            weight, gradient = local(parameter), local(parameter.grad).float() * gradient_scale
            first, second = local(self.first[name]), local(self.second[name])
            new_first = torch.lerp(first, gradient, 1.0 - self.plan.beta1)
            new_second = second * self.plan.beta2 + gradient.square() * (1.0 - self.plan.beta2)
            denominator = (new_second / correction2).sqrt_().add_(self.plan.eps)
            decay = self.plan.weight_decay if parameter.dim() >= 2 else 0.0
            new_weight = weight * (1.0 - learning_rate * decay)
            new_weight -= learning_rate * (new_first / correction1) / denominator
            weight.copy_(torch.where(keep, new_weight, weight))
            first.copy_(torch.where(keep, new_first, first))
            second.copy_(torch.where(keep, new_second, second))
        self.updates.copy_(torch.where(keep, new_updates, self.updates))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All state by name: `first.<parameter>`, `second.<parameter>`, `updates`. The tensors are the live ones."""
        moments = {f"first.{name}": value for name, value in self.first.items()}
        moments |= {f"second.{name}": value for name, value in self.second.items()}
        return {**moments, "updates": self.updates}


def clip_scale(gradient_norm: Tensor, clip_norm: float | None) -> Tensor:
    """Factor that brings the norm down to `clip_norm`; 1 below it or without clipping."""
    if clip_norm is None:
        return torch.ones_like(gradient_norm)
    return torch.clamp(clip_norm / (gradient_norm + 1e-6), max=1.0)

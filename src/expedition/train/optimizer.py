"""All weights and what their updates remember; a whole update can be dropped by a select on the device.

The rules are in `update/`: which one a parameter has (groups.py), AdamW, Muon, rounding. Elementwise work is done on
the local shards; the norm and the verdict that come in are global.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from expedition.parallel.placement import flat_offsets, local
from expedition.plan.runs import OptimizerPlan
from expedition.train.update.adamw import AdamWRates, Corrections, adamw_update
from expedition.train.update.groups import Group, blocks_of, group_parameters
from expedition.train.update.muon import SharedWork, scale_of
from expedition.train.update.rounding import draw, lane, stochastic_round, stream_key

_WEIGHT_TYPES = {"fp32": torch.float32, "bf16_stochastic": torch.bfloat16}
_MOMENT_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_BLOCK_ELEMENTS = 1 << 24
_LANES = {"": 0, "first.": 1, "second.": 2, "momentum.": 3}
"""Which 16 of a draw's bits round what."""


class Optimizer:
    """Weights, moments by parameter name (the shape and sharding of the parameter), one count of accepted updates.

    Weights and moments of bf16 are rounded stochastically, by `seed`. Construction is a collective where Muon's
    matrices are sharded.
    """

    def __init__(self, parameters: Mapping[str, Tensor], plan: OptimizerPlan, seed: int = 0) -> None:
        self.parameters = dict(parameters)
        self.plan = plan
        self.groups = group_parameters(self.parameters, plan)
        self._muons = {name: group for group in self.groups if group.rule == "muon" for name in group.parameters}
        dtype = _MOMENT_TYPES[plan.moments]
        self.moments: dict[str, Tensor] = {}
        for name, value in self.parameters.items():
            for kind in ("momentum",) if name in self._muons else ("first", "second"):
                self.moments[f"{kind}.{name}"] = torch.zeros_like(value, dtype=dtype)
        device = next(iter(self.parameters.values())).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        self._keys = {name: stream_key(seed, name) for name in self.parameters}
        self._work = SharedWork({name: self.parameters[name] for name in self._muons}, plan.muon)

    @torch.no_grad()
    def step(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        """One update with gradients × `gradient_scale`; where `keep` is false every bit stays as it was.

        `keep` (bool scalar) selects between old and new values of weights, moments and the count: multiplying by
        zero would not do, since 0 × NaN is NaN. A collective where Muon's matrices are sharded.
        """
        new_updates = self.updates + 1
        corrections = Corrections.after(new_updates, self.plan.beta1, self.plan.beta2)
        for group in self.groups:
            if group.rule == "adamw":
                self._adamw(group, learning_rate, gradient_scale, keep, corrections)
        self._muon(learning_rate, gradient_scale, keep)
        self.updates.copy_(torch.where(keep, new_updates, self.updates))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All state by name: `first.<parameter>`, `second.<parameter>`, `momentum.<parameter>`, `updates`. The tensors
        are the live ones."""
        return {**self.moments, "updates": self.updates}

    def _adamw(
        self, group: Group, learning_rate: float, gradient_scale: Tensor, keep: Tensor, corrections: Corrections
    ) -> None:
        plan, rate = self.plan, learning_rate * group.learning_rate_factor
        rates = AdamWRates(rate, group.weight_decay, plan.beta1, plan.beta2, plan.eps)
        for name, parameter in group.parameters.items():
            if parameter.grad is None:
                continue
            gradient = local(parameter.grad).float() * gradient_scale
            first, second = (local(self.moments[f"{kind}.{name}"]).float() for kind in ("first", "second"))
            new = adamw_update(local(parameter).float(), gradient, first, second, rates, corrections)
            self._put(name, {"": new.weight, "first.": new.first, "second.": new.second}, keep)

    def _muon(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        plan = self.plan.muon
        found = {name: self.parameters[name].grad for name in self._muons}
        gradients = {name: gradient for name, gradient in found.items() if gradient is not None}

        def update_of(name: str) -> Tensor:
            gradient = local(gradients[name]).float() * gradient_scale
            momentum = torch.lerp(local(self.moments[f"momentum.{name}"]).float(), gradient, 1.0 - plan.momentum)
            self._put(name, {"momentum.": momentum}, keep)
            return torch.lerp(gradient, momentum, plan.momentum) if plan.nesterov else momentum

        for name, orthogonal in self._work.orthogonal(gradients, update_of):
            parameter, group = self.parameters[name], self._muons[name]
            rate = learning_rate * group.learning_rate_factor
            scale = scale_of(parameter.shape[-2] // blocks_of(name), parameter.shape[-1], plan)
            new_weight = local(parameter).float() * (1.0 - rate * group.weight_decay)
            self._put(name, {"": new_weight.sub_(orthogonal, alpha=rate * scale)}, keep)

    def _put(self, name: str, values: Mapping[str, Tensor], keep: Tensor) -> None:
        """Write what belongs to a parameter ("" is its weight) where `keep` is true; bf16 targets are rounded."""
        rounded: list[tuple[Tensor, Tensor, int]] = []
        for prefix, value in values.items():
            held = local(self.moments[prefix + name] if prefix else self.parameters[name])
            if held.dtype == torch.float32:
                held.copy_(torch.where(keep, value, held))
            else:
                rounded.append((held, value, _LANES[prefix]))
        for rows in _blocks(rounded[0][0]) if rounded else ():
            bits = draw(self._keys[name], self.updates, flat_offsets(self.parameters[name], rows))
            for held, value, number in rounded:
                part = held[rows]
                part.copy_(torch.where(keep, stochastic_round(value[rows], lane(bits, number)), part))


def _blocks(held: Tensor) -> Iterator[slice]:
    """Rows of the first dimension, so many at a time that their random bits take little memory."""
    size = max(1, _BLOCK_ELEMENTS * held.shape[0] // max(1, held.numel()))
    for first in range(0, held.shape[0], size):
        yield slice(first, first + size)


def hold_weights(model: nn.Module, plan: OptimizerPlan) -> None:
    """Bring a model's parameters, in place, to the type that the plan keeps weights in (buffers stay as they are)."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(_WEIGHT_TYPES[plan.weights])


def clip_scale(gradient_norm: Tensor, clip_norm: float | None) -> Tensor:
    """Factor that brings the norm down to `clip_norm`; 1 below it or without clipping."""
    if clip_norm is None:
        return torch.ones_like(gradient_norm)
    return torch.clamp(clip_norm / (gradient_norm + 1e-6), max=1.0)

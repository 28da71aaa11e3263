"""All weights and what their updates remember; a whole update can be dropped by a select on the device.

The rules are in `update/`: which one a parameter has (groups.py), AdamW, Muon, rounding. Elementwise work is done on
the local shards; the norm and the verdict that come in are global.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from expedition.kernels.adamw import AdamWRates, AdamWTensors, Corrections, UpdateScalars, adamw_
from expedition.kernels.rounding import BLOCK, Stream, Stretches, Target, put_, stream_key
from expedition.kernels.triton_jit import launches
from expedition.parallel.placement import flat_offsets, flat_stretches, local, shard_dim
from expedition.plan.runs import OptimizerPlan
from expedition.train.update.groups import Group, blocks_of, group_parameters
from expedition.train.update.muon import SharedWork, scale_of

_WEIGHT_TYPES = {"fp32": torch.float32, "bf16_stochastic": torch.bfloat16}
_MOMENT_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16}
"""Of moments that have no scales: Muon's momentum stays bf16."""
_WEIGHT_LANE, _MOMENTUM_LANE = 0, 3
"""Which 16 of a draw's bits round what Muon updates; AdamW has its own."""


class Optimizer:
    """Weights, moments by parameter name (the shape and sharding of the parameter), one count of accepted updates.

    Weights and moments of bf16 are rounded stochastically, by `seed`. `working` names tensors, each of its parameter's
    local shape, that every update leaves as copies of the weights in their own type (a bf16 forward pass uses them).
    Construction is a collective where Muon's matrices are sharded.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        plan: OptimizerPlan,
        seed: int = 0,
        working: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.plan = plan
        self.working = dict(working or {})
        self.groups = group_parameters(self.parameters, plan)
        self._muons = {name: group for group in self.groups if group.rule == "muon" for name in group.parameters}
        dtype = _MOMENT_TYPES[plan.moments]
        self.moments: dict[str, Tensor] = {}
        for name, value in self.parameters.items():
            for kind in ("momentum",) if name in self._muons else ("first", "second"):
                self.moments |= _new_moment(kind, name, value, dtype, plan)
        device = next(iter(self.parameters.values())).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        self._keys = {name: stream_key(seed, name) for name in self.parameters}
        self._stream = cache(self._make_stream)
        self._work = SharedWork({name: self.parameters[name] for name in self._muons}, plan.muon)

    @torch.no_grad()
    def step(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        """One update with gradients × `gradient_scale`; where `keep` is false every bit stays as it was.

        `keep` (bool scalar) selects between old and new values of weights, moments and the count: multiplying by
        zero would not do, since 0 × NaN is NaN. Never waits for the device. A collective where Muon's matrices are
        sharded.
        """
        new_updates = self.updates + 1
        corrections = Corrections.after(new_updates, self.plan.beta1, self.plan.beta2)
        scalars = UpdateScalars.of(gradient_scale, keep, corrections)
        for group in self.groups:
            if group.rule == "adamw":
                self._adamw(group, learning_rate, scalars)
        self._muon(learning_rate, gradient_scale, keep)
        self.updates.copy_(torch.where(keep, new_updates, self.updates))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All state by name: `first.<parameter>`, `second.<parameter>`, `momentum.<parameter>`, `updates`; of moments in
        FP8 `first_scale.<parameter>` and `second_scale.<parameter>` too. The tensors are the live ones."""
        return {**self.moments, "updates": self.updates}

    @torch.no_grad()
    def refresh_working(self) -> None:
        """Copy weights that came from elsewhere (a checkpoint) into `working`."""
        for name, tensor in self.working.items():
            tensor.copy_(local(self.parameters[name]))

    def _adamw(self, group: Group, learning_rate: float, scalars: UpdateScalars) -> None:
        plan, rate = self.plan, learning_rate * group.learning_rate_factor
        rates = AdamWRates(rate, group.weight_decay, plan.beta1, plan.beta2, plan.eps)
        found = {name: parameter for name, parameter in group.parameters.items() if parameter.grad is not None}
        tensors = [
            AdamWTensors(
                local(parameter),
                local(parameter.grad).contiguous(),
                local(self.moments[f"first.{name}"]),
                local(self.moments[f"second.{name}"]),
                self.working.get(name),
                self._scale("first", name),
                self._scale("second", name),
            )
            for name, parameter in found.items()
            if parameter.grad is not None
        ]
        adamw_(tensors, rates, scalars, [self._stream(name) for name in found])

    def _muon(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        plan = self.plan.muon
        found = {name: self.parameters[name].grad for name in self._muons}
        gradients = {name: gradient for name, gradient in found.items() if gradient is not None}

        def update_of(name: str) -> Tensor:
            gradient = local(gradients[name]).float() * gradient_scale
            held = local(self.moments[f"momentum.{name}"])
            momentum = torch.lerp(held.float(), gradient, 1.0 - plan.momentum)
            put_([Target(held, momentum, _MOMENTUM_LANE)], keep, self._stream(name))
            return torch.lerp(gradient, momentum, plan.momentum) if plan.nesterov else momentum

        for name, orthogonal in self._work.orthogonal(gradients, update_of):
            parameter, group = self.parameters[name], self._muons[name]
            rate = learning_rate * group.learning_rate_factor
            scale = scale_of(parameter.shape[-2] // blocks_of(name), parameter.shape[-1], plan)
            new_weight = local(parameter).float() * (1.0 - rate * group.weight_decay)
            new_weight.sub_(orthogonal, alpha=rate * scale)
            put_([Target(local(parameter), new_weight, _WEIGHT_LANE)], keep, self._stream(name))
            if name in self.working:
                self.working[name].copy_(local(parameter))

    def _scale(self, kind: str, name: str) -> Tensor | None:
        scale = self.moments.get(f"{kind}_scale.{name}")
        return None if scale is None else local(scale)

    def _make_stream(self, name: str) -> Stream:
        """The update's number is a tensor that changes in place, so one serves all updates."""
        offsets = partial(flat_offsets, self.parameters[name])
        return Stream(self._keys[name], self.updates, offsets, self._find_stretches(name))

    def _find_stretches(self, name: str) -> Stretches | None:
        """None on a CPU: only kernels use them."""
        parameter = self.parameters[name]
        found = flat_stretches(parameter) if launches(local(parameter)) else None
        return None if found is None else Stretches(*found)


def _new_moment(kind: str, name: str, value: Tensor, dtype: torch.dtype, plan: OptimizerPlan) -> dict[str, Tensor]:
    """A moment of zeros, and its scales where it is in FP8."""
    if plan.moments != "fp8" or kind == "momentum":
        return {f"{kind}.{name}": torch.zeros_like(value, dtype=dtype)}
    if not has_blocks(value):
        return {f"{kind}.{name}": torch.zeros_like(value, dtype=torch.float32)}
    return {
        f"{kind}.{name}": torch.zeros_like(value, dtype=torch.float8_e4m3fn),
        f"{kind}_scale.{name}": _block_scales(value),
    }


def has_blocks(parameter: Tensor) -> bool:
    """Whether a parameter's moments can be held by blocks: every rank's rows are whole, and blocks fill them."""
    whole = parameter.dim() >= 2 and parameter.shape[-1] % BLOCK == 0
    return whole and (
        not isinstance(parameter, DTensor)
        or all(shard_dim(placement) != parameter.dim() - 1 for placement in parameter.placements)
    )


def _block_scales(parameter: Tensor) -> Tensor:
    """Ones, one for each block, sharded as the parameter is."""
    held = local(parameter)
    scales = torch.ones(*held.shape[:-1], held.shape[-1] // BLOCK, dtype=torch.float32, device=held.device)
    if not isinstance(parameter, DTensor):
        return scales
    shape = torch.Size((*parameter.shape[:-1], parameter.shape[-1] // BLOCK))
    stride = tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))
    return DTensor.from_local(
        scales, parameter.device_mesh, parameter.placements, run_check=False, shape=shape, stride=stride
    )


def hold_weights(model: nn.Module, plan: OptimizerPlan) -> None:
    """Bring a model's parameters, in place, to the type that the plan keeps weights in (buffers stay as they are)."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(_WEIGHT_TYPES[plan.weights])


def clip_scale(gradient_norm: Tensor, clip_norm: float | None) -> Tensor:
    """Factor that brings the norm down to `clip_norm`; 1 below it or without clipping."""
    if clip_norm is None:
        return torch.ones_like(gradient_norm)
    return torch.clamp(clip_norm / (gradient_norm + 1e-6), max=1.0)

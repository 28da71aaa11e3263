"""Optimiser state of one rank of many on one device: the whole model trains, a slice of every parameter is updated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from expedition.model.omni import ModelOutput
from expedition.plan.runs import OptimizerPlan
from expedition.train.batches import TensorBatch
from expedition.train.compute import Forward
from expedition.train.losses import LinearHead
from expedition.train.optimizer import Optimizer


class SlicedOptimizer(Optimizer):
    """fp32 masters and moments for the first 1/`ranks` of each parameter, as the first of `ranks` ranks keeps them.

    What a rank does in a step: its slice of each gradient in fp32 (`collect`), the update of its slice, and the new weights
    in the compute type, where an all-gather would put them. The other weights stay as they are: the work of a step is a
    rank's, the training is not. No communication.
    """

    def __init__(self, parameters: Mapping[str, Tensor], plan: OptimizerPlan, ranks: int) -> None:
        self._whole, self._ranks = dict(parameters), ranks
        slices = {name: _first(value.detach(), ranks) for name, value in parameters.items()}
        masters = {name: torch.nn.Parameter(part.to(torch.float32, copy=True)) for name, part in slices.items()}
        super().__init__(masters, plan)
        self._slices, self._masters = list(slices.values()), [master.detach() for master in masters.values()]
        self._gradients = {name: torch.empty_like(master) for name, master in masters.items()}

    @torch.no_grad()
    def collect(self) -> None:
        """The whole parameters' gradients are there: take this rank's slices of them."""
        there = {name: value.grad for name, value in self._whole.items() if value.grad is not None}
        slices = [_first(gradient, self._ranks) for gradient in there.values()]
        torch._foreach_copy_([self._gradients[name] for name in there], slices)
        for name in there:
            self.parameters[name].grad = self._gradients[name]

    @torch.no_grad()
    def step(self, learning_rate: float, gradient_scale: Tensor, keep: Tensor) -> None:
        super().step(learning_rate, gradient_scale, keep)
        torch._foreach_copy_(self._slices, self._masters)

    def zero_grad(self) -> None:
        super().zero_grad()
        for value in self._whole.values():
            value.grad = None


class CollectedForward(Forward):
    """A forward pass whose end hands the gradients to a `SlicedOptimizer`, as a reduce-scatter would."""

    def __init__(self, inner: Forward, optimizer: SlicedOptimizer) -> None:
        self._inner, self._optimizer = inner, optimizer

    def __call__(self, batch: TensorBatch) -> tuple[ModelOutput, LinearHead]:
        return self._inner(batch)

    def begin(self, micro_batch: int, micro_batches: int) -> None:
        self._inner.begin(micro_batch, micro_batches)

    def end(self) -> None:
        self._inner.end()
        self._optimizer.collect()

    def updated(self) -> None:
        self._inner.updated()


def _first(value: Tensor, ranks: int) -> Tensor:
    """The first of `ranks` equal parts of a tensor, flat, a view; at least one element."""
    flat = value.reshape(-1)
    return flat[: -(-flat.numel() // ranks)]

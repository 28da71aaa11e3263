"""The whole training state, for comparisons."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from expedition.train.saving.snapshot import state_tensors
from expedition.train.step import TrainState


def full_tensor(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, on every rank (a collective); a plain tensor itself."""
    if not isinstance(value, DTensor):
        return value
    if value.dtype.itemsize > 1 or value.dtype == torch.bool:
        return value.full_tensor()
    held = value.to_local().view(torch.uint8)  # gloo sends no FP8
    placed = value.device_mesh, value.placements
    whole = DTensor.from_local(held, *placed, run_check=False, shape=value.shape, stride=value.stride())
    return whole.full_tensor().view(value.dtype)


def whole_state(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer) copies of whole tensors on the CPU. A collective."""
    model, optimizer = (
        {name: full_tensor(value.detach()).cpu().clone() for name, value in tensors.items()}
        for tensors in state_tensors(state)
    )
    return model, optimizer

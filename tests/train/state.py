"""The whole training state, for comparisons."""

from __future__ import annotations

from torch import Tensor

from expedition.parallel.apply import full_tensor
from expedition.train.saving.snapshot import state_tensors
from expedition.train.step import TrainState


def whole_state(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer) copies of whole tensors on the CPU. A collective."""
    model, optimizer = (
        {name: full_tensor(value.detach()).cpu().clone() for name, value in tensors.items()}
        for tensors in state_tensors(state)
    )
    return model, optimizer

"""The whole training state, for comparisons."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor

from expedition.train.saving.snapshot import state_tensors
from expedition.train.step import TrainState


def full_tensor(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, on every rank (a collective); a plain tensor itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_state(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer) copies of whole tensors on the CPU. A collective."""
    model, optimizer = (
        {name: full_tensor(value.detach()).cpu().clone() for name, value in tensors.items()}
        for tensors in state_tensors(state)
    )
    return model, optimizer

"""The border between host and device: whether values can be read for nothing, and how they are sent without waiting."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

__all__ = ["is_readable", "send"]


def is_readable(tensor: Tensor) -> bool:
    """True on the CPU; False on a device (reading would wait for it), on meta and for fake tensors (no values)."""
    return tensor.device.type == "cpu" and not is_fake(tensor)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, without waiting: to a CUDA device through pinned memory that torch keeps for the next."""
    if device.type == "cuda" and is_readable(tensor):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)

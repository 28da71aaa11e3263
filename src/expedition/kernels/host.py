"""Whether a tensor's values can be read on the host for nothing: decides between reading counts and staying away."""

from __future__ import annotations

from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

__all__ = ["is_readable"]


def is_readable(tensor: Tensor) -> bool:
    """True on the CPU; False on a device (reading would wait for it), on meta and for fake tensors (no values)."""
    return tensor.device.type == "cpu" and not is_fake(tensor)

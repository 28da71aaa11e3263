"""All-gather that autograd follows: the gradient of what a rank gave is the sum of what all ranks made of it."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed import _functional_collectives as collectives

__all__ = ["gather_parts"]


def gather_parts(part: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The parts of all ranks of `group` [P · n, …] in the order of the ranks, from each one's [n, …] of equal shape.

    A collective, and so is its backward pass (a reduce-scatter). torch 2.13 renamed the operation; 2.11 has the old name.
    """
    gathered: Tensor
    if hasattr(collectives, "all_gather_single_autograd"):
        gathered = collectives.all_gather_single_autograd(part, 0, group)
    else:
        gathered = collectives.all_gather_tensor_autograd(part, 0, group)
    return gathered

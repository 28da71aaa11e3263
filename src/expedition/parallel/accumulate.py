"""Several micro-batches on sharded weights: when FSDP2 gathers weights and reduces gradients.

    gather    weights are whole                                   gradients are reduced
    layer     from a layer's pass to its end, in every micro-batch  over the shards in every micro-batch, over the copies of
                                                                  HSDP once a step
    step      from their first use in a step to its end           once a step

`step` sends a step's weights and gradients once, for as much memory as the whole weights in the compute type and their
gradients in float32 take: experts that are gathered inside a node, where it fits.
"""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.distributed.fsdp import FSDPModule

__all__ = ["Gather", "begin_micro_batch"]

Gather = Literal["layer", "step"]


def begin_micro_batch(model: nn.Module, gather: Gather, *, last: bool) -> None:
    """Before the forward pass of a micro-batch; `last` of the step. Alike on every rank."""
    if not isinstance(model, FSDPModule):
        return
    whole = gather == "step"
    model.set_requires_gradient_sync(last or not whole)
    model.set_requires_all_reduce(last)
    model.set_reshard_after_backward(last or not whole)
    model.set_is_last_backward(last or not whole)

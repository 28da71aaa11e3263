"""First values of a model that was spread while it had none: each rank makes every parameter whole for a moment and keeps its
part, so no rank ever holds more than its share and one parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from expedition.model.initialise import initialise
from expedition.model.omni import OmniModel
from expedition.parallel.pipeline import Stage
from expedition.parallel.placement import held_indices, local

__all__ = ["keep_part", "materialise"]


def materialise(model: OmniModel, stages: Sequence[Stage], device: torch.device, seed: int) -> None:
    """Give a parallelized model on the meta device its weights on `device`, in place: those that one process would have.

    No communication.
    """
    tied = _weight(model.lm_head) is not None and _weight(model.lm_head) is _weight(model.model.embed_tokens)
    roots: Sequence[nn.Module] = stages or [model]
    for root in roots:
        root.to_empty(device=device)
    if tied:  # to_empty makes two of the one
        model.lm_head.weight = model.model.embed_tokens.weight
    initialise(model, model.config.shape, seed, keep_part)


def keep_part(parameter: Tensor, whole: Tensor) -> None:
    """Write this rank's part of `whole` into a parameter that may be sharded."""
    part = whole
    for dim, index in enumerate(held_indices(parameter, device=whole.device)):
        if index.numel() != whole.shape[dim]:
            part = part.index_select(dim, index)
    local(parameter).copy_(part)


def _weight(module: nn.Module) -> Tensor | None:
    return module._parameters.get("weight")

"""How a built model becomes a parallel one: a list that is read from top to bottom. The model knows nothing of it."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from expedition.model.omni import ModelOutput, OmniModel
from expedition.parallel.mesh import Ranks

if ModelOutput not in pytree.SUPPORTED_NODES:
    # FSDP2 finds the tensors of an output by pytree; without this it would miss the root's backward pass.
    pytree.register_dataclass(ModelOutput)


def parallelize(model: OmniModel, ranks: Ranks, dtype: torch.dtype) -> OmniModel:
    """Shard `model` in place over the ranks' (dp_replicate, dp_shard) mesh and return it; one rank leaves it as it is.

    1. Every decoder layer is a unit of FSDP2: gathered before it runs, freed after it.
    2. Each encoder is a unit. Encoders run on every rank in every step, so all ranks gather alike.
    3. The rest (embeddings, final norm, head) is the root's and stays gathered for the loss.
    4. `dp_replicate` > 1 is HSDP: gradients are reduced over shards, then over copies; a shard degree of 1 is plain
       replication by the same path.
    Parameters are gathered in `dtype`; masters, gradients and reductions are fp32.
    """
    if ranks.mesh is None:
        return model
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in [*model.model.layers, model.visual, model.audio_tower]:
        fully_shard(block, mesh=ranks.mesh, mp_policy=policy)
    fully_shard(model, mesh=ranks.mesh, mp_policy=policy)
    return model


def full_tensor(value: torch.Tensor) -> torch.Tensor:
    """The whole of a sharded tensor, on every rank (a collective); a plain tensor itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


@torch.no_grad()
def load_full(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor that every rank holds into `target`, keeping each rank's share of it."""
    if isinstance(target, DTensor):
        target.copy_(distribute_tensor(value.to(target.device), target.device_mesh, target.placements))
    else:
        target.copy_(value)


def parameter_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name, each once (tied weights under their first name)."""
    return dict(model.named_parameters())

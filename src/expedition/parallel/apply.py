"""How a built model becomes a parallel one: a list that is read from top to bottom. The model knows nothing of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from expedition.errors import ProgrammeError
from expedition.model.omni import ModelOutput, OmniModel
from expedition.parallel.mesh import Ranks

if ModelOutput not in pytree.SUPPORTED_NODES:
    # FSDP2 finds the tensors of an output by pytree; without this it would miss the root's backward pass.
    pytree.register_dataclass(ModelOutput)


def parallelize(model: OmniModel, ranks: Ranks, dtype: torch.dtype) -> OmniModel:
    """Spread `model` in place over the ranks' meshes and return it; one rank leaves it as it is.

    Parameters are gathered in `dtype`; masters, gradients and reductions are fp32. Gradients are *sums* over the ranks
    that hold different tokens: each rank differentiates its share of the global loss.
    """
    if ranks.meshes is None:
        return model
    _refuse(ranks)
    _shard(model, ranks, dtype)
    return model


def _refuse(ranks: Ranks) -> None:
    """Raise ProgrammeError for degrees that nothing here applies."""
    idle = {name: degree for name in ("tp", "cp", "pp", "ep") if (degree := getattr(ranks.plan, name)) > 1}
    if idle:
        raise ProgrammeError(
            f"training runs dp_replicate and dp_shard only, the plan has {idle}",
            where="parallel",
            fix="set them to 1, or look at this layout with: expedition train dryrun",
        )


def _shard(model: OmniModel, ranks: Ranks, dtype: torch.dtype) -> None:
    """FSDP2: each decoder layer and each encoder is a unit, gathered before it runs and freed after it.

    Encoders run on every rank in every step, so all ranks gather alike. The rest (embeddings, final norm, head) is the
    root's and stays gathered for the loss. `dp_replicate` > 1 is HSDP: gradients are summed over shards, then over
    copies; a shard degree of 1 is plain replication by the same path.
    """
    assert ranks.meshes is not None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in [*model.model.layers, model.visual, model.audio_tower]:
        fully_shard(block, mesh=ranks.meshes.fsdp, mp_policy=policy)
    fully_shard(model, mesh=ranks.meshes.fsdp, mp_policy=policy)
    sum_gradients([module for module in model.modules() if isinstance(module, FSDPModule)])


def sum_gradients(units: Sequence[FSDPModule]) -> None:
    """Make FSDP2 sum gradients where it would average them; by plain sums, which every backend has."""
    for unit in units:
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)


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

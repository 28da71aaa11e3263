"""How a built model becomes a parallel one: a list that is read from top to bottom. The model knows nothing of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils import _pytree as pytree

from expedition.model.omni import ModelOutput, OmniModel
from expedition.parallel.context import spread_positions
from expedition.parallel.experts import require_experts, shard_experts, spread_experts
from expedition.parallel.mesh import Ranks
from expedition.parallel.pipeline import Elsewhere, Stage, cut, require_stages
from expedition.parallel.recompute import recompute_layers
from expedition.parallel.tensor import require_tensor_split, split_layers
from expedition.plan.runs import ParallelPlan
from expedition.plan.shapes import ModelShape

if ModelOutput not in pytree.SUPPORTED_NODES:
    # FSDP2 finds the tensors of an output by pytree; without this it would miss the root's backward pass.
    pytree.register_dataclass(ModelOutput)


def parallelize(model: OmniModel, ranks: Ranks, dtype: torch.dtype) -> list[Stage]:
    """Spread `model` in place over the ranks' meshes; returns its stages of a pipeline. One rank recomputes only.

    Parameters are gathered in `dtype`; masters, gradients and reductions are fp32. Gradients are *sums* over the ranks
    that hold different tokens: each rank differentiates its share of the global loss.
    """
    plan, meshes = ranks.plan, ranks.meshes
    require_layout(model.config.shape, plan)
    recompute_layers(model, plan.recompute)
    if meshes is None:
        return []
    stages = cut(model, ranks) if plan.pp > 1 else []
    spread_positions(model, ranks)
    split = split_layers(model, meshes.tensor["tp"]) if plan.tp > 1 else []
    if plan.ep > 1:
        spread_experts(model, meshes, plan.dispatcher)
    _shard(model, stages, split, ranks, dtype)
    return stages


def require_layout(shape: ModelShape, plan: ParallelPlan) -> None:
    """Raise ProgrammeError, with the rule, where a model of this shape cannot be laid out as the plan says."""
    require_experts(shape, plan)
    if plan.pp > 1:
        require_stages(plan, shape)
    require_tensor_split(plan, shape)


def _shard(
    model: OmniModel, stages: Sequence[Stage], split: Sequence[list[nn.Module]], ranks: Ranks, dtype: torch.dtype
) -> None:
    """FSDP2: each decoder layer and each encoder is a unit, gathered before it runs and freed after it.

    Encoders run on every rank in every step, so all ranks gather alike. The rest (embeddings, final norm, head) is the
    root's and stays gathered for the loss; each stage of a pipeline has its own root. `dp_replicate` > 1 is HSDP:
    gradients are summed over shards, then over copies; a shard degree of 1 is plain replication by the same path.
    """
    assert ranks.meshes is not None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    roots: Sequence[nn.Module] = stages or [model]
    if ranks.plan.ep > 1:
        shard_experts(model, ranks.meshes, policy)
    for group in split:
        fully_shard(group, mesh=ranks.meshes.tensor_fsdp, mp_policy=policy)
    blocks = [*model.model.layers, model.visual, model.audio_tower]
    for unit in [*(block for block in blocks if not isinstance(block, Elsewhere)), *roots]:
        fully_shard(unit, mesh=ranks.meshes.fsdp, mp_policy=policy)
    sum_gradients([module for root in roots for module in root.modules() if isinstance(module, FSDPModule)])
    if ranks.plan.gather == "step" and isinstance(model, FSDPModule):
        model.set_reshard_after_forward(False)
    for stage in stages:
        # Micro-batches pass one after the other, and torch's zero bubble finds weights by the gathered parameters.
        assert isinstance(stage, FSDPModule)
        stage.set_reshard_after_forward(False)


def sum_gradients(units: Sequence[FSDPModule]) -> None:
    """Make FSDP2 sum gradients where it would average them; by plain sums, which every backend has."""
    for unit in units:
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)


def parameter_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name, each once (tied weights under their first name)."""
    return dict(model.named_parameters())

"""Expert parallelism: each rank of the ep axis holds E / ep experts of every layer, and tokens are sent to them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from expedition.errors import ProgrammeError
from expedition.model.moe import Experts
from expedition.parallel.dispatch import make_dispatcher
from expedition.parallel.mesh import Meshes
from expedition.plan.runs import ParallelPlan
from expedition.plan.shapes import ModelShape

__all__ = ["expert_modules", "require_experts", "shard_experts", "spread_experts"]


def expert_modules(model: nn.Module) -> Iterator[Experts]:
    """The stacked experts of each MoE layer that this rank holds."""
    return (module for module in model.modules() if isinstance(module, Experts))


def require_experts(shape: ModelShape, plan: ParallelPlan) -> None:
    """Raise ProgrammeError unless the model's experts can be spread over the plan's ep ranks."""
    if plan.ep == 1:
        return
    if not shape.moe_layers:
        raise ProgrammeError(f"ep = {plan.ep} and the model has no experts", where="parallel.ep", fix="set ep to 1")
    if shape.experts % plan.ep:
        fits = ", ".join(str(ep) for ep in range(1, shape.experts + 1) if shape.experts % ep == 0)
        raise ProgrammeError(
            f"ep = {plan.ep} does not divide the model's {shape.experts} experts",
            where="parallel.ep",
            fix=f"each rank holds the same number of them: ep may be {fits}",
        )


def spread_experts(model: nn.Module, meshes: Meshes, kind: str) -> None:
    """Keep this rank's experts of the whole weights that every rank holds, and send tokens to the others; in place.

    No communication. Works on the meta device. `kind` is the plan's dispatcher.
    """
    mesh = meshes.sparse["ep"]
    modules = list(expert_modules(model))
    dispatcher = make_dispatcher(kind, mesh.get_group(), modules[0].gate_up_proj.shape[0]) if modules else None
    for module in modules:
        assert dispatcher is not None
        for name, parameter in list(module.named_parameters(recurse=False)):
            # src_data_rank=None: the weights are the same everywhere, each rank cuts its own part.
            part = distribute_tensor(parameter.detach(), mesh, [Shard(0)], src_data_rank=None)
            module.register_parameter(name, nn.Parameter(part, requires_grad=parameter.requires_grad))
        module.dispatcher = dispatcher


def shard_experts(model: nn.Module, meshes: Meshes, policy: MixedPrecisionPolicy) -> None:
    """FSDP2 for experts that are spread, as units inside their layers' over the ranks that hold the same experts."""
    mesh = meshes.expert_fsdp
    for module in expert_modules(model):
        fully_shard(module, mesh=mesh, mp_policy=policy, shard_placement_fn=lambda weight: _placement(weight, mesh))


def _placement(weight: nn.Parameter, mesh: DeviceMesh) -> Shard:
    """Experts are split where each rank gets at least one; otherwise rows of every expert, which pads nothing."""
    held, degree = weight.to_local().shape, mesh["edp"].size()  # type: ignore[attr-defined]
    fits = held[0] % degree == 0 or held[1] % degree
    return Shard(0) if fits else Shard(1)

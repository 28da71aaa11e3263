"""The mesh of a run and the group of ranks that read different data. Passed as values; there is no global state."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from expedition.errors import ProgrammeError, UsageError
from expedition.plan.runs import ParallelPlan

MESH_AXES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the ranks of a run. With a world of 1 there is no process group and every call is local."""

    rank: int
    world: int
    mesh: DeviceMesh | None
    """(dp_replicate, dp_shard) mesh; None with a world of 1."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Sum over all data ranks, on every rank; `value` is not changed. A collective where the world is > 1."""
        if self.mesh is None:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def sum_shards(self, value: Tensor) -> Tensor:
        """Sum over the ranks that together hold one copy of the parameters."""
        if self.mesh is None:
            return value
        total = value.detach().clone()
        dist.all_reduce(total, group=self.mesh.get_group("dp_shard"))
        return total

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; every rank gets the same answer."""
        if self.mesh is None:
            return flag
        value = torch.tensor([int(flag)], device=self.mesh.device_type)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.mesh is not None:
            dist.barrier()


def join_ranks(plan: ParallelPlan, device: torch.device) -> Ranks:
    """Join the process group that torchrun describes in the environment, or be the only rank without one.

    Raises UsageError when the number of processes is not the plan's, ProgrammeError for degrees that training does not
    run (tp, cp, pp, ep above 1: the dry run and the planner know them).
    """
    idle = {name: degree for name in ("tp", "cp", "pp", "ep") if (degree := getattr(plan, name)) > 1}
    if idle:
        raise ProgrammeError(
            f"training runs dp_replicate and dp_shard only, the plan has {idle}",
            where="parallel",
            fix="set them to 1, or look at this layout with: expedition train dryrun",
        )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != plan.world:
        raise UsageError(
            f"the plan has {plan.world} ranks and {world} processes were started",
            where="parallel",
            fix=f"start it with: torchrun --nproc-per-node {plan.world} -m expedition train run …",
        )
    if world == 1:
        return Ranks(rank=0, world=1, mesh=None)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    mesh = init_device_mesh(
        device.type, (plan.dp_replicate, plan.dp_shard), mesh_dim_names=("dp_replicate", "dp_shard")
    )
    return Ranks(rank=dist.get_rank(), world=world, mesh=mesh)


def leave_ranks(ranks: Ranks) -> None:
    """Take the process group down."""
    if ranks.mesh is not None and dist.is_initialized():
        dist.destroy_process_group()

"""The ranks of a run and their meshes. Passed as values; there is no global state.

One world of ranks is seen four ways, innermost axis last (ranks of one host are neighbours on it):

    data      pp, dp_replicate, dp_shard, cp, tp     who reads what: ranks that differ in dp_* read different sequences
    flat      pp, dp_replicate, shard                shard = dp_shard · cp · tp: FSDP2 of all parameters but those below
    tensor    pp, dp_replicate, dp_shard_cp, tp      parameters that tensor parallelism splits
    sparse    pp, dp_replicate, edp, ep              experts that are spread; edp · ep = shard

Ranks that differ in cp or tp hold different *positions* of the same sequences (tensor parallelism always with sequence
parallelism), so all ranks of a pipeline stage hold different tokens, and sums over tokens and gradients have one rule.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from expedition.errors import UsageError
from expedition.parallel.joining import meet
from expedition.plan.runs import ParallelPlan

LEAVE_S = 5.0

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Meshes:
    """The four views; all share one root, so that FSDP2 can combine them."""

    data: DeviceMesh
    flat: DeviceMesh
    tensor: DeviceMesh
    sparse: DeviceMesh
    tokens: DeviceMesh
    """All ranks of this rank's pipeline stage as one axis: they hold different tokens."""
    rows: DeviceMesh
    """The ranks that read the same sequences (of one pipeline stage): cp × tp as one axis."""
    copies: DeviceMesh
    """The ranks that read different sequences: dp_replicate × dp_shard as one axis."""

    @property
    def fsdp(self) -> DeviceMesh:
        """(dp_replicate, shard): what FSDP2 takes for everything but the two below."""
        return self.flat["dp_replicate", "shard"]

    @property
    def tensor_fsdp(self) -> DeviceMesh:
        """(dp_replicate, dp_shard_cp): what FSDP2 takes for parameters that are split over tp."""
        return self.tensor["dp_replicate", "dp_shard_cp"]

    @property
    def expert_fsdp(self) -> DeviceMesh:
        """(dp_replicate, edp): what FSDP2 takes for experts that are spread over ep."""
        return self.sparse["dp_replicate", "edp"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the ranks of a run. With a world of 1 there is no process group and every call is local."""

    rank: int
    world: int
    plan: ParallelPlan = ParallelPlan()
    meshes: Meshes | None = None
    """None with a world of 1."""
    control: dist.ProcessGroup | None = None
    """All ranks, talking through the host, where `meshes` talk through accelerators: what is agreed on between steps waits
    for no device."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    @property
    def data_rank(self) -> int:
        """Which part of a global batch this rank reads, 0 … data_ranks - 1."""
        return 0 if self.meshes is None else self.meshes.copies.get_local_rank()

    @property
    def data_ranks(self) -> int:
        """Into how many parts a global batch falls."""
        return self.plan.data_ranks

    def place(self, axis: str) -> int:
        """This rank's coordinate on an axis of the data view (or "ep", "edp")."""
        if self.meshes is None:
            return 0
        view = self.meshes.sparse if axis in ("ep", "edp") else self.meshes.data
        return view.get_local_rank(axis)

    def sum(self, value: Tensor) -> Tensor:
        """Sum over all ranks that hold different tokens, on each of them; `value` is not changed. A collective."""
        if self.meshes is None:
            return value
        total = value.detach().clone()
        dist.all_reduce(total, group=self.meshes.tokens.get_group())
        return total

    def merge_stages(self, values: dict[str, Value]) -> dict[str, Value]:
        """What the ranks of this rank's pipeline know, together; a collective where there are several."""
        if self.meshes is None or self.plan.pp == 1:
            return values
        found: list[Any] = [None] * self.plan.pp
        dist.all_gather_object(found, values, group=self.meshes.data.get_group("pp"))
        return {name: value for part in found for name, value in part.items()}

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; every rank gets the same answer."""
        if self.meshes is None:
            return flag
        device_type = self.meshes.data.device_type if self.control is None else "cpu"
        value = torch.tensor([int(flag)], device=device_type)
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self.control)
        return bool(value.item())

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.meshes is not None:
            dist.barrier()


def join_ranks(plan: ParallelPlan, device: torch.device) -> Ranks:
    """Join the process group that torchrun describes in the environment, or be the only rank without one.

    Raises UsageError when the number of processes is not the plan's, Interrupted when a rank does not come in time.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != plan.world:
        raise UsageError(
            f"the plan has {plan.world} ranks and {world} processes were started",
            where="parallel",
            fix=f"start it with: torchrun --nproc-per-node {plan.world} -m expedition train run RUN …",
        )
    if world == 1:
        return Ranks(rank=0, world=1, plan=plan)
    if not dist.is_initialized():
        rank = int(os.environ["RANK"])
        store = meet(rank, world, plan.join_timeout_s)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world)
    meshes = lay_meshes(plan, device.type)
    control = dist.new_group(backend="gloo") if device.type == "cuda" else None
    return Ranks(dist.get_rank(), world, plan, meshes, control)


def lay_meshes(plan: ParallelPlan, device_type: str) -> Meshes:
    """The views of the process group that is up, with the plan's degrees. A collective: groups are made."""
    inner = plan.dp_shard * plan.cp * plan.tp
    root = init_device_mesh(device_type, (plan.world,), mesh_dim_names=("world",))

    def view(sizes: Sequence[int], names: Sequence[str]) -> DeviceMesh:
        return root._unflatten(0, tuple(sizes), tuple(names))

    outer, outer_names = (plan.pp, plan.dp_replicate), ("pp", "dp_replicate")
    data = view((*outer, plan.dp_shard, plan.cp, plan.tp), (*outer_names, "dp_shard", "cp", "tp"))
    flat = view((*outer, inner), (*outer_names, "shard"))
    return Meshes(
        data=data,
        flat=flat,
        tensor=view((*outer, plan.dp_shard * plan.cp, plan.tp), (*outer_names, "dp_shard_cp", "tp")),
        sparse=view((*outer, inner // plan.ep, plan.ep), (*outer_names, "edp", "ep")),
        tokens=flat["dp_replicate", "shard"]._flatten("tokens"),
        rows=data["cp", "tp"]._flatten("rows"),
        copies=data["dp_replicate", "dp_shard"]._flatten("copies"),
    )


def leave_ranks(ranks: Ranks) -> None:
    """Take the process group down, after all ranks have come here or `LEAVE_S` seconds.

    A gloo rank whose peer closes its connections first can be aborted by its own background thread at exit.
    """
    if ranks.meshes is None or not dist.is_initialized():
        return
    if dist.get_backend() == "gloo":
        with contextlib.suppress(RuntimeError):  # a peer is gone or stuck: nobody waits for it
            dist.monitored_barrier(timeout=timedelta(seconds=LEAVE_S))
    dist.destroy_process_group()

"""Sums over the whole of sharded gradients: each value once, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from expedition.parallel.mesh import Ranks


def squared_norm(tensors: Iterable[Tensor], ranks: Ranks, *, of_stage: bool = False) -> Tensor:
    """Sum of squares of all values of `tensors`, fp32 scalar, the same on every rank. A collective.

    A tensor's local squares are summed over exactly those mesh axes on which it is sharded: what is replicated counts
    once. Ranks of a pipeline hold different tensors, so their sums are added, unless it is the norm `of_stage`s of this
    rank alone. Raises ValueError for no tensor at all.
    """
    held: dict[tuple[str, ...], list[Tensor]] = {}
    meshes: dict[tuple[str, ...], DeviceMesh] = {}
    for tensor in tensors:
        axes, mesh, value = _sharded(tensor)
        held.setdefault(axes, []).append(value)
        if mesh is not None:
            meshes[axes] = mesh
    if not held:
        raise ValueError("no tensor to take a norm of")
    if ranks.meshes is None:
        return _sum_of_squares(held[()])
    total = torch.zeros((), device=next(iter(held.values()))[0].device)
    for axes in sorted(held):
        part = _sum_of_squares(held[axes])
        for axis in axes:
            dist.all_reduce(part, group=meshes[axes].get_group(axis))
        total = total + part
    if not of_stage:
        dist.all_reduce(total, group=ranks.meshes.data.get_group("pp"))
    return total


def _sum_of_squares(values: Sequence[Tensor]) -> Tensor:
    """fp32 scalar; on CUDA few launches for all tensors of a type, and no fp32 copy of any."""
    if not values[0].is_cuda or is_fake(values[0]):
        return torch.stack([value.float().square().sum() for value in values]).sum()
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for value in values:
        by_type.setdefault(value.dtype, []).append(value)
    norms = [norm for same in by_type.values() for norm in torch._foreach_norm(same, 2, dtype=torch.float32)]
    return torch.stack(norms).square().sum()


def _sharded(tensor: Tensor) -> tuple[tuple[str, ...], DeviceMesh | None, Tensor]:
    """Axes of degree above 1 on which a tensor is sharded, its mesh, and the part that this rank holds."""
    if not isinstance(tensor, DTensor):
        return (), None, tensor
    mesh = tensor.device_mesh
    names = mesh.mesh_dim_names or ()
    pairs = zip(names, tensor.placements, strict=True)
    axes = tuple(name for name, placement in pairs if not placement.is_replicate() and mesh[name].size() > 1)
    return axes, mesh, tensor.to_local()

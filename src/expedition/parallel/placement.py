"""Which elements of a sharded tensor a rank holds: plain arithmetic on placements, no communication."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Shard
from torch.distributed.tensor.placement_types import _StridedShard


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that this rank holds; a plain tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_dim(placement: Placement) -> int | None:
    """Tensor dimension that a placement splits; None for a replica. Raises ValueError for a partial sum."""
    if isinstance(placement, Shard | _StridedShard):
        return int(placement.dim)
    if placement.is_replicate():
        return None
    raise ValueError(f"{placement} says nothing of which elements a rank holds")


def held_indices(
    tensor: Tensor, coordinate: Sequence[int] | None = None, device: torch.device | None = None
) -> list[Tensor]:
    """Global index along each dimension of the elements that a rank holds, int64 on `device` (None: the CPU).

    The rank at `coordinate` of the tensor's mesh, this one for None. A rank's part is the product of the vectors, also
    where FSDP2 shards what tensor parallelism has sharded (a strided shard is several stretches of rows).
    """
    indices = [torch.arange(size, device=device) for size in tensor.shape]
    if not isinstance(tensor, DTensor):
        return indices
    mesh = tensor.device_mesh
    coordinate = mesh.get_coordinate() if coordinate is None else coordinate
    if coordinate is None:
        return [index[:0] for index in indices]
    for axis, placement in enumerate(tensor.placements):
        dim = shard_dim(placement)
        if dim is not None:
            indices[dim] = _part(indices[dim], placement, mesh.size(axis), coordinate[axis])
    return indices


def _part(index: Tensor, placement: Placement, parts: int, which: int) -> Tensor:
    """What the `which`-th of `parts` ranks holds of `index`: torch.chunk's split, by stretches if it is strided."""
    stretches = [index]
    if isinstance(placement, _StridedShard):
        stretches = _chunks(index, int(placement.split_factor))
    return torch.cat([_chunks(stretch, parts)[which] for stretch in stretches])


def _chunks(index: Tensor, parts: int) -> list[Tensor]:
    """Exactly `parts` pieces of ⌈n / parts⌉ elements; the last ones are shorter or empty."""
    size = -(-index.numel() // parts)
    return [index[piece * size : (piece + 1) * size] for piece in range(parts)]


def flat_offsets(tensor: Tensor, rows: slice = slice(None)) -> Tensor:
    """Row-major offset in the whole tensor of each element that this rank holds in `rows` of its part's first
    dimension: int64, their shape and device."""
    held = local(tensor)[rows]
    offsets = torch.zeros((), dtype=torch.int64, device=held.device)
    first, *others = held_indices(tensor, device=held.device)
    for dim, index in enumerate([first[rows], *others]):
        stride = math.prod(tensor.shape[dim + 1 :])
        offsets = offsets.unsqueeze(-1) + index * stride
    return offsets.reshape(held.shape)


def flat_stretches(tensor: Tensor) -> tuple[int, int, int] | None:
    """`flat_offsets` as three numbers: element i of this rank's part lies at first + (i // run) · jump + i % run.

    None where a part is not like that: strided shards, and three dimensions split in a way that leaves gaps of two sizes.
    """
    whole, indices = tensor.shape, held_indices(tensor)
    held = [index.numel() for index in indices]
    if 0 in held:
        return 0, 1, 1
    if any(int(index[-1]) - int(index[0]) != index.numel() - 1 for index in indices):
        return None
    inner = max((dim for dim, size in enumerate(held) if size != whole[dim]), default=0)
    outer = [dim for dim in range(inner) if held[dim] > 1]
    if any(held[dim] != whole[dim] for dim in outer[1:]):
        return None
    first = sum(int(index[0]) * math.prod(whole[dim + 1 :]) for dim, index in enumerate(indices))
    return first, math.prod(held[inner:]), math.prod(whole[inner:])

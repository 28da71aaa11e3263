"""Which boxes of which global tensors this rank holds, and which of them it writes: geometry, no communication.

A DTensor of any mesh and placements (`_StridedShard` too) is, on one rank, a product of index sets, one a dimension;
each set is a few runs of consecutive indices, so the local tensor is a few boxes of the global one. Ranks that differ
only along replicated mesh axes hold the same boxes; one of them writes, chosen alike by all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.placement_types import Placement

Splits = tuple[tuple[Placement, int, int], ...]
"""What divides one dimension, outermost mesh axis first: (placement, ranks along the axis, this rank's place)."""


@dataclass(frozen=True, slots=True)
class Box:
    """The part [start, stop) of a global tensor, dimension by dimension; () and () is a scalar."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Box:
        """All of a tensor."""
        return cls((0,) * len(shape), shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def elements(self) -> int:
        return prod(self.shape)

    def overlap(self, other: Box) -> Box | None:
        """What both cover; None if that is nothing."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        return Box(start, stop) if all(a < b for a, b in zip(start, stop, strict=True)) else None

    def within(self, outer: Box) -> tuple[slice, ...]:
        """Slices that cut this box out of a tensor that holds `outer`."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))


@dataclass(frozen=True, slots=True)
class Held:
    """A box of a global tensor and the slices of the local tensor where it lies."""

    box: Box
    local: tuple[slice, ...]


def local_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a DTensor, without history; a plain tensor itself."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()


def held(tensor: Tensor) -> list[Held]:
    """The boxes that this rank holds: one for a plain tensor, none outside of a DTensor's mesh.

    Raises ValueError for a Partial placement: its values are no part of the tensor.
    """
    shape = tuple(tensor.shape)
    if not isinstance(tensor, DTensor):
        return [Held(Box.whole(shape), tuple(slice(0, size) for size in shape))] if prod(shape) else []
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:
        return []
    splits: list[list[tuple[Placement, int, int]]] = [[] for _ in shape]
    for axis, placement in enumerate(tensor.placements):
        if placement.is_partial():
            raise ValueError(f"a tensor placed {placement} has no value that could be saved")
        if not placement.is_replicate():
            dim = placement.dim % len(shape)  # type: ignore[attr-defined]  # every placement that shards has one
            splits[dim].append((placement, tensor.device_mesh.size(axis), coordinate[axis]))
    runs = [_runs(size, dim, tuple(split)) for dim, (size, split) in enumerate(zip(shape, splits, strict=True))]
    lengths = tuple(sum(length for _, length, _ in run) for run in runs)
    if lengths != tuple(local_part(tensor).shape):
        raise AssertionError(f"{tensor.placements} of {shape}: {lengths} is not {tuple(local_part(tensor).shape)}")
    return [
        Held(
            Box(tuple(start for start, _, _ in part), tuple(start + length for start, length, _ in part)),
            tuple(slice(local, local + length) for _, length, local in part),
        )
        for part in product(*runs)
    ]


@lru_cache(maxsize=4096)
def _runs(size: int, dim: int, splits: Splits) -> tuple[tuple[int, int, int], ...]:
    """(first global index, length, first local index) of each run of one dimension of `size`.

    The placements themselves divide the indices, so that the result is theirs in every version of torch.
    """
    index = torch.arange(size).reshape(*(1,) * dim, size)
    for placement, ranks, place in splits:
        parts, _ = placement._split_tensor(index, ranks, with_padding=False, contiguous=False)  # type: ignore[attr-defined]
        index = parts[place]
    indices = index.flatten().numpy()
    if not indices.size:
        return ()
    begins = np.concatenate([[0], np.flatnonzero(np.diff(indices) != 1) + 1])
    ends = np.append(begins[1:], indices.size)
    return tuple((int(indices[begin]), int(end - begin), int(begin)) for begin, end in zip(begins, ends, strict=True))


def replicas(tensor: DTensor) -> tuple[int, ...]:
    """Global ranks that hold the same boxes as this one, this one among them; () outside of the mesh."""
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:
        return ()
    place = tuple(
        slice(None) if placement.is_replicate() else here
        for placement, here in zip(tensor.placements, coordinate, strict=True)
    )
    return tuple(int(rank) for rank in tensor.device_mesh.mesh[place].flatten().tolist())


def owned(tensors: Mapping[str, Tensor], rank: int, plain: Mapping[str, int]) -> Iterator[tuple[str, Held]]:
    """(name, box) of everything that `rank` writes, so that every box is written by exactly one rank.

    Of the replicas of a box the one with the fewest bytes so far writes it, the first of equals. `plain` names the rank
    that writes each tensor that is no DTensor: names differ between pipeline stages, so geometry alone cannot tell.
    """
    load: dict[tuple[int, ...], list[int]] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if not isinstance(tensor, DTensor):
            writer = plain[name]
        elif group := replicas(tensor):
            bytes_of = load.setdefault(group, [0] * len(group))
            place = bytes_of.index(min(bytes_of))
            bytes_of[place] += local_part(tensor).nbytes
            writer = group[place]
        else:
            continue
        if writer == rank:
            for part in held(tensor):
                yield name, part

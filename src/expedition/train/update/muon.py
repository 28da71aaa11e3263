"""Muon's update, and how ranks share its work where matrices are sharded.

Shapes: N matrices, R rows, C columns of one.
Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); scale and decay by Liu et al. 2025 (Moonlight,
arXiv:2502.16982). `torch.optim.Muon` is the same for plain matrices; it knows no stacks of experts, no sharding and
no update that is dropped on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from expedition.parallel.placement import held_indices, local, shard_dim
from expedition.plan.runs import MuonPlan
from expedition.train.update.groups import blocks_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic: singular values end between about 0.7 and 1.2, not at 1, which is as good and takes fewer steps."""
_EPS = 1e-7
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def newton_schulz(matrices_NRC: Tensor, steps: int) -> Tensor:
    """Each matrix U S Vᵀ → about U Vᵀ, in the dtype that comes in; a matrix of zeros stays zero."""
    a, b, c = COEFFICIENTS
    tall = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x = matrices_NRC.transpose(1, 2) if tall else matrices_NRC
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPS)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def orthogonal(update: Tensor, blocks: int, plan: MuonPlan) -> Tensor:
    """A whole parameter's update [R, C] or [N, R, C], orthogonal by block of rows and scaled; the plan's dtype."""
    rows, columns = update.shape[-2] // blocks, update.shape[-1]
    matrices_NRC = update.to(_TYPES[plan.compute]).reshape(-1, rows, columns)
    return newton_schulz(matrices_NRC, plan.steps).reshape(update.shape)


def scale_of(rows: int, columns: int, plan: MuonPlan) -> float:
    """What an orthogonal update of one matrix is multiplied by, beside the learning rate."""
    if plan.scale == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


Place = tuple[slice, ...] | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one rank holds of the matrices that are put together."""

    shape: tuple[int, ...]
    place: Place
    """Index into the whole: slices, or a grid of indices where it holds several stretches."""

    @classmethod
    def of(cls, indices: Sequence[Tensor]) -> _Part:
        shape = tuple(index.numel() for index in indices)
        first = [int(index[0]) if index.numel() else 0 for index in indices]
        stretches = tuple(slice(begin, begin + size) for begin, size in zip(first, shape, strict=True))
        if all(
            torch.equal(index, torch.arange(begin, begin + index.numel()))
            for begin, index in zip(first, indices, strict=True)
        ):
            return cls(shape, stretches)
        return cls(shape, torch.meshgrid(*indices, indexing="ij"))

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class _Work:
    """A parameter whose matrices lie on several ranks."""

    name: str
    shape: tuple[int, ...]
    """Of what the owner puts together: the whole matrices of the experts that this rank holds."""
    parts: tuple[_Part, ...]
    """In the order of the group."""


class SharedWork:
    """Makes updates of sharded matrices orthogonal: each rank takes its share of the matrices, whole, and sends the
    parts back (Liu et al. 2025, section 2.3; Ahn et al. 2025, Dion, arXiv:2504.05295).

    Ranks that together hold one matrix form a group; experts that are sharded over the experts alone need none. A
    round is one matrix for each rank of a group and two all-to-alls, so no rank holds more than one beside its own.
    Construction is a collective: groups may be made. Copies (dp_replicate) do the same work each for itself.
    """

    def __init__(self, parameters: Mapping[str, Tensor], plan: MuonPlan) -> None:
        self._plan = plan
        self._alone: list[str] = []
        self._shared: dict[tuple[int, ...], list[_Work]] = {}
        self._groups: dict[tuple[int, ...], dist.ProcessGroup] = {}
        for name, parameter in parameters.items():
            if not isinstance(parameter, DTensor) or not (axes := _gather_axes(parameter)):
                self._alone.append(name)
                continue
            places = _holders(parameter, axes)
            self._shared.setdefault(tuple(places), []).append(_work(name, parameter, list(places.values())))
            if tuple(places) not in self._groups:
                self._groups[tuple(places)] = _group(parameter, axes, list(places))
        for works in self._shared.values():
            # Sorted by size, so that the matrices of a round cost alike.
            works.sort(key=lambda work: (-math.prod(work.shape), work.name))

    def orthogonal(self, names: Container[str], update_of: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """(name, this rank's part) of each of `names`; `update_of` gives the local part, fp32, when its turn comes.

        A collective: every rank of a group names the same.
        """
        for name in self._alone:
            if name in names:
                yield name, orthogonal(update_of(name), blocks_of(name), self._plan)
        for ranks in sorted(self._shared):
            works = [work for work in self._shared[ranks] if work.name in names]
            for first in range(0, len(works), len(ranks)):
                yield from self._round(works[first : first + len(ranks)], update_of, self._groups[ranks])

    def _round(
        self, works: Sequence[_Work], update_of: Callable[[str], Tensor], group: dist.ProcessGroup
    ) -> Iterator[tuple[str, Tensor]]:
        me, ranks = group.rank(), range(group.size())
        mine = works[me] if me < len(works) else None
        to_owners = [works[rank].parts[me].numel if rank < len(works) else 0 for rank in ranks]
        from_holders = [part.numel for part in mine.parts] if mine else [0 for _ in ranks]
        updates = [update_of(work.name) for work in works]
        flat = torch.cat([update.flatten().to(_TYPES[self._plan.compute]) for update in updates])
        gathered = _all_to_all(flat, to_owners, from_holders, group)
        if mine is not None:
            whole = orthogonal(_assemble(mine, torch.split(gathered, from_holders)), blocks_of(mine.name), self._plan)
            gathered = torch.cat([whole[part.place].flatten() for part in mine.parts])
        returned = torch.split(_all_to_all(gathered, from_holders, to_owners, group), to_owners)
        for work, update, part in zip(works, updates, returned[: len(works)], strict=True):
            yield work.name, part.view(update.shape)


def _all_to_all(flat: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    out = flat.new_empty(sum(received))
    dist.all_to_all_single(out, flat, received, sent, group=group)
    return out


def _assemble(work: _Work, pieces: Sequence[Tensor]) -> Tensor:
    whole = pieces[0].new_empty(work.shape)
    for part, piece in zip(work.parts, pieces, strict=True):
        whole[part.place] = piece.view(part.shape)
    return whole


def _gather_axes(parameter: DTensor) -> list[int]:
    """Mesh axes that split a matrix; those that split a stack of experts leave its matrices whole."""
    mesh, first = parameter.device_mesh, parameter.dim() - 2
    dims = [shard_dim(placement) for placement in parameter.placements]
    return [axis for axis, dim in enumerate(dims) if dim is not None and dim >= first and mesh.size(axis) > 1]


def _holders(parameter: DTensor, axes: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Global ranks, ascending, that together hold the matrices that this rank has a part of → their coordinates."""
    mesh, own = parameter.device_mesh, parameter.device_mesh.get_coordinate()
    assert own is not None
    spans = [range(mesh.size(axis)) if axis in axes else [own[axis]] for axis in range(mesh.ndim)]
    return dict(sorted((int(mesh.mesh[place]), place) for place in product(*spans)))


def _group(parameter: DTensor, axes: Sequence[int], ranks: list[int]) -> dist.ProcessGroup:
    """The mesh's own group where one axis is enough."""
    if len(axes) == 1:
        group = parameter.device_mesh.get_group(axes[0])
        if dist.get_process_group_ranks(group) == ranks:
            return group
    made = dist.new_group(ranks, use_local_synchronization=True)
    assert isinstance(made, dist.ProcessGroup)
    return made


def _work(name: str, parameter: DTensor, places: Sequence[tuple[int, ...]]) -> _Work:
    shape, parts = list(parameter.shape), [held_indices(parameter, place) for place in places]
    if parameter.dim() == 3:
        # Alike on all of them: no axis of the group splits the stack.
        experts = local(parameter).shape[0]
        shape[0], parts = experts, [[torch.arange(experts), *part[1:]] for part in parts]
    return _Work(name, tuple(shape), tuple(_Part.of(part) for part in parts))

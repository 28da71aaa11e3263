"""Which mesh dimension a collective belongs to: by the name of its process group, which NCCL's kernels carry, and by a range
around each call of torch.distributed, for gloo, whose work carries none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Final

import torch.distributed as dist

from expedition.parallel.mesh import Ranks
from expedition.train.profiling.marks import Range
from expedition.train.profiling.split import COLLECTIVE, UNKNOWN_GROUP

CALLS: Final = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_single",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "irecv",
    "isend",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "send",
)
"""Of torch.distributed; those that this torch has are named."""


def mesh_dimensions(ranks: Ranks) -> dict[str, str]:
    """Dimension by name of process group, over all views of the ranks. Dimensions of the same ranks share a group where
    torch makes one of them; it then has the name of the data view's."""
    meshes = ranks.meshes
    if meshes is None:
        return {}
    found: dict[str, str] = {}
    if dist.group.WORLD is not None:
        found[dist.group.WORLD.group_name] = "world"
    for mesh in (meshes.tokens, meshes.rows, meshes.copies, meshes.flat, meshes.tensor, meshes.sparse, meshes.data):
        for number, name in enumerate(mesh.mesh_dim_names or ()):
            found[mesh.get_group(number).group_name] = name
    return found


@contextmanager
def named_collectives(dimensions: Mapping[str, str], mark: Range) -> Iterator[None]:
    """Ranges `collective:<dimension>` around the calls of torch.distributed, for as long as the context lasts."""
    with ExitStack() as stack:
        for name in CALLS if dimensions else ():
            call = getattr(dist, name, None)
            if call is not None:
                stack.callback(setattr, dist, name, call)
                setattr(dist, name, _named(call, dimensions, mark))
        yield


def _named(call: Callable[..., Any], dimensions: Mapping[str, str], mark: Range) -> Callable[..., Any]:
    @wraps(call)
    def named(*args: Any, **keywords: Any) -> Any:
        with mark(COLLECTIVE + dimensions.get(_group_name(args, keywords), UNKNOWN_GROUP)):
            return call(*args, **keywords)

    return named


def _group_name(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    values = [*keywords.values(), *args]
    group = next((value for value in values if isinstance(value, dist.ProcessGroup)), None)
    if group is None and args and isinstance(args[0], list) and args[0] and isinstance(args[0][0], dist.P2POp):
        group = args[0][0].group
    if group is None:
        group = dist.group.WORLD
    return str(getattr(group, "group_name", ""))

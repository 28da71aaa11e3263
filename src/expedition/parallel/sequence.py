"""Which positions of a row a rank works on: the arithmetic that context and tensor parallelism share.

A row of S positions falls into 2·cp chunks. Context rank i has chunks i and 2·cp-1-i ("zigzag", Llama 3,
arXiv:2407.21783, section 3.3.2), so that in a causal row all have the same number of (query, key) pairs. Tensor rank j
of tp has the j-th of tp equal consecutive parts of what its context rank has (sequence parallelism, arXiv:2205.05198).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expedition.parallel.mesh import Ranks


@dataclass(frozen=True, slots=True)
class SequenceSplit:
    """One rank's place in the split. Values are cut by views and copies that autograd follows."""

    cp: int
    cp_place: int
    tp: int
    tp_place: int

    def stretches(self, size: int) -> list[tuple[int, int]]:
        """First and end of each stretch of a row of `size` positions that this rank's context rank has.

        Raises ValueError where `size` is not a multiple of 2 · cp · tp.
        """
        if size % (2 * self.cp * self.tp):
            raise ValueError(f"{size} positions are no multiple of 2 · cp · tp = {2 * self.cp * self.tp}")
        if self.cp == 1:
            return [(0, size)]
        chunk = size // (2 * self.cp)
        return [(place * chunk, (place + 1) * chunk) for place in (self.cp_place, 2 * self.cp - 1 - self.cp_place)]

    def queries(self, whole: Tensor, dim: int) -> Tensor:
        """What this rank's context rank has of whole rows along `dim`, ascending. Raises as `stretches`."""
        parts = [whole.narrow(dim, first, end - first) for first, end in self.stretches(whole.shape[dim])]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim)

    def tokens(self, whole: Tensor, dim: int) -> Tensor:
        """What this rank has of whole rows along `dim`, in order. Raises as `stretches`."""
        part = self.queries(whole, dim)
        size = part.shape[dim] // self.tp
        return part.narrow(dim, self.tp_place * size, size).contiguous()

    def whole(self, parts: Sequence[Tensor], dim: int) -> Tensor:
        """Whole rows from the `queries` of context ranks 0 … cp-1."""
        if self.cp == 1:
            return parts[0]
        halves = [part.chunk(2, dim) for part in parts]
        return torch.cat([*(half[0] for half in halves), *(half[1] for half in reversed(halves))], dim)


def sequence_split(ranks: Ranks) -> SequenceSplit | None:
    """This rank's place in the split of positions; None where every rank works on whole rows."""
    plan = ranks.plan
    if ranks.meshes is None or plan.cp * plan.tp == 1:
        return None
    return SequenceSplit(plan.cp, ranks.place("cp"), plan.tp, ranks.place("tp"))

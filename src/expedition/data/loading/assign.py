"""Which rank works on which sequence of the global batch, in which micro-batch: balanced by real work.

The global batch itself is never changed by it.

Longest processing time first (Graham 1969), in rounds: the sequences, dearest first, are dealt one a part and round,
the dearest of a round to the part that has the least. Every part gets the same number of sequences (to within one) and
the parts' costs differ by no more than the dearest sequence costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class CostWeights:
    """Work of one unit, in units of one text token through the decoder."""

    token: float = 1.0
    """One position that is not padding."""
    patch: float = 0.25
    """One patch through the vision encoder, before merging."""
    mel_frame: float = 0.1
    """One frame of 10 ms through the audio encoder."""

    def cost(
        self, tokens: npt.NDArray[np.int64], patches: npt.NDArray[np.int64], mel_frames: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Cost of each sequence."""
        return np.asarray(self.token * tokens + self.patch * patches + self.mel_frame * mel_frames, dtype=np.float64)


def assign(costs: npt.NDArray[np.float64], world: int, micro_batches: int = 1) -> list[list[list[int]]]:
    """`[rank][micro-batch]` → positions in the global batch, ascending; every position exactly once.

    Pure: depends on nothing but its arguments. Parts differ in number of sequences by at most one, and in cost by at
    most the largest cost of a sequence. A part is empty where there are fewer sequences than parts. Raises ValueError
    unless `world` and `micro_batches` are positive.
    """
    if world < 1 or micro_batches < 1:
        raise ValueError(f"world {world} and micro_batches {micro_batches} must be at least 1")
    parts = world * micro_batches
    members: list[list[int]] = [[] for _ in range(parts)]
    loads = np.zeros(parts)
    order = np.lexsort((np.arange(len(costs)), -costs))
    for start in range(0, len(order), parts):
        round_ = order[start : start + parts]
        emptiest = np.lexsort((np.arange(parts), loads))[: len(round_)]
        for part, position in zip(emptiest.tolist(), round_.tolist(), strict=True):
            members[part].append(position)
            loads[part] += costs[position]
    return [[sorted(members[micro * world + rank]) for micro in range(micro_batches)] for rank in range(world)]

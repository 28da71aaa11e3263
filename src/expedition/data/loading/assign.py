"""Which rank works on which sequence of the global batch, in which micro-batch: balanced by real work.

The global batch itself is never changed by it. Ranks meet in every micro-batch, so every part (rank x micro-batch)
gets the same number of sequences, to within one, and parts are made equal in cost:

1. Longest processing time first (Graham 1969), in rounds: the sequences, dearest first, are dealt one a part and round,
   the dearest of a round to the part that has the least.
2. While it helps, the dearest part swaps the sequence with another part that lowers the dearer of the two most.
3. Parts are sorted by cost and dealt to the micro-batches in blocks of `world`, in alternating direction: ranks that
   meet in a micro-batch have parts of like cost, and sums over micro-batches even out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from expedition.plan.shapes import ModelShape

ENOUGH = 1.005
"""Dearest ÷ mean part at which nothing is swapped any more."""
MAX_SWAPS = 512

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CostWeights:
    """Work of one unit, in units of one text token through the decoder's products.

    The defaults are about those of a decoder of 3B active parameters with a vision encoder of 0.5B; `of_shape` computes
    them.
    """

    token: float = 1.0
    """One position that is not padding."""
    square: float = 4e-5
    """One squared token of a document: attention within documents grows with the square of their lengths."""
    patch: float = 0.25
    """One patch through the vision encoder, before merging."""
    mel_frame: float = 0.1
    """One frame of 10 ms through the audio encoder."""

    @classmethod
    def of_shape(cls, shape: ModelShape, vocabulary: int) -> Self:
        """From multiply-adds: active decoder parameters and head a token; 2 x layers x width of causal attention a
        squared token over 2; encoder parameters a patch and a frame (an eighth of a vector a frame, and convolutions).
        """
        token = active_parameters(shape) + shape.hidden * vocabulary
        square = shape.layers * shape.heads * shape.head_dim
        vision, audio = shape.vision, shape.audio
        patch = vision.layers * (4 * vision.hidden**2 + 2 * vision.hidden * vision.inner)
        patch += vision.patch_values * vision.hidden
        vector = audio.layers * (4 * audio.hidden**2 + 2 * audio.hidden * audio.inner)
        frame = vector / 8 + 9 * audio.conv_channels * (audio.mel_bins / 4 + audio.conv_channels * audio.mel_bins / 12)
        return cls(1.0, square / token, patch / token, frame / token)

    def cost(self, tokens: Ints, patches: Ints, mel_frames: Ints, squares: Ints | None = None) -> Floats:
        """Cost of each sequence; `squares` is the sum of its documents' squared lengths (None: not counted)."""
        linear = self.token * tokens + self.patch * patches + self.mel_frame * mel_frames
        return np.asarray(linear if squares is None else linear + self.square * squares, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Balance:
    """How even an assignment is; 1 is perfect."""

    rank_max_over_mean: float
    """Work of the dearest rank ÷ mean."""
    step_over_mean: float
    """Sum over micro-batches of the dearest rank's work ÷ mean work of a rank: the step, where ranks meet in each."""
    largest_over_mean: float
    """The dearest sequence alone ÷ mean work of a rank: a lower bound of `rank_max_over_mean` where it is above 1."""


def active_parameters(shape: ModelShape) -> int:
    """Decoder parameters that a token passes: attention, router, top-k experts, dense layers; no embedding, no head."""
    width = shape.heads * shape.head_dim
    attention = shape.hidden * (2 * width + 2 * shape.kv_heads * shape.head_dim)
    moe = shape.top_k * 3 * shape.hidden * shape.expert_inner + shape.hidden * shape.experts
    dense = 3 * shape.hidden * shape.dense_inner
    moe_layers = len(shape.moe_layers)
    return shape.layers * attention + moe_layers * moe + (shape.layers - moe_layers) * dense


def assign(costs: Floats, world: int, micro_batches: int = 1) -> list[list[list[int]]]:
    """`[rank][micro-batch]` → positions in the global batch, ascending; every position exactly once.

    Pure: depends on nothing but its arguments. Parts differ in number of sequences by at most one, and in cost by at
    most the largest cost of a sequence. A part is empty where there are fewer sequences than parts. Raises ValueError
    unless `world` and `micro_batches` are positive.
    """
    if world < 1 or micro_batches < 1:
        raise ValueError(f"world {world} and micro_batches {micro_batches} must be at least 1")
    parts = world * micro_batches
    part_of = _dealt(costs, parts)
    _swap(costs, part_of, parts)
    loads = np.zeros(parts)
    np.add.at(loads, part_of, costs)
    places = _placed(loads, world, micro_batches)
    members: list[list[list[int]]] = [[[] for _ in range(micro_batches)] for _ in range(world)]
    for position, part in enumerate(part_of.tolist()):
        rank, micro = places[part]
        members[rank][micro].append(position)
    return members


def in_order(count: int, world: int, micro_batches: int = 1) -> list[list[list[int]]]:
    """The assignment that looks at no cost: sequence i goes to part i mod parts. What `assign` is compared with."""
    return [
        [list(range(micro * world + rank, count, world * micro_batches)) for micro in range(micro_batches)]
        for rank in range(world)
    ]


def balance(costs: Floats, assigned: list[list[list[int]]]) -> Balance:
    """How even `assigned` is under `costs`. Raises ValueError if there is no work."""
    loads = np.asarray([[float(costs[part].sum()) for part in rank] for rank in assigned])
    ranks = loads.sum(axis=1)
    mean = float(ranks.mean())
    if mean <= 0:
        raise ValueError("no work to balance")
    return Balance(float(ranks.max()) / mean, float(loads.max(axis=0).sum()) / mean, float(costs.max()) / mean)


def _dealt(costs: Floats, parts: int) -> Ints:
    """Part of each sequence, by rounds."""
    part_of = np.zeros(len(costs), dtype=np.int64)
    loads = np.zeros(parts)
    order = np.lexsort((np.arange(len(costs)), -costs))
    for start in range(0, len(order), parts):
        round_ = order[start : start + parts]
        emptiest = np.argsort(loads, kind="stable")[: len(round_)]
        part_of[round_] = emptiest
        loads[emptiest] += costs[round_]
    return part_of


def _swap(costs: Floats, part_of: Ints, parts: int) -> None:
    """Swap sequences of the dearest part with cheaper ones elsewhere while that lowers the dearer of the two.

    A swap leaves both parts between what they were, so no part gets further from the mean than the furthest was.
    """
    if parts < 2 or len(costs) < 2:
        return
    loads = np.bincount(part_of, weights=costs, minlength=parts)
    enough = ENOUGH * float(loads.mean())
    for _ in range(min(MAX_SWAPS, 4 * parts)):
        dearest = int(np.argmax(loads))
        if loads[dearest] <= enough:
            return
        mine = np.flatnonzero(part_of == dearest)
        gain = costs[mine][:, None] - costs[None, :]
        gap = (loads[dearest] - loads[part_of])[None, :]
        lowered = np.where((gain > 0) & (gain < gap), np.minimum(gain, gap - gain), 0.0)
        best = int(np.argmax(lowered))
        ours, theirs = int(mine[best // len(costs)]), best % len(costs)
        if lowered.flat[best] <= 1e-9 * loads[dearest]:
            return
        moved = costs[ours] - costs[theirs]
        loads[dearest] -= moved
        loads[part_of[theirs]] += moved
        part_of[ours], part_of[theirs] = part_of[theirs], part_of[ours]


def _placed(loads: Floats, world: int, micro_batches: int) -> list[tuple[int, int]]:
    """(rank, micro-batch) of each part."""
    places = [(0, 0)] * len(loads)
    sums = np.zeros(world)
    order = np.argsort(-loads, kind="stable")
    for micro in range(micro_batches):
        block = order[micro * world : (micro + 1) * world]
        least = np.argsort(sums, kind="stable")
        for rank, part in zip(least.tolist(), block.tolist(), strict=True):
            places[part] = (rank, micro)
            sums[rank] += loads[part]
    return places

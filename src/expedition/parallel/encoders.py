"""Encoders over ranks that read the same rows: each encodes some of the pictures and sounds, and all get all features.

Shapes: P patches, C numbers in a patch, G images and videos, M mel bins, F mel frames, A clips, N features of all items,
n of this rank's, L levels (1 + deepstack), H decoder width.

Without it every cp and tp rank of a copy would encode every item. Items are whole, so a single long video is still the
work of one rank. The gradient of a feature is the sum of what the ranks that have its place or deepstack additions give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from expedition.model.audio import AudioEncoder
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.gather import gather_parts


def share_out(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Items by part: each goes, dearest first, to the part that has least (Graham 1969: at most 4/3 of the optimum).

    A pure function of the costs, so that all ranks agree; items of a part are in ascending order.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        part = min(range(parts), key=lambda part: (loads[part], part))
        shares[part].append(item)
        loads[part] += costs[item]
    return [sorted(share) for share in shares]


@dataclass(frozen=True, slots=True)
class SharedEncoders:
    """This rank's part in encoding the media of rows that all ranks of `group` read. Every call is a collective."""

    group: dist.ProcessGroup
    place: int
    parts: int

    def see(self, encoder: VisionEncoder, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        """As `encoder` itself gives them."""
        patches: list[int] = grid_G3.prod(1).tolist()
        sizes = [count // encoder.shape.merge_unit for count in patches]
        shares = share_out(patches, self.parts)
        own = shares[self.place]
        if own:
            items = torch.split(patches_PC, patches)
            features_nH, deepstack = encoder(torch.cat([items[item] for item in own]), grid_G3[own])
        else:
            features_nH, deepstack = encoder(*encoder.idle_input(patches_PC))
        gathered_NLH = self._gather(torch.stack((features_nH, *deepstack), dim=1), shares, sizes)
        first_NH, *levels = gathered_NLH.unbind(1)
        return VisionFeatures(first_NH, levels)

    def hear(self, encoder: AudioEncoder, mel_MF: Tensor, mel_lengths_A: Tensor) -> Tensor:
        """As `encoder` itself gives them."""
        frames: list[int] = mel_lengths_A.tolist()
        sizes = [encoder.shape.tokens(count) for count in frames]
        shares = share_out(frames, self.parts)
        own = shares[self.place]
        longest = min(max(frames), encoder.shape.chunk_frames)
        if own:
            items = torch.split(mel_MF, frames, dim=1)
            mel_own_MF, lengths_own_A = torch.cat([items[item] for item in own], dim=1), mel_lengths_A[own]
        else:
            mel_own_MF, lengths_own_A = encoder.idle_input(mel_MF)
        features_nH = encoder(mel_own_MF, lengths_own_A, longest)
        return self._gather(features_nH.unsqueeze(1), shares, sizes).squeeze(1)

    def _gather(self, own_nLH: Tensor, shares: Sequence[Sequence[int]], sizes: Sequence[int]) -> Tensor:
        """[N, L, H] of all items in their order, from each rank's own (of which none count where it has no item)."""
        held = [sum(sizes[item] for item in share) for share in shares]
        longest = max(held)
        own_nLH = own_nLH[: held[self.place]]
        padded_RLH = F.pad(own_nLH, (0, 0, 0, 0, 0, longest - own_nLH.shape[0]))
        gathered = gather_parts(padded_RLH, self.group)
        starts = [0] * len(sizes)
        for part, share in enumerate(shares):
            start = part * longest
            for item in share:
                starts[item] = start
                start += sizes[item]
        index_N = torch.cat([torch.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)])
        return gathered.index_select(0, index_N.to(gathered.device, non_blocking=True))

"""Context parallelism: the positions of a row over ranks, with the keys and values of the whole row for attention.

Shapes: B batch, S whole sequence, s queries of this rank, K key/value heads, D head size.

Keys and values are gathered over cp before attention and their gradients are summed and scattered after it, so local
queries see every earlier token of their own document wherever the cuts lie: exact for packed documents of any lengths.
A layer holds 2·S·K·D gathered values at a time and receives (cp-1)/cp of them; a ring (arXiv:2310.01889) would hold
2/cp of that, which pays at lengths where keys and values outweigh the activations of the layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from expedition.model.attention import DecoderAttention
from expedition.model.audio import AudioEncoder
from expedition.model.omni import OmniModel
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.encoders import SharedEncoders
from expedition.parallel.gather import gather_parts
from expedition.parallel.mesh import Ranks
from expedition.parallel.sequence import SequenceSplit, sequence_split


@dataclass(frozen=True, slots=True)
class SpreadRows:
    """The model's `Spread` over cp and tp ranks."""

    split: SequenceSplit
    context: dist.ProcessGroup
    """The ranks that hold the other positions of the same rows for the same heads."""
    encoders: SharedEncoders

    def tokens(self, whole: Tensor, dim: int) -> Tensor:
        return self.split.tokens(whole, dim)

    def queries(self, whole: Tensor, dim: int) -> Tensor:
        return self.split.queries(whole, dim)

    def stretches(self, size: int) -> list[tuple[int, int]] | None:
        return self.split.stretches(size) if self.split.cp > 1 else None

    def gather(self, k_BsKD: Tensor, v_BsKD: Tensor) -> tuple[Tensor, Tensor]:
        both_2BsKD = torch.stack((k_BsKD, v_BsKD))
        gathered = gather_parts(both_2BsKD, self.context)
        keys, values = self.split.whole(gathered.chunk(self.split.cp), dim=2).unbind()
        return keys, values

    def see(self, encoder: VisionEncoder, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        return self.encoders.see(encoder, patches_PC, grid_G3)

    def hear(self, encoder: AudioEncoder, mel_MF: Tensor, mel_lengths_A: Tensor) -> Tensor:
        return self.encoders.hear(encoder, mel_MF, mel_lengths_A)


def spread_positions(model: OmniModel, ranks: Ranks) -> None:
    """Let `model` work on this rank's positions only, in place; nothing where each rank has whole rows."""
    split = sequence_split(ranks)
    if split is None:
        return
    assert ranks.meshes is not None
    rows = ranks.meshes.rows
    encoders = SharedEncoders(rows.get_group(), rows.get_local_rank(), rows.size())
    model.spread = SpreadRows(split, ranks.meshes.data.get_group("cp"), encoders)
    if split.cp == 1:
        return
    for module in model.modules():
        if isinstance(module, DecoderAttention):
            module.spread = model.spread

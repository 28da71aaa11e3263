"""The seam for rows whose positions are spread over processes: what the model asks of whoever spreads them.

Without one (None) a process has all positions. Embeddings are of whole rows, encoders of whole items; layers, norm and
head see the positions of one process. Attention may work on more of them than the layers do, where processes share its
heads.

Shapes: B batch, P patches, C numbers in a patch, G images and videos, M mel bins, F frames, A clips, N features, H width,
 S whole sequence, s queries of this process, K key/value heads, D head size.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from expedition.model.audio import AudioEncoder
from expedition.model.vision import VisionEncoder, VisionFeatures

__all__ = ["Spread"]


class Spread(Protocol):
    """Which positions are here, and how keys and values of the others arrive. All methods keep the graph."""

    def tokens(self, whole: Tensor, dim: int) -> Tensor:
        """Of whole rows, the positions that this process's layers work on."""
        ...

    def queries(self, whole: Tensor, dim: int) -> Tensor:
        """Of whole rows, the positions whose queries this process attends with, ascending."""
        ...

    def stretches(self, size: int) -> list[tuple[int, int]] | None:
        """First and end of each stretch of `queries` in rows of `size` positions; None where they are whole rows."""
        ...

    def gather(self, k_BsKD: Tensor, v_BsKD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of whole rows [B, S, K, D] in their order, from those of each process's queries."""
        ...

    def see(self, encoder: VisionEncoder, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        """What `encoder` gives for all items (at least one), however the processes share the work."""
        ...

    def hear(self, encoder: AudioEncoder, mel_MF: Tensor, mel_lengths_A: Tensor) -> Tensor:
        """Features [N, H] that `encoder` gives for all clips (at least one)."""
        ...

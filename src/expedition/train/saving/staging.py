"""Host memory that a snapshot is copied to: one block, allocated once, used again by every checkpoint.

It holds what this rank writes and nothing else: 12 bytes a parameter that this rank owns for fp32 weights and two fp32
moments. On an accelerator the block is page-locked, so the copy runs at the bus's speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expedition.train.saving.shards import Box
from expedition.train.saving.tensor_file import Piece

ALIGNMENT = 64
"""Bytes; every copy begins at a multiple."""


@dataclass(frozen=True, slots=True)
class Source:
    """A box of a global tensor where it lies now, on any device."""

    tensor: str
    shape: tuple[int, ...]
    """Of the global tensor."""
    box: Box
    values: Tensor


class Staging:
    """Owned by one thread. A copy is valid until the next `copy`: the one before must have been written by then."""

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)
        self._pinned = False

    @property
    def bytes(self) -> int:
        """Size of the block."""
        return self._block.numel()

    @torch.no_grad()
    def copy(self, files: Mapping[str, Sequence[Source]]) -> dict[str, list[Piece]]:
        """Copies of all sources. Returns when they are complete: training may then change the sources."""
        sources = [source for found in files.values() for source in found]
        self._reserve(sum(_room(source.values) for source in sources), any(s.values.is_cuda for s in sources))
        copies: dict[str, list[Piece]] = {}
        begin = 0
        for file, found in files.items():
            copies[file] = []
            for source in found:
                values = source.values
                target = self._block[begin : begin + values.nbytes].view(values.dtype).view(values.shape)
                target.copy_(values, non_blocking=self._pinned)
                copies[file].append(Piece(source.tensor, source.shape, source.box, target))
                begin += _room(values)
        if self._pinned:
            torch.cuda.current_stream().synchronize()
        return copies

    def close(self) -> None:
        """Give the memory back."""
        if self._pinned:
            _driver().cudaHostUnregister(self._block.data_ptr())
            self._pinned = False
        self._block = torch.empty(0, dtype=torch.uint8)

    def _reserve(self, size: int, pin: bool) -> None:
        if size <= self._block.numel():
            return
        self.close()
        self._block = torch.empty(size, dtype=torch.uint8)
        # Registered rather than allocated pinned: torch's pinned allocator rounds up to a power of two.
        self._pinned = pin and int(_driver().cudaHostRegister(self._block.data_ptr(), size, 0)) == 0


def _driver() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _room(values: Tensor) -> int:
    return -(-values.nbytes // ALIGNMENT) * ALIGNMENT

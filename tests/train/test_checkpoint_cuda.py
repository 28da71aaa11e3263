"""Copies from a CUDA device to page-locked host memory."""

from __future__ import annotations

import pytest
import torch

from expedition.train.saving.shards import Box
from expedition.train.saving.staging import Source, Staging

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_copy_is_complete_when_it_returns_and_the_block_is_used_again() -> None:
    staging = Staging()
    blocks = set()
    for number in range(3):
        live = {name: torch.full((1 << 22,), float(number), device="cuda") for name in "ab"}
        live["c"] = torch.arange(12.0, device="cuda").reshape(3, 4).t()[1:3]
        sources = [Source(n, tuple(v.shape), Box.whole(tuple(v.shape)), v) for n, v in live.items()]
        copies = {piece.tensor: piece.values for piece in staging.copy({"model": sources})["model"]}
        expected = live["c"].cpu()
        for value in live.values():
            value.fill_(-1.0)
        assert all(bool((copies[name] == number).all()) for name in "ab")
        assert torch.equal(copies["c"], expected)
        assert copies["a"].is_pinned()
        blocks.add(copies["a"].data_ptr())
    assert len(blocks) == 1
    staging.close()
    assert staging.bytes == 0

"""What the host knows of a batch's rows before they are on the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from expedition.train.batches import to_tensors

from .tiny import CountingSource, tiny_run


@pytest.mark.parametrize(
    ("row", "whole"), [([1, 1, 1, 1], True), ([1, 1, 2, 2], False), ([1, 1, 1, 0], False), ([0, 0, 0, 0], False)]
)
def test_rows_are_whole_where_each_is_one_document(row: list[int], whole: bool) -> None:
    batch = CountingSource(tiny_run()).rank_batch(0, 0, 1)[0]
    document_BS: NDArray[np.int32] = np.ones_like(batch.document_BS)
    document_BS[-1] = np.repeat(row, -(-document_BS.shape[1] // 4))[: document_BS.shape[1]]
    tensors = to_tensors(replace(batch, document_BS=document_BS), torch.device("cpu"), torch.float32)
    assert tensors.whole_rows is whole and tensors.model_inputs[-1] is whole

"""Batches in page-locked memory, from which a GPU copies without waiting for the host."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from expedition.data.loading.batch import Batch

SMALLEST_BYTES = 4096
"""Smaller arrays stay where they are: locking a page costs more than it saves."""


def pin_batch(batch: Batch) -> Batch:
    """The same batch with its large arrays in page-locked memory; the batch itself where there is no CUDA device.

    The arrays are views of pinned tensors: `torch.as_tensor(array).to(device, non_blocking=True)` copies asynchronously.
    """
    import torch

    if not torch.cuda.is_available():
        return batch
    pinned: dict[str, Any] = {}
    for field in fields(Batch):
        array = getattr(batch, field.name)
        if isinstance(array, np.ndarray) and array.nbytes >= SMALLEST_BYTES:
            pinned[field.name] = torch.from_numpy(np.ascontiguousarray(array)).pin_memory().numpy()
    return replace(batch, **pinned)

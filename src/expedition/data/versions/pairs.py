"""Pairs of documents on disk: a table of two numbers a pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.engine.tables import read_batches, write_batches
from expedition.data.stages.dedup.candidates import Pairs

PAIRS = "pairs.arrow"
PAIR_SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.int64())])


def read_pairs(path: Path) -> Iterator[Pairs]:
    """The pairs of a file, a batch at a time."""
    for batch in read_batches(path):
        yield np.stack([batch.column("a").to_numpy(), batch.column("b").to_numpy()], axis=-1)


def write_pairs(folder: Path, found: Iterator[Pairs]) -> int:
    """Write pairs as they come; returns their number."""
    batches = (pa.RecordBatch.from_arrays([pa.array(p[:, 0]), pa.array(p[:, 1])], schema=PAIR_SCHEMA) for p in found)
    return write_batches(folder / PAIRS, PAIR_SCHEMA, batches)

"""Near media over any number of documents: the two functions of their exchanges that differ from those of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.engine.shard import Summary
from expedition.data.stages.dedup.candidates import Numbers, distinct
from expedition.data.stages.dedup.fingerprint import media_rows
from expedition.data.stages.dedup.media import near_media
from expedition.data.versions.pairs import write_pairs
from expedition.data.versions.prints import Prints

MEDIA_ROW_BYTES = 20
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class MediaRows:
    """Rows (key, number, fine), one a key, of a file's media that are left."""

    prints: Prints
    gone: Callable[[int], Numbers]
    """Rows of a file that are exact copies."""

    def __call__(self, file: int) -> Iterator[pa.RecordBatch]:
        """A batch a batch of fingerprints."""
        start, _ = self.prints.bounds(file, file + 1)
        gone, first = self.gone(file), 0
        table = self.prints.table(file).select(["media_keys", "media_fine"])
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            rows, keys, fine = media_rows(batch)
            left = ~np.isin(rows + first, gone)
            yield pa.RecordBatch.from_pydict(
                {"key": keys[left], "number": rows[left] + first + start, "fine": fine[left]}
            )
            first += batch.num_rows


@dataclass(frozen=True, slots=True)
class VerifyMedia:
    """Reduce function: a block's pairs whose fingerprints are near."""

    prints: Prints

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        """Writes the pairs that are near copies; counts the comparisons."""
        work = {"media_compared": 0, "media_joined": 0}

        def found() -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
            for chunk in chunks:
                pairs = distinct(np.stack([chunk.column("a").to_numpy(), chunk.column("b").to_numpy()], axis=-1))
                work["media_compared"] += len(pairs)
                yield near_media(pairs, self._phashes)

        work["media_joined"] = write_pairs(folder, found())
        return {"work": work}

    def _phashes(self, numbers: Numbers) -> list[str]:
        told: list[str] = []
        for file, rows in self.prints.by_file(numbers):
            told += self.prints.table(file).column("phash").take(pa.array(rows)).to_pylist()
        return told

"""Run files: sorted segments of many partitions in few files, each found by its byte range.

A run folder holds what one scatter task wrote. Partitions lie in bands, `BAND_PARTITIONS` neighbours in one file, so
that a band's files can go as soon as its partitions are reduced. A file is a row of Arrow IPC streams, one a segment;
its index is int64 [spills, partitions of the band + 1], the offsets between them. So reading a partition costs one
small read of the index and one range a spill, whatever the number of partitions: ranges that an object store serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BANDS = 16
"""About how many files a run has: the finer, the sooner disk comes back; the coarser, the fewer files."""
BATCH_BYTES = 1 << 20
"""Bytes of a batch of a segment, unless one row is longer: what a reader holds of each segment."""
_MAX_BATCH_ROWS = 1 << 16
_COMPRESSION = "lz4"


@dataclass(frozen=True, slots=True)
class Bands:
    """Which partitions share a file."""

    partitions: int

    @property
    def width(self) -> int:
        """Partitions of a band; the last band may have fewer."""
        return -(-self.partitions // BANDS)

    def __len__(self) -> int:
        return -(-self.partitions // self.width)

    def of(self, partition: int) -> tuple[int, int]:
        """Band of a partition, and its place there."""
        return divmod(partition, self.width)

    def members(self, band: int) -> range:
        """Partitions of a band."""
        return range(band * self.width, min((band + 1) * self.width, self.partitions))


@dataclass(frozen=True, slots=True)
class Segment:
    """Sorted rows in a byte range of a file."""

    path: Path
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, compressed."""
        return self.end - self.start

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, a batch in memory at a time."""
        with pa.OSFile(str(self.path), "rb") as source:
            source.seek(self.start)
            yield from pa.ipc.open_stream(source)


class RunWriter:
    """Writes the segments of one run folder, a spill after the other."""

    def __init__(self, folder: Path, bands: Bands) -> None:
        self.folder, self.bands = folder, bands
        self.rows = self.bytes = self.spills = 0

    def spill(self, table: pa.Table, partition: npt.NDArray[np.int64]) -> None:
        """Add `table`, whose rows are sorted by partition and within it by key; `partition` rises."""
        edges = np.searchsorted(partition, np.arange(self.bands.partitions + 1)).tolist()
        options = pa.ipc.IpcWriteOptions(compression=_COMPRESSION)
        batch_rows = rows_a_batch(table)
        for band in range(len(self.bands)):
            with (
                (self.folder / _runs(band)).open("ab") as raw,
                (self.folder / _index(band)).open("ab") as index,
            ):
                offsets = [raw.tell()]
                for number in self.bands.members(band):
                    rows = table.slice(edges[number], edges[number + 1] - edges[number])
                    if rows.num_rows:
                        with pa.ipc.new_stream(raw, table.schema, options=options) as writer:
                            writer.write_table(rows, max_chunksize=batch_rows)
                    offsets.append(raw.tell())
                offsets += [offsets[-1]] * (self.bands.width + 1 - len(offsets))
                index.write(np.array(offsets, "<i8").tobytes())
                self.bytes += offsets[-1] - offsets[0]
        self.rows += table.num_rows
        self.spills += 1


def rows_a_batch(table: pa.Table) -> int:
    """Rows of this table that make about `BATCH_BYTES`."""
    mean = max(1, table.nbytes // max(1, table.num_rows))
    return int(max(1, min(_MAX_BATCH_ROWS, BATCH_BYTES // mean)))


def segments(folder: Path, bands: Bands, partition: int) -> list[Segment]:
    """The segments of a partition in one run folder, in the order of spills."""
    band, place = bands.of(partition)
    path = folder / _index(band)
    if not path.exists():
        return []
    stride = 8 * (bands.width + 1)
    found = []
    with path.open("rb") as index:
        for spill in range(path.stat().st_size // stride):
            index.seek(spill * stride + 8 * place)
            start, end = np.frombuffer(index.read(16), "<i8").tolist()
            if end > start:
                found.append(Segment(folder / _runs(band), start, end))
    return found


def write_segment(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> Segment:
    """Sorted tables as one segment in a file of its own: the middle of a merge of many passes."""
    with path.open("wb") as raw:
        with pa.ipc.new_stream(raw, schema, options=pa.ipc.IpcWriteOptions(compression=_COMPRESSION)) as writer:
            for table in tables:
                writer.write_table(table, max_chunksize=rows_a_batch(table))
        return Segment(path, 0, raw.tell())


def drop_band(folders: Sequence[Path], band: int) -> None:
    """Remove a band's files: its partitions are reduced and committed. The folders and their summaries stay."""
    for folder in folders:
        (folder / _runs(band)).unlink(missing_ok=True)
        (folder / _index(band)).unlink(missing_ok=True)


def _runs(band: int) -> str:
    return f"band-{band:02d}.runs"


def _index(band: int) -> str:
    return f"band-{band:02d}.index"

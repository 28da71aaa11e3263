"""Fingerprints of all documents of a build, kept by file of documents, and the numbers that documents go by meanwhile.

Documents are numbered through the files in the order of their paths. A number leads to a file and a row by one search,
so ids stay in the files and global steps move eight bytes a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, read_table, write_batches, write_table
from expedition.data.stages.dedup import Columns, NearRule, fingerprints
from expedition.data.stages.dedup.candidates import Numbers
from expedition.data.stages.dedup.find import rank_of
from expedition.data.stages.dedup.fingerprint import FINGERPRINT_SCHEMA
from expedition.data.stages.dedup.near import Sketches
from expedition.data.stages.dedup.resolve import Rank
from expedition.data.versions.code import code_version
from expedition.errors import CheckFailed
from expedition.workspace.hashes import sha256_json

PRINTS = "fingerprints.arrow"
_MEDIA_KINDS = frozenset({"image-text", "video-text", "audio-text", "driving"})
_COLUMNS = ("id", "source", "kind", "text", "meta")
_LEAST_BLOCKS = 64
"""Blocks where there are as many files, so that many workers can share them."""


@dataclass(frozen=True, slots=True)
class FingerprintFile:
    """Shard function: a file of documents into `fingerprints.arrow`, row for row."""

    rule: NearRule

    def __call__(self, path: Path, folder: Path) -> Summary:
        """The summary counts documents, those with bands, and bytes of text and of sketches."""
        counts = {"documents": 0, "near": 0, "text_bytes": 0, "sketch_bytes": 0, "media_keys": 0}
        batches = self._batches(path, counts)
        rows = write_batches(folder / PRINTS, FINGERPRINT_SCHEMA, batches)
        assert rows == counts["documents"]
        return {**counts, "counts": {"records_in": rows, "records_out": rows, "read_bytes": counts["text_bytes"]}}

    def _batches(self, path: Path, counts: dict[str, int]) -> Iterator[pa.RecordBatch]:
        for batch in read_batches(path, _COLUMNS):
            columns = dict(zip(_COLUMNS, batch.select(_COLUMNS).columns, strict=True))
            kinds = columns["kind"].to_pylist()
            phashes = [
                json.loads(meta or "{}").get("phash") if kind in _MEDIA_KINDS else None
                for kind, meta in zip(kinds, columns["meta"].to_pylist(), strict=True)
            ]
            ids, sources, texts = (columns[name].to_pylist() for name in ("id", "source", "text"))
            made = fingerprints(Columns(ids, sources, kinds, texts, phashes), self.rule)
            counts["documents"] += made.num_rows
            counts["near"] += made.num_rows - made.column("bands").null_count
            counts["text_bytes"] += columns["text"].nbytes
            counts["sketch_bytes"] += made.column("sketch").nbytes
            counts["media_keys"] += made.column("media_keys").nbytes // 8
            yield made


@dataclass(frozen=True, slots=True)
class Prints:
    """A handle on the fingerprints of a build: pickles as one path, whatever the number of files."""

    index: Path
    """Arrow table: a row a file, `documents` and `prints` (paths), `start` (number of the first document) and
    `sketch_bytes` (mean of its documents that have bands)."""
    width: int
    """Files of a block. A block's documents meet in one partition where rows go back to their files."""
    total: int
    """Documents."""
    near: int
    """Documents that have bands."""
    media_keys: int = 0
    """Keys of pictures, clips and sounds, about."""

    @property
    def files(self) -> int:
        """Files of documents."""
        return len(_loaded(self.index)[0])

    @property
    def blocks(self) -> int:
        """Blocks of files."""
        return max(1, -(-self.files // self.width))

    def table(self, file: int) -> pa.Table:
        """The fingerprints of a file, memory-mapped."""
        return read_table(Path(_loaded(self.index)[1][file]))

    def place_of(self, documents: Path) -> int:
        """Which file these documents are."""
        return _places(self.index)[str(documents)]

    def bounds(self, first: int, last: int) -> tuple[int, int]:
        """Numbers of the first document of file `first` and of the one after the last of file `last - 1`."""
        starts = _loaded(self.index)[2]
        return int(starts[first]), int(starts[min(last, self.files)])

    def file_of(self, numbers: Numbers) -> Numbers:
        """File of each document."""
        return np.searchsorted(_loaded(self.index)[2], numbers, side="right").astype(np.int64) - 1

    def block_of(self, numbers: Numbers) -> Numbers:
        """Block of each document."""
        return self.file_of(numbers) // self.width

    def rank(self, numbers: Numbers, preference: Mapping[str, int]) -> Rank:
        """Ranks of documents; `numbers` rise."""
        parts = [rank_of(self.table(file), rows, preference) for file, rows in self.by_file(numbers)]
        if not parts:
            return Rank(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))
        columns = ([getattr(part, name) for part in parts] for name in ("place", "length", "tie"))
        return Rank(*(np.concatenate(column) for column in columns))

    def ids(self, numbers: Numbers) -> list[str]:
        """Ids of documents; `numbers` rise."""
        found: list[str] = []
        for file, rows in self.by_file(numbers):
            found += self.table(file).column("id").take(pa.array(rows)).to_pylist()
        return found

    def sketches(self, numbers: Numbers) -> Sketches:
        """Sketches of rising numbers of documents that have them, copied: every file is opened once."""
        return Sketches.joined(
            [
                Sketches.of(self.table(file).column("sketch").take(pa.array(rows)).chunks)
                for file, rows in self.by_file(numbers)
            ]
        )

    def sketch_bytes(self, numbers: Numbers) -> npt.NDArray[np.float64]:
        """What the sketch of each document takes, about: the mean of its file."""
        means: npt.NDArray[np.float64] = _loaded(self.index)[3]
        return means[self.file_of(numbers)]

    def by_file(self, numbers: Numbers) -> Iterator[tuple[int, Numbers]]:
        """Rising numbers as (file, rows in it)."""
        files, starts = self.file_of(numbers), _loaded(self.index)[2]
        edges = np.flatnonzero(np.diff(files)) + 1
        for mine, first in zip(np.split(numbers, edges), [0, *edges.tolist()], strict=True):
            if len(mine):
                yield int(files[first]), mine - starts[files[first]]


def make_prints(
    paths: Sequence[Path], rule: NearRule, kept: Path, workdir: Path, block_documents: int, limits: Limits
) -> Prints:
    """Fingerprint the files of documents that are not yet fingerprinted under `kept`. Blocking, restartable.

    `kept` may be shared by versions: a file is known by its path, size and time, and committed files never change.
    """
    ordered = sorted(paths)
    folder = kept / sha256_json([code_version(), repr(rule)])[:16] / "fingerprint"
    tasks = [Task(_key(path), path) for path in ordered]
    outcomes = map_shards(FingerprintFile(rule), tasks, folder, limits)
    for path, outcome in zip(ordered, outcomes, strict=True):
        if outcome.quarantined is not None:
            raise CheckFailed(f"fingerprints of {path} failed: {outcome.quarantined}", where=str(outcome.folder))
    counts = [outcome.summary["documents"] for outcome in outcomes]
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    rows = {
        "documents": [*map(str, ordered), ""],
        "prints": [*(str(item.folder / PRINTS) for item in outcomes), ""],
        "start": starts,
        "sketch_bytes": [*(item.summary["sketch_bytes"] / max(1, item.summary["near"]) for item in outcomes), 0.0],
    }
    index = workdir / f"prints-{sha256_json([rows['documents'], rows['prints'], starts.tolist()])[:16]}.arrow"
    if not index.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        aside = index.with_suffix(".tmp")
        write_table(aside, pa.table(rows))
        aside.rename(index)
    mean = max(1.0, float(starts[-1]) / max(1, len(ordered)))
    width = max(1, min(int(block_documents // mean), -(-len(ordered) // _LEAST_BLOCKS)))
    return Prints(
        index,
        width,
        int(starts[-1]),
        *(sum(item.summary[name] for item in outcomes) for name in ("near", "media_keys")),
    )


@lru_cache(maxsize=2)
def _loaded(
    index: Path,
) -> tuple[list[str], list[str], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    table = read_table(index)
    names = [table.column(name).to_pylist()[:-1] for name in ("documents", "prints")]
    return names[0], names[1], table.column("start").to_numpy().copy(), table.column("sketch_bytes").to_numpy().copy()


@lru_cache(maxsize=2)
def _places(index: Path) -> dict[str, int]:
    return {name: place for place, name in enumerate(_loaded(index)[0])}


def _key(path: Path) -> str:
    told = path.stat()
    return f"f-{sha256_json([str(path), told.st_size, told.st_mtime_ns])[:32]}"

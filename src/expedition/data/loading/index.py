"""The index of a dataset version in memory: each document's shard, offsets, counts and media, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from expedition.data.records import KINDS
from expedition.errors import InputError
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace, layout

IntArray = npt.NDArray[np.int64]

MEDIA_KINDS = ("image", "video", "audio")
BRACKET_TOKENS = 2
"""Start and end token around the pad tokens of a picture, clip or sound."""

_DOCUMENT_COLUMNS = ("tokens", "tokens_offset", "tokens_bytes", "json_offset", "json_bytes")
_MEDIA_COLUMNS = ("offset", "bytes", "width", "height", "frames", "samples")


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """One picture, clip or sound inside a shard: payload offset and size in bytes, and what its size depends on."""

    kind: str
    offset: int
    bytes: int
    width: int
    height: int
    frames: int
    samples: int


@dataclass(frozen=True, slots=True)
class Expansion:
    """What documents become in a batch, by document: tokens with expanded media, vision patches, mel frames."""

    tokens: IntArray
    patches: IntArray
    mel_frames: IntArray


@dataclass(frozen=True, slots=True)
class DocumentIndex:
    """Columns by document (row number = document number); media of document d: media_first[d]..media_first[d+1]."""

    shards: tuple[str, ...]
    ids: tuple[str, ...]
    sources: tuple[str, ...]
    shard: IntArray
    kind: IntArray
    columns: dict[str, IntArray]
    media_first: IntArray
    media_kind: IntArray
    media_columns: dict[str, IntArray]

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self.ids)

    def media(self, document: int) -> list[MediaSpan]:
        """Media of a document in order."""
        rows = range(int(self.media_first[document]), int(self.media_first[document + 1]))
        return [self._span(row) for row in rows]

    def expansion(self, rule: MediaRule) -> Expansion:
        """Sizes of every document under `rule`."""
        counts = np.zeros((len(self.media_kind), 3), dtype=np.int64)
        for row in range(len(self.media_kind)):
            counts[row] = _media_size(self._span(row), rule)
        sums = np.concatenate((np.zeros((1, 3), dtype=np.int64), np.cumsum(counts, axis=0)))
        by_document = sums[self.media_first[1:]] - sums[self.media_first[:-1]]
        media = np.diff(self.media_first)
        tokens = self.columns["tokens"] + by_document[:, 0] + media * (BRACKET_TOKENS - 1)
        return Expansion(tokens, by_document[:, 1], by_document[:, 2])

    def _span(self, row: int) -> MediaSpan:
        values = [int(self.media_columns[name][row]) for name in _MEDIA_COLUMNS]
        return MediaSpan(MEDIA_KINDS[int(self.media_kind[row])], *values)


def media_tokens(span: MediaSpan, rule: MediaRule) -> int:
    """Pad tokens of a picture, clip or sound, without its start and end tokens."""
    return _media_size(span, rule)[0]


def load_index(ws: Workspace, version: str, dataset: str = layout.DATASET) -> DocumentIndex:
    """Read `index/documents.parquet` of a dataset version. Raises InputError if it is not of that form."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = f"{layout.dataset(version, dataset)}/index/documents.parquet"
    try:
        table = pq.read_table(ws.store.local(key)).combine_chunks()
        shard_names = table.column("shard").to_pylist()
        shards = tuple(sorted(set(shard_names)))
        number = {name: position for position, name in enumerate(shards)}
        media = table.column("media").combine_chunks()
        rows = media.flatten()
        return DocumentIndex(
            shards=shards,
            ids=tuple(table.column("id").to_pylist()),
            sources=tuple(table.column("source").to_pylist()),
            shard=np.asarray([number[name] for name in shard_names], dtype=np.int64),
            kind=np.asarray([KINDS.index(kind) for kind in table.column("kind").to_pylist()], dtype=np.int64),
            columns={name: _integers(table.column(name)) for name in _DOCUMENT_COLUMNS},
            media_first=np.concatenate(([0], np.cumsum(_integers(media.value_lengths())))).astype(np.int64),
            media_kind=np.asarray([MEDIA_KINDS.index(kind) for kind in rows.field("kind").to_pylist()], dtype=np.int64),
            media_columns={name: _integers(rows.field(name)) for name in _MEDIA_COLUMNS},
        )
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"the index of {dataset} {version} is damaged: {error}", where=key) from error


def _integers(column: object) -> IntArray:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


@lru_cache(maxsize=65_536)
def _size_of(kind: str, width: int, height: int, frames: int, samples: int, rule: MediaRule) -> tuple[int, int, int]:
    if kind == "audio":
        mel_frames = rule.audio_frames(samples)
        return rule.audio_tokens(mel_frames), 0, mel_frames
    grid = rule.image_grid(height, width) if kind == "image" else rule.video_grid(frames, height, width)
    return rule.grid_tokens(grid), grid[0] * grid[1] * grid[2], 0


def _media_size(span: MediaSpan, rule: MediaRule) -> tuple[int, int, int]:
    """(pad tokens, patches, mel frames)."""
    return _size_of(span.kind, span.width, span.height, span.frames, span.samples, rule)

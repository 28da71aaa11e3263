"""The index of a dataset version: each document's shard, offsets, counts and media, as columns that are mapped on demand.

Made once from `index/documents.parquet` and the manifest: `index/documents-<fingerprint>/` holds a table (which shard
and which part begin at which document) and parts of about `PART_DOCUMENTS` documents, each whole shards. Derived:
delete it and it is made again, equal. Opening reads the table alone: 8 bytes a shard and part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.derived import PART_FILE, make_parts
from expedition.data.loading.flat import Blocks, Column, Flat, Parted, encode, open_flat
from expedition.data.records import KINDS
from expedition.errors import InputError
from expedition.plan.media import MediaRule
from expedition.workspace import Store, Workspace, layout
from expedition.workspace.hashes import sha256_json
from expedition.workspace.store import FolderStore

IntArray = npt.NDArray[np.int64]

SCHEMA = "data.documents/1"
PART_DOCUMENTS = 1 << 18
"""A part ends with the shard in which it reaches this many documents; a part is what planning holds in memory."""
MEDIA_KINDS = ("image", "video", "audio")
BRACKET_TOKENS = 2
"""Start and end token around the pad tokens of a picture, clip or sound."""

_DOCUMENT_COLUMNS = {
    "tokens": "i4",
    "tokens_offset": "i8",
    "tokens_bytes": "i8",
    "json_offset": "i8",
    "json_bytes": "i8",
}
_MEDIA_COLUMNS = {"offset": "i8", "bytes": "i8", "width": "i4", "height": "i4", "frames": "i4", "samples": "i8"}


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


@dataclass(frozen=True)
class DocumentPart:
    """The documents first..first+len(tokens) of a version, in memory; `source` and `language` number the names."""

    first: int
    sources: tuple[str, ...]
    languages: tuple[str, ...]
    shard: IntArray
    kind: IntArray
    source: IntArray
    language: IntArray
    tokens: IntArray
    id_first: IntArray
    id_bytes: npt.NDArray[np.uint8]
    media_first: IntArray
    media: Mapping[str, IntArray]

    def expansion(self, rule: MediaRule) -> Expansion:
        """Sizes of every document under `rule`."""
        names = ("kind", "width", "height", "frames", "samples")
        rows = np.stack([self.media[name] for name in names], axis=1)
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        sizes = [_size_of(MEDIA_KINDS[row[0]], *row[1:], rule) for row in distinct.tolist()]
        counts = np.asarray(sizes, dtype=np.int64).reshape(-1, 3)[inverse.ravel()]
        sums = np.concatenate((np.zeros((1, 3), dtype=np.int64), np.cumsum(counts, axis=0)))
        by_document = sums[self.media_first[1:]] - sums[self.media_first[:-1]]
        tokens = self.tokens + by_document[:, 0] + np.diff(self.media_first) * (BRACKET_TOKENS - 1)
        return Expansion(tokens, by_document[:, 1], by_document[:, 2])

    @cached_property
    def ids(self) -> list[str]:
        """The documents' ids."""
        data, ends = self.id_bytes.tobytes(), self.id_first.tolist()
        return [data[start:end].decode() for start, end in pairwise(ends)]


class DocumentIndex:
    """The documents of a version by number. Safe for many threads; nothing is read before it is asked for."""

    def __init__(self, table: Flat, shards: tuple[str, ...], parts: Parted) -> None:
        self.shards = shards
        """Paths of the shards inside the version, in the manifest's order."""
        self.shard_firsts = table.read("shard_first")
        """First document of each shard, and the end [shards + 1]."""
        self.part_shards = table.read("part_shard")
        """First shard of each part, and the end [parts + 1]."""
        self.table = parts
        self.columns: dict[str, Column] = {name: parts.column(name) for name in _DOCUMENT_COLUMNS}
        self.kind = parts.column("kind")

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self.table)

    @property
    def ids(self) -> _Names:
        """Id of each document."""
        return _Names(self.id)

    @property
    def sources(self) -> _Names:
        """Source of each document."""
        return _Names(self.source)

    @property
    def shard(self) -> _ShardNumbers:
        """Number of the shard of each document."""
        return _ShardNumbers(self.shard_firsts)

    def id(self, document: int) -> str:
        """Id of a document."""
        flat, row = self.table.find(document)
        start, end = flat.read("id_first", row, row + 2).tolist()
        return bytes(flat.read("id_bytes", start, end)).decode()

    def source(self, document: int) -> str:
        """Source of a document."""
        flat, row = self.table.find(document)
        return str(flat.meta["sources"][int(flat.read("source", row, row + 1)[0])])

    def language(self, document: int) -> str:
        """Language of a document."""
        flat, row = self.table.find(document)
        return str(flat.meta["languages"][int(flat.read("language", row, row + 1)[0])])

    def stored(self, document: int) -> tuple[int, int, int]:
        """A document's number of stored tokens, and where they lie: offset and size in bytes."""
        flat, row = self.table.find(document)
        names = ("tokens", "tokens_offset", "tokens_bytes")
        count, offset, size = (int(flat.read(name, row, row + 1)[0]) for name in names)
        return count, offset, size

    def media(self, document: int) -> list[MediaSpan]:
        """Media of a document in order."""
        flat, row = self.table.find(document)
        start, end = flat.read("media_first", row, row + 2).tolist()
        if start == end:
            return []
        kinds = flat.read("media_kind", start, end).tolist()
        columns = [flat.read(f"media_{name}", start, end).tolist() for name in _MEDIA_COLUMNS]
        return [MediaSpan(MEDIA_KINDS[kind], *values) for kind, *values in zip(kinds, *columns, strict=True)]

    def part(self, number: int) -> DocumentPart:
        """All documents of a part in memory, without offsets."""
        flat = self.table.part(number)
        first_shard, end_shard = self.part_shards[number : number + 2].tolist()
        shards = np.arange(first_shard, end_shard)
        names = ("kind", "source", "language", "tokens", "id_first", "media_first")
        columns = {name: flat.read(name).astype(np.int64) for name in names}
        return DocumentPart(
            first=int(self.table.firsts[number]),
            sources=tuple(flat.meta["sources"]),
            languages=tuple(flat.meta["languages"]),
            shard=np.repeat(shards, np.diff(self.shard_firsts)[first_shard:end_shard]),
            id_bytes=flat.read("id_bytes"),
            media={name: flat.read(f"media_{name}").astype(np.int64) for name in ("kind", *_MEDIA_COLUMNS)},
            **columns,
        )

    def parts(self) -> Iterator[DocumentPart]:
        """Every part, one at a time."""
        return (self.part(number) for number in range(self.table.parts))


class _Names:
    """Strings by document number."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getitem__(self, document: int) -> str:
        return str(self._of(int(document)))


class _ShardNumbers:
    """Shard number by document number."""

    def __init__(self, firsts: IntArray) -> None:
        self._firsts = firsts

    def __getitem__(self, document: Any) -> Any:
        return self._firsts.searchsorted(document, "right") - 1


def media_size(span: MediaSpan, rule: MediaRule) -> tuple[int, int, int]:
    """(pad tokens without start and end tokens, patches, mel frames) of a picture, clip or sound."""
    return _size_of(span.kind, span.width, span.height, span.frames, span.samples, rule)


@lru_cache(maxsize=65_536)
def _size_of(kind: str, width: int, height: int, frames: int, samples: int, rule: MediaRule) -> tuple[int, int, int]:
    """(pad tokens, patches, mel frames)."""
    if kind == "audio":
        mel_frames = rule.audio_frames(samples)
        return rule.audio_tokens(mel_frames), 0, mel_frames
    grid = rule.image_grid(height, width) if kind == "image" else rule.video_grid(frames, height, width)
    return rule.grid_tokens(grid), grid[0] * grid[1] * grid[2], 0


def open_index(
    ws: Workspace,
    version: str,
    dataset: str = layout.DATASET,
    manifest: Mapping[str, Any] | None = None,
    part_documents: int = PART_DOCUMENTS,
) -> DocumentIndex:
    """The index of a version, made where it is missing. Idempotent; safe for many processes.

    `manifest`: the version's, if it was read already. `part_documents` decides how the rows lie in files, nothing else.

    Raises InputError if the version's Parquet index is missing, damaged, or not that of its manifest.
    """
    manifest = ws.read_json(layout.manifest(version, dataset)) if manifest is None else manifest
    folder = layout.dataset(version, dataset)
    fingerprint = sha256_json({"schema": SCHEMA, "content": manifest["content_hash"], "part": part_documents})[:16]
    place = f"{folder}/index/documents-{fingerprint}"
    task = _IndexTask(ws.place, f"{folder}/index/documents.parquet")
    table = make_parts(ws, place, SCHEMA, partial(_plan, manifest, task, part_documents), _index_table)
    shards = tuple(shard["path"] for shard in manifest["shards"])
    firsts, blocks = table.read("part_first"), Blocks(ws.store)
    names = [f"{place}/part-{number:06d}.flat" for number in range(len(firsts) - 1)]
    return DocumentIndex(table, shards, Parted(firsts, lambda n: open_flat(ws.store, names[n], SCHEMA, blocks)))


@dataclass(frozen=True, slots=True)
class _Span:
    """Documents first..end of shards first_shard..: one part."""

    first: int
    end: int
    first_shard: int
    shards: tuple[tuple[str, int], ...]
    """(path, documents) of each shard."""


@dataclass(frozen=True, slots=True)
class _IndexTask:
    """Writes one part of the index from the version's Parquet table."""

    place: str
    key: str

    def __call__(self, span: _Span, folder: Path) -> dict[str, Any]:
        ws = Workspace.open(self.place)
        columns, meta = _part_columns(_rows(ws.store, self.key, span.first, span.end), span, self.key)
        (folder / PART_FILE).write_bytes(encode(columns, meta, SCHEMA))
        return {"first": span.first, "first_shard": span.first_shard, "shards": [n for _, n in span.shards]}


def _plan(manifest: Mapping[str, Any], task: _IndexTask, part_documents: int) -> tuple[_IndexTask, list[_Span]]:
    """The parts: whole shards, about `part_documents` documents each."""
    spans: list[_Span] = []
    first, first_shard, held, count = 0, 0, [], 0
    for number, shard in enumerate(manifest["shards"]):
        held.append((str(shard["path"]), int(shard["documents"])))
        count += held[-1][1]
        if count >= part_documents or number + 1 == len(manifest["shards"]):
            spans.append(_Span(first, first + count, first_shard, tuple(held)))
            first, first_shard, held, count = first + count, number + 1, [], 0
    return task, spans


def _index_table(summaries: list[dict[str, Any]]) -> tuple[dict[str, IntArray], dict[str, Any]]:
    counts = [count for summary in summaries for count in summary["shards"]]
    ends = np.concatenate(([0], np.cumsum(np.asarray(counts, dtype=np.int64))))
    part_shards = [summary["first_shard"] for summary in summaries]
    return {
        "shard_first": ends,
        "part_shard": np.asarray([*part_shards, len(counts)], dtype=np.int64),
        "part_first": np.asarray([*(summary["first"] for summary in summaries), ends[-1]], dtype=np.int64),
    }, {"documents": int(ends[-1])}


def _rows(store: Store, key: str, first: int, end: int) -> Any:
    """Rows first..end of the Parquet table; from an object store only their row groups are fetched."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from expedition.data.loading.ranged import RangedFile

    names = ["id", "shard", "kind", "source", "language", *_DOCUMENT_COLUMNS, "media"]
    try:
        source = store.local(key) if isinstance(store, FolderStore) else RangedFile(store, key)
        with pq.ParquetFile(source) as file:
            metadata = file.metadata
            ends = np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])
            low, high = int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, end, "left"))
            if not len(ends) or int(ends[-1]) < end:
                raise ValueError(f"it has {int(ends[-1]) if len(ends) else 0} documents, the manifest at least {end}")
            before = int(ends[low - 1]) if low else 0
            table = file.read_row_groups(list(range(low, min(high, len(ends) - 1) + 1)), columns=names)
        return table.slice(first - before, end - first).combine_chunks()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _damaged(key, error) from error


def _damaged(key: str, error: object) -> InputError:
    return InputError(
        f"the index is damaged: {error}", where=key, fix="restore it from a copy, or build the version again"
    )


def _part_columns(table: Any, span: _Span, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and meta of one part from its rows."""
    import pyarrow as pa

    try:
        _check_shards(table, span)
        ids = table.column("id").combine_chunks().cast(pa.large_string())
        offsets = np.frombuffer(ids.buffers()[1], dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
        text = np.frombuffer(ids.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
        media = table.column("media").combine_chunks()
        rows = media.flatten()
        source, sources = _numbered(table.column("source"))
        language, languages = _numbered(table.column("language"))
        columns: dict[str, Any] = {
            "kind": _of_names(table.column("kind"), KINDS).astype("u1"),
            "source": source.astype("i4"),
            "language": language.astype("i4"),
            **{name: _integers(table.column(name)).astype(kind) for name, kind in _DOCUMENT_COLUMNS.items()},
            "id_first": offsets - offsets[0],
            "id_bytes": text,
            "media_first": np.concatenate(([0], np.cumsum(_integers(media.value_lengths())))).astype(np.int64),
            "media_kind": _of_names(rows.field("kind"), MEDIA_KINDS).astype("u1"),
            **{f"media_{name}": _integers(rows.field(name)).astype(kind) for name, kind in _MEDIA_COLUMNS.items()},
        }
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise _damaged(key, error) from error
    return columns, {"sources": sources, "languages": languages}


def _check_shards(table: Any, span: _Span) -> None:
    """Raise ValueError unless the rows are those of the span's shards in order."""
    encoded = table.column("shard").combine_chunks().dictionary_encode()
    names, number = encoded.dictionary.to_pylist(), np.asarray(encoded.indices)
    first = 0
    for path, documents in span.shards:
        found = set(np.unique(number[first : first + documents]).tolist())
        if documents and [names[item] for item in found] != [path]:
            raise ValueError(f"documents {span.first + first}.. are not those of {path}, as the manifest says")
        first += documents


def _numbered(column: Any) -> tuple[IntArray, list[str]]:
    """A string column as numbers into its sorted distinct values; null is "und"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.fill_null(whole, "und").dictionary_encode()
    names = encoded.dictionary.to_pylist()
    ordered = sorted(names)
    number = np.asarray([ordered.index(name) for name in names], dtype=np.int64)
    return number[np.asarray(encoded.indices)] if names else np.zeros(0, dtype=np.int64), ordered


def _of_names(column: Any, known: tuple[str, ...]) -> IntArray:
    """Numbers of names in `known`. Raises ValueError for another."""
    number, names = _numbered(column)
    return np.asarray([known.index(name) for name in names], dtype=np.int64)[number]


def _integers(column: object) -> IntArray:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), dtype=np.int64)

"""`export`: a version in the formats that other people's trainers read, one file a shard, streaming.

webdataset   the shards as they are, with the index of `wids` (shard list with sizes) beside them
tfrecord     one tf.train.Example a document
parquet      one row a document, media as bytes

Tokens are those that are stored: one id stands for each medium. The same version gives the same bytes. Files appear
under their names when they are whole, so an export that was stopped goes on with the file that is missing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance import require_approval
from expedition.data.versions.index import INDEX
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.push import fetch
from expedition.data.versions.shards import read_tokens
from expedition.data.versions.tfrecord import Feature, encode_example, write_record
from expedition.data.versions.verification import BytesProgress, Expected
from expedition.errors import CheckFailed, InputError, UsageError
from expedition.workspace import Workspace, layout
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors, write_atomic
from expedition.workspace.hashes import sha256_file
from expedition.workspace.store import FolderStore
from expedition.workspace.workspace import json_artefact

NOTE = "export.json"
SCHEMA = "data.export/1"
SUFFIXES = {"tfrecord": ".tfrecord", "webdataset": ".tar", "parquet": ".parquet"}
"""Formats, and how their files end."""
_ROWS = 64
_MEDIUM = pa.struct(
    [
        pa.field("kind", pa.string()),
        pa.field("data", pa.large_binary()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("frames", pa.int32()),
        pa.field("samples", pa.int64()),
    ]
)
PARQUET_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("text", pa.large_string()),
        ("url", pa.string()),
        ("licence", pa.string()),
        ("json", pa.large_string()),
        ("tokens", pa.list_(pa.int32())),
        ("media", pa.list_(_MEDIUM)),
    ]
)
"""One row a document; U+FFFC in `text` stands for one insert, `json` is the document's whole description."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A document of a shard with its payloads."""

    row: dict[str, Any]
    json: bytes
    tokens: np.ndarray[Any, np.dtype[np.int32]]
    media: list[bytes]


def export_version(
    ws: Workspace,
    version: str,
    folder: Path | str,
    format: str,
    *,
    dataset: str = layout.DATASET,
    threads: int | None = None,
    progress: BytesProgress | None = None,
) -> dict[str, Any]:
    """Write a version into `folder` in another format; blocking, resumable, a document in memory at a time and thread.

    Raises ComplianceRefused if a source has no approval in force now, UsageError if the folder holds another export,
    CheckFailed if a shard was damaged. Writes export.json last: what was exported, with the hash of each file.
    """
    if format not in SUFFIXES:
        raise UsageError(f"no format {format!r}", fix=f"one of: {', '.join(SUFFIXES)}")
    manifest = read_manifest(ws, version, dataset)
    for source in manifest["sources"]:
        require_approval(ws, source["name"], scope=str(manifest.get("scope", "training")))
    target = Path(folder)
    note = {
        "dataset": dataset,
        "version": version,
        "content_hash": manifest["content_hash"],
        "tokenizer_fingerprint": manifest["tokenizer_fingerprint"],
        "format": format,
    }
    finished = _begin(target, note)
    if finished is not None:
        return finished
    work = _Export(ws, layout.dataset(version, dataset), target, format)
    total, done = sum(shard["bytes"] for shard in manifest["shards"]), 0
    files = []
    with ThreadPoolExecutor(threads or 2) as pool:
        try:
            for shard, made in zip(manifest["shards"], pool.map(work.one, manifest["shards"]), strict=True):
                files.append(made)
                done += shard["bytes"]
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if format == "webdataset":
        _write_wids(target, f"{dataset}-{version}", files)
    result = {**note, "documents": manifest["documents"], "tokens": manifest["tokens"], "files": files, "whole": True}
    write_atomic(target / NOTE, json_artefact(result, SCHEMA))
    return result


def _begin(target: Path, note: dict[str, Any]) -> dict[str, Any] | None:
    """Take the folder for this export; the note of a finished one if that is what it holds."""
    path = target / NOTE
    before: Any = None
    if path.exists():
        try:
            before = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(
                f"not readable as JSON: {error}", where=str(path), fix="export into a new folder"
            ) from error
    if before is None:
        if target.is_dir() and any(target.iterdir()):
            raise UsageError("the folder is not empty and holds no export", where=str(target), fix="give a new folder")
        write_atomic(path, json_artefact({**note, "whole": False}, SCHEMA))
        return None
    if not isinstance(before, dict) or any(before.get(name) != value for name, value in note.items()):
        raise UsageError("the folder holds another export", where=str(path), fix="give a new folder")
    if not before.get("whole"):
        return None
    return {name: value for name, value in before.items() if name != "schema"}


class _Export:
    """The exporter of one version into one folder; `one` is called from several threads."""

    def __init__(self, ws: Workspace, folder: str, target: Path, format: str) -> None:
        self.ws, self.folder, self.target, self.format = ws, folder, target, format
        self.index = ws.store.local(f"{folder}/{INDEX}")
        self.groups = {} if format == "webdataset" else _row_groups(self.index)

    def one(self, shard: dict[str, Any]) -> dict[str, Any]:
        """Write one shard's file, unless it is there; {path, sha256, bytes, documents}."""
        path = self.target / (Path(shard["path"]).stem + SUFFIXES[self.format])
        if not path.exists():
            self._write(shard, path)
        return {
            "path": path.name,
            "sha256": sha256_file(path),
            "bytes": path.stat().st_size,
            "documents": shard["documents"],
        }

    def _write(self, shard: dict[str, Any], path: Path) -> None:
        wanted = Expected(f"{self.folder}/{shard['path']}", shard["sha256"], shard["bytes"])
        if self.format == "webdataset":
            fetch(self.ws.store, wanted, path)
            return
        source, mine = self._source(wanted, path)
        aside = path.with_name(f"{ASIDE_PREFIX}{path.name[:100]}-{uuid.uuid4().hex[:8]}")
        try:
            with storage_errors(path):
                write = _write_tfrecord if self.format == "tfrecord" else _write_parquet
                write(aside, self._documents(shard["path"], source))
                commit_file(aside, path)
        finally:
            aside.unlink(missing_ok=True)
            if mine:
                source.unlink(missing_ok=True)

    def _source(self, wanted: Expected, path: Path) -> tuple[Path, bool]:
        """A local file with the shard, hashed; and whether it is to be deleted afterwards."""
        if isinstance(self.ws.store, FolderStore):
            source = self.ws.store.local(wanted.path)
            if sha256_file(source) != wanted.sha256:
                raise CheckFailed("the shard was changed after the version was built", where=wanted.path)
            return source, False
        aside = path.with_name(f"{ASIDE_PREFIX}shard-{uuid.uuid4().hex[:8]}")
        fetch(self.ws.store, wanted, aside)
        return aside, True

    def _documents(self, shard: str, source: Path) -> Iterator[Exported]:
        descriptor = os.open(source, os.O_RDONLY)
        try:
            with pq.ParquetFile(self.index) as index:
                for batch in index.iter_batches(batch_size=_ROWS, row_groups=self.groups.get(shard, [])):
                    for row in batch.to_pylist():
                        if row["shard"] == shard:
                            yield _document(descriptor, row)
        finally:
            os.close(descriptor)


def _row_groups(index: Path) -> dict[str, list[int]]:
    """Row groups of an index by shard: its rows are in the order of shards, so each needs a few of them only."""
    groups: dict[str, list[int]] = {}
    with pq.ParquetFile(index) as file:
        for number in range(file.num_row_groups):
            column = file.read_row_group(number, columns=["shard"]).column("shard")
            for shard in column.unique().to_pylist():
                groups.setdefault(shard, []).append(number)
    return groups


def _document(descriptor: int, row: dict[str, Any]) -> Exported:
    def read(offset: int, size: int) -> bytes:
        return os.pread(descriptor, size, offset)

    return Exported(
        row,
        read(row["json_offset"], row["json_bytes"]),
        read_tokens(read(row["tokens_offset"], row["tokens_bytes"])),
        [read(medium["offset"], medium["bytes"]) for medium in row["media"]],
    )


def features_of(document: Exported) -> dict[str, Feature]:
    """A document as the features of a tf.train.Example; media are parallel lists under `media/…`."""
    told = json.loads(document.json)
    media = document.row["media"]
    features: dict[str, Feature] = {
        "id": [told["id"].encode()],
        "kind": [told["kind"].encode()],
        "source": [told["source"].encode()],
        "language": [told["language"].encode()],
        "text": [told["text"].encode()],
        "json": [document.json],
        "tokens": document.tokens.astype(np.int64),
        "media/kind": [medium["kind"].encode() for medium in media],
        "media/data": document.media,
    }
    for name in ("width", "height", "frames", "samples"):
        features[f"media/{name}"] = np.asarray([medium[name] for medium in media], np.int64)
    return features


def _write_tfrecord(path: Path, documents: Iterator[Exported]) -> None:
    with path.open("wb") as file:
        for document in documents:
            write_record(file, encode_example(features_of(document)))


def _write_parquet(path: Path, documents: Iterator[Exported]) -> None:
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, PARQUET_SCHEMA, compression="zstd") as writer:
        for document in documents:
            rows.append(_parquet_row(document))
            if len(rows) == _ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=PARQUET_SCHEMA))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=PARQUET_SCHEMA))


def _parquet_row(document: Exported) -> dict[str, Any]:
    told = json.loads(document.json)
    names = ("kind", "width", "height", "frames", "samples")
    media = [
        {**{name: medium[name] for name in names}, "data": data}
        for medium, data in zip(document.row["media"], document.media, strict=True)
    ]
    kept = {name: told.get(name) for name in ("id", "kind", "source", "language", "text", "url", "licence")}
    return {**kept, "json": document.json.decode(), "tokens": document.tokens, "media": media}


def _write_wids(target: Path, name: str, files: list[dict[str, Any]]) -> None:
    """The shard list that `webdataset`'s indexed reader (wids) takes."""
    listed = [{"url": item["path"], "nsamples": item["documents"], "filesize": item["bytes"]} for item in files]
    body = json.dumps(
        {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": listed}, indent=1
    )
    with suppress(FileNotFoundError):
        (target / "shards.json").unlink()
    write_atomic(target / "shards.json", body.encode() + b"\n")

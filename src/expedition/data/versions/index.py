"""The tables of a version, one row a document: index (where it lies), lineage (where it comes from), statistics.

parts      a shard's rows of each table, in files of their own (shard map, a batch in memory)
tables     the parts one after the other, in row groups of `ROW_GROUP_ROWS` (the building process, a row group in memory)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance import Acquired
from expedition.data.engine import Limits, Outcome, Task, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_table
from expedition.data.versions.shards import PLACED_MEDIA_TYPE
from expedition.errors import CheckFailed
from expedition.workspace.hashes import sha256_json

INDEX = "index/documents.parquet"
LINEAGE = "lineage.parquet"
STATISTICS = "statistics.parquet"
SHARD_STATISTICS = "shard-statistics.parquet"
DROPPED = "dropped.parquet"
MODALITIES = ("text", "image", "video", "audio")
ROW_GROUP_ROWS = 1 << 16
"""Rows of a row group of every table: what its writer holds and a reader reads at least."""
_PARTS = "parts"
_INDEX_PART, _LINEAGE_PART, _SUMS_PART = "index.arrow", "lineage.arrow", "statistics.arrow"

INDEX_SCHEMA = pa.schema(
    [
        ("doc", pa.int64()),
        ("id", pa.string()),
        ("shard", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("language", pa.string()),
        ("tokens", pa.int32()),
        ("tokens_offset", pa.int64()),
        ("tokens_bytes", pa.int64()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
        ("media", pa.list_(PLACED_MEDIA_TYPE)),
    ]
)
"""`tokens` is the stored count; offsets are those of payloads inside the shard's tar, in bytes."""

LINEAGE_SCHEMA = pa.schema(
    [
        ("doc", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("path", pa.string()),
        ("inner", pa.string()),
        ("url", pa.string()),
        ("licence", pa.string()),
        ("token_first", pa.int64()),
        ("token_end", pa.int64()),
        ("acquired_at", pa.string()),
        ("approval_id", pa.string()),
        ("decisions", pa.string()),
    ]
)
"""Stored tokens [token_first, token_end) of the version, counted over its documents in order, come from this item.

`decisions` is what stages changed in the document: see `decisions.parse_decisions`."""

STATISTICS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("kind", pa.string()),
        ("language", pa.string()),
        ("documents", pa.int64()),
        ("characters", pa.int64()),
        ("tokens", pa.int64()),
        *((f"{name}_tokens", pa.int64()) for name in MODALITIES),
    ]
)
"""Sums by source, kind and language; `<modality>_tokens` are after the loader's expansion."""

SHARD_STATISTICS_SCHEMA = pa.schema([("shard", pa.string()), *STATISTICS_SCHEMA])
"""The same sums a shard, in the order of shards; `shard` is its path in the version."""

DROPPED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("path", pa.string()),
        ("inner", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("of", pa.string()),
        ("decisions", pa.string()),
    ]
)
"""Documents that are not in the version: which stage dropped them, why, and which document they repeat (`of`).

`inner` says where in its file a document was found; a file or part that did not decode has an empty id and kind and
the stage "decode"."""


@dataclass(frozen=True, slots=True)
class BuiltShard:
    """A finished shard: its key under the version, its local folder's tables, content hash and size."""

    path: str
    placed: Path
    sha256: str
    bytes: int
    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """When a source's items were acquired and under which approval they are used."""

    acquired: Acquired
    approval_id: str


class RowGroups:
    """A Parquet file whose row groups have `ROW_GROUP_ROWS` rows, the last fewer, in whatever pieces the rows come."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of the schema."""
        while batch.num_rows:
            part = batch.slice(0, ROW_GROUP_ROWS - self._held_rows)
            batch = batch.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            if self._held_rows == ROW_GROUP_ROWS:
                self._flush()

    def __enter__(self) -> RowGroups:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        # In one chunk: the encoder begins anew at each, so bytes would tell in which pieces the rows came.
        table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        self._held.clear()
        self.rows += self._held_rows
        self._held_rows = 0
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def write_tables(
    folder: Path, shards: Sequence[BuiltShard], provenance: Mapping[str, Provenance], limits: Limits | None = None
) -> None:
    """Write index, lineage and statistics of `shards`, in their order, into `folder`. Blocking, restartable.

    The calling process holds a row group and the sums by source, kind and language, whatever the number of documents.
    """
    sums = _no_sums()
    (folder / INDEX).parent.mkdir(parents=True, exist_ok=True)
    with (
        RowGroups(folder / INDEX, INDEX_SCHEMA) as index,
        RowGroups(folder / LINEAGE, LINEAGE_SCHEMA) as lineage,
        RowGroups(folder / SHARD_STATISTICS, SHARD_STATISTICS_SCHEMA) as by_shard,
    ):
        for part in _parts(folder, shards, provenance, limits or Limits(workers=0)):
            for table, name in ((index, _INDEX_PART), (lineage, _LINEAGE_PART), (by_shard, _SUMS_PART)):
                for batch in read_batches(part.folder / name):
                    table.write(batch)
            for batch in read_batches(part.folder / _SUMS_PART):
                _add_statistics(sums, batch)
    pq.write_table(_statistics(sums), folder / STATISTICS, compression="zstd")


@dataclass(frozen=True, slots=True)
class _Placed:
    """One shard's table, and the numbers of its first document and stored token in the version."""

    shard: str
    placed: Path
    document: int
    token: int


@dataclass(frozen=True, slots=True)
class ShardTables:
    """Shard function: one shard's rows of each table."""

    provenance: Mapping[str, Provenance]

    def __call__(self, shard: _Placed, folder: Path) -> Summary:
        """Write the parts; the summary counts documents."""
        sums, tokens = _no_sums(), shard.token
        documents = shard.document
        index_file, lineage_file = (
            pa.OSFile(str(folder / _INDEX_PART), "wb"),
            pa.OSFile(str(folder / _LINEAGE_PART), "wb"),
        )
        with (
            index_file,
            lineage_file,
            pa.ipc.new_file(index_file, INDEX_SCHEMA) as index,
            pa.ipc.new_file(lineage_file, LINEAGE_SCHEMA) as lineage,
        ):
            for batch in read_batches(shard.placed):
                placed = pa.Table.from_batches([batch])
                index.write_table(_index_rows(placed, shard.shard, documents))
                lineage.write_table(_lineage_rows(placed, self.provenance, documents, tokens))
                _add_sums(sums, placed)
                documents += batch.num_rows
                tokens += int(batch.column("tokens").to_numpy().astype(np.int64).sum())
        write_table(folder / _SUMS_PART, _statistics(sums, SHARD_STATISTICS_SCHEMA, shard=shard.shard))
        return {"documents": documents - shard.document}


def _parts(
    folder: Path, shards: Sequence[BuiltShard], provenance: Mapping[str, Provenance], limits: Limits
) -> list[Outcome]:
    """The parts of every shard, in their order."""
    tasks, document, token = [], 0, 0
    for number, shard in enumerate(shards):
        tasks.append(
            Task(f"shard-{number:07d}", _Placed(shard.path, shard.placed, document, token), weight=shard.documents)
        )
        document += shard.documents
        token += shard.tokens
    told = {name: (item.approval_id, *astuple(item.acquired)) for name, item in sorted(provenance.items())}
    named = sha256_json([[[item.path, item.sha256] for item in shards], told])[:16]
    outcomes = map_shards(ShardTables(provenance), tasks, folder / _PARTS / named, limits)
    for outcome in outcomes:
        if outcome.quarantined is not None:
            raise CheckFailed(f"the tables of {outcome.key} failed: {outcome.quarantined}", where=str(outcome.folder))
    return outcomes


def _index_rows(placed: pa.Table, shard: str, first: int) -> pa.Table:
    columns = {name: placed.column(name) for name in INDEX_SCHEMA.names if name not in ("doc", "shard")}
    columns["doc"] = pa.array(np.arange(first, first + placed.num_rows))
    columns["shard"] = pa.array([shard] * placed.num_rows, pa.string())
    return pa.table({name: columns[name] for name in INDEX_SCHEMA.names}, schema=INDEX_SCHEMA)


def _lineage_rows(placed: pa.Table, provenance: Mapping[str, Provenance], first: int, token: int) -> pa.Table:
    ends = token + np.cumsum(placed.column("tokens").to_numpy().astype(np.int64))
    sources = placed.column("source").to_pylist()
    paths = placed.column("path").to_pylist()
    times = [provenance[name].acquired.at(path) for name, path in zip(sources, paths, strict=True)]
    columns: dict[str, Any] = {
        name: placed.column(name) for name in ("id", "source", "kind", "path", "inner", "url", "licence", "decisions")
    }
    columns["doc"] = pa.array(np.arange(first, first + placed.num_rows))
    columns["token_first"] = pa.array(np.concatenate(([token], ends[:-1])) if len(ends) else ends)
    columns["token_end"] = pa.array(ends)
    columns["acquired_at"] = pa.array(times, pa.string())
    columns["approval_id"] = pa.array([provenance[name].approval_id for name in sources], pa.string())
    return pa.table({name: columns[name] for name in LINEAGE_SCHEMA.names}, schema=LINEAGE_SCHEMA)


_Sums = dict[tuple[str, str, str], dict[str, int]]


def _no_sums() -> _Sums:
    return defaultdict(lambda: defaultdict(int))


def _add_sums(sums: _Sums, placed: pa.Table) -> None:
    columns = placed.select(["source", "kind", "language", "characters", "tokens", "modalities"])
    for row in columns.to_pylist():
        cell = sums[row["source"], row["kind"], row["language"]]
        cell["documents"] += 1
        cell["characters"] += row["characters"]
        cell["tokens"] += row["tokens"]
        for name, count in json.loads(row["modalities"]).items():
            cell[f"{name}_tokens"] += count


def _add_statistics(sums: _Sums, batch: pa.RecordBatch) -> None:
    names = STATISTICS_SCHEMA.names[3:]
    for row in batch.to_pylist():
        cell = sums[row["source"], row["kind"], row["language"]]
        for name in names:
            cell[name] += row[name]


def _statistics(sums: _Sums, schema: pa.Schema = STATISTICS_SCHEMA, **columns: str) -> pa.Table:
    rows = [
        {
            **columns,
            "source": source,
            "kind": kind,
            "language": language,
            **{name: 0 for name in STATISTICS_SCHEMA.names[3:]},
            **cell,
        }
        for (source, kind, language), cell in sorted(sums.items())
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def totals(statistics: pa.Table, by: str) -> dict[str, dict[str, int]]:
    """Sums of a statistics table by one of its key columns: documents, tokens, expanded_tokens, modalities."""
    result: dict[str, dict[str, int]] = {}
    for row in statistics.to_pylist():
        cell = result.setdefault(row[by], dict.fromkeys(("documents", "tokens", "expanded_tokens", *MODALITIES), 0))
        cell["documents"] += row["documents"]
        cell["tokens"] += row["tokens"]
        for name in MODALITIES:
            cell[name] += row[f"{name}_tokens"]
            cell["expanded_tokens"] += row[f"{name}_tokens"]
    return result

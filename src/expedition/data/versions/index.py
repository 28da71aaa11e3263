"""The tables of a version, one row a document: index (where it lies), lineage (where it comes from), statistics."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance import Acquired
from expedition.data.engine.tables import read_table
from expedition.data.versions.shards import PLACED_MEDIA_TYPE

INDEX = "index/documents.parquet"
LINEAGE = "lineage.parquet"
STATISTICS = "statistics.parquet"
SHARD_STATISTICS = "shard-statistics.parquet"
DROPPED = "dropped.parquet"
MODALITIES = ("text", "image", "video", "audio")

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
"""The same sums a shard, a row group each; `shard` is its path in the version."""

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


def write_tables(folder: Path, shards: Iterable[BuiltShard], provenance: Mapping[str, Provenance]) -> None:
    """Write index, lineage and statistics of `shards`, in their order, into `folder`; a shard in memory at a time."""
    sums = _no_sums()
    (folder / INDEX).parent.mkdir(parents=True, exist_ok=True)
    document, token = 0, 0
    with (
        pq.ParquetWriter(folder / INDEX, INDEX_SCHEMA, compression="zstd") as index,
        pq.ParquetWriter(folder / LINEAGE, LINEAGE_SCHEMA, compression="zstd") as lineage,
        pq.ParquetWriter(folder / SHARD_STATISTICS, SHARD_STATISTICS_SCHEMA, compression="zstd") as by_shard,
    ):
        for shard in shards:
            placed = read_table(shard.placed)
            index.write_table(_index_rows(placed, shard.path, document))
            lineage.write_table(_lineage_rows(placed, provenance, document, token))
            of_shard = _no_sums()
            _add_sums(of_shard, placed)
            by_shard.write_table(_statistics(of_shard, SHARD_STATISTICS_SCHEMA, shard=shard.path))
            for key, cell in of_shard.items():
                for name, count in cell.items():
                    sums[key][name] += count
            document += placed.num_rows
            token += shard.tokens
    pq.write_table(_statistics(sums), folder / STATISTICS, compression="zstd")


def write_dropped(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write the dropped documents sorted by (source, id, stage); returns their number."""
    names = ("source", "path", "inner", "id", "stage", "reason")
    ordered = sorted(rows, key=lambda row: [row[name] or "" for name in names])
    pq.write_table(pa.Table.from_pylist(list(ordered), schema=DROPPED_SCHEMA), path, compression="zstd")
    return len(ordered)


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


def rows_in(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a batch in memory at a time."""
    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()

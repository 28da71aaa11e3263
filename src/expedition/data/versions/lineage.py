"""The lineage of documents: from a token or an id to the row that says where it comes from, and to its place."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expedition.data.versions.index import DROPPED, INDEX, LINEAGE
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.plan import HELDOUT
from expedition.errors import UsageError
from expedition.workspace import Workspace, layout

MOST_IDS = 1000


def of_token(ws: Workspace, version: str, position: int, dataset: str = layout.DATASET) -> dict[str, Any]:
    """The lineage row whose stored tokens hold `position`. Raises UsageError outside the version."""
    manifest = read_manifest(ws, version, dataset)
    if not 0 <= position < manifest["tokens"]:
        raise UsageError(f"token {position} is outside {version}, which has 0..{manifest['tokens'] - 1}")
    place = _path(ws, version, dataset, LINEAGE)
    rows = pq.read_table(place, filters=[("token_first", "<=", position), ("token_end", ">", position)]).to_pylist()
    return {"version": version, "position": position, **rows[0]}


def of_documents(ws: Workspace, version: str, documents: Collection[str]) -> dict[str, dict[str, Any]]:
    """What a version knows of each document: {dataset, lineage, index} of a kept one, {dropped} of another.

    `dataset` says whether it is trained on or held out. Documents that the version has never seen are not in the
    answer. One pass over the ids of each table, a batch in memory at a time.
    """
    read_manifest(ws, version)
    wanted = sorted(set(documents))
    found: dict[str, dict[str, Any]] = {}
    for dataset in (layout.DATASET, HELDOUT):
        if not ws.store.exists(layout.manifest(version, dataset)):
            continue
        for table, name in ((LINEAGE, "lineage"), (INDEX, "index")):
            for row in _rows_where(ws, version, dataset, table, "id", wanted):
                found.setdefault(row["id"], {"dataset": dataset})[name] = row
    for row in _rows_where(ws, version, layout.DATASET, DROPPED, "id", wanted):
        found.setdefault(row["id"], {"dropped": row})
    return found


def copies_of(ws: Workspace, version: str, documents: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """The documents that the build dropped because they repeat one of `documents`, by the one that stayed."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in documents}
    for row in _rows_where(ws, version, layout.DATASET, DROPPED, "of", sorted(set(documents))):
        found[row["of"]].append(row)
    return found


def of_source(ws: Workspace, version: str, source: str, dataset: str = layout.DATASET) -> dict[str, Any]:
    """What a version holds of a source: documents, tokens, first and last acquisition, document ids (at most 1000)."""
    read_manifest(ws, version, dataset)
    documents, tokens, ids = 0, 0, list[str]()
    first, last = None, None
    columns = ["source", "id", "token_first", "token_end", "acquired_at"]
    for batch in pq.ParquetFile(_path(ws, version, dataset, LINEAGE)).iter_batches(columns=columns):
        mine = batch.filter(pc.equal(batch.column("source"), source))
        if not mine.num_rows:
            continue
        documents += mine.num_rows
        tokens += int(pc.sum(pc.subtract(mine.column("token_end"), mine.column("token_first"))).as_py())
        ids += mine.column("id").slice(0, MOST_IDS - len(ids)).to_pylist()
        times = pc.min_max(mine.column("acquired_at")).as_py()
        first = times["min"] if first is None else min(first, times["min"])
        last = times["max"] if last is None else max(last, times["max"])
    if not documents:
        raise UsageError(f"{version} holds nothing of a source {source!r}", fix=f"expedition data show {version}")
    return {
        "version": version,
        "source": source,
        "documents": documents,
        "tokens": tokens,
        "acquired_first": first,
        "acquired_last": last,
        "ids": ids,
    }


def _rows_where(
    ws: Workspace, version: str, dataset: str, table: str, column: str, values: list[str]
) -> Iterator[dict[str, Any]]:
    """Rows of a table whose `column` is one of `values`; only the row groups that have one are read whole."""
    file = pq.ParquetFile(_path(ws, version, dataset, table))
    wanted = pa.array(values, pa.string())
    for group in range(file.num_row_groups):
        names = file.read_row_group(group, columns=[column]).column(column)
        hits = pc.is_in(names, value_set=wanted)
        if pc.any(hits).as_py():
            yield from file.read_row_group(group).filter(hits).to_pylist()


def _path(ws: Workspace, version: str, dataset: str, table: str) -> Any:
    return ws.store.local(f"{layout.dataset(version, dataset)}/{table}")

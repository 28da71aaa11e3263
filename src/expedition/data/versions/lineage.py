"""From a token back to the item it came from, and from a source to everything made of it."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from expedition.data.versions.index import DROPPED, LINEAGE
from expedition.data.versions.manifest import read_manifest
from expedition.errors import UsageError
from expedition.workspace import Workspace, layout


def of_token(ws: Workspace, version: str, position: int, dataset: str = layout.DATASET) -> dict[str, Any]:
    """The lineage row whose stored tokens hold `position`. Raises UsageError outside the version."""
    manifest = read_manifest(ws, version, dataset)
    if not 0 <= position < manifest["tokens"]:
        raise UsageError(f"token {position} is outside {version}, which has 0..{manifest['tokens'] - 1}")
    rows = _read(ws, version, dataset, [("token_first", "<=", position), ("token_end", ">", position)])
    return {"version": version, "position": position, **rows[0]}


def of_document(ws: Workspace, version: str, document: str, dataset: str = layout.DATASET) -> dict[str, Any]:
    """Where a document (id) came from, or where it was dropped and why. Raises UsageError for an unknown id."""
    read_manifest(ws, version, dataset)
    rows = _read(ws, version, dataset, [("id", "==", document)])
    if rows:
        return {"version": version, "kept": True, **rows[0]}
    dropped = _read(ws, version, dataset, [("id", "==", document)], DROPPED)
    if dropped:
        return {"version": version, "kept": False, **dropped[0]}
    raise UsageError(f"{version} has never seen a document {document!r}", fix="an id has 32 hex digits")


def of_source(ws: Workspace, version: str, source: str, dataset: str = layout.DATASET) -> dict[str, Any]:
    """What a version holds of a source: documents, tokens, first and last acquisition, document ids (at most 1000)."""
    read_manifest(ws, version, dataset)
    path = ws.store.local(f"{layout.dataset(version, dataset)}/{LINEAGE}")
    table = pq.read_table(path, filters=[("source", "==", source)])
    if not table.num_rows:
        raise UsageError(f"{version} holds nothing of a source {source!r}", fix=f"expedition data show {version}")
    return {
        "version": version,
        "source": source,
        "documents": table.num_rows,
        "tokens": int(pc.sum(pc.subtract(table.column("token_end"), table.column("token_first"))).as_py()),
        "acquired_first": pc.min(table.column("acquired_at")).as_py(),
        "acquired_last": pc.max(table.column("acquired_at")).as_py(),
        "ids": table.column("id").to_pylist()[:1000],
    }


def _read(
    ws: Workspace, version: str, dataset: str, filters: list[tuple[str, str, Any]], table: str = LINEAGE
) -> list[dict[str, Any]]:
    path = ws.store.local(f"{layout.dataset(version, dataset)}/{table}")
    rows: list[dict[str, Any]] = pq.read_table(path, filters=filters).to_pylist()
    return rows

"""The manifest: what a version is made of, by hash. It is written last; before that the version does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from expedition.data.versions.index import DROPPED, INDEX, MODALITIES, STATISTICS, BuiltShard, totals
from expedition.errors import UsageError
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_file, sha256_json
from expedition.workspace.schema import checked_schema

SCHEMA = "data.manifest"
HASHED_TABLES = (DROPPED, INDEX, STATISTICS)
"""Tables that are a function of content; lineage also says when things were acquired, so it is not among them."""

_IDENTITY = ("dataset", "version", "parent", "seed", "stages", "tokenizer_fingerprint")


def compose(
    identity: Mapping[str, Any], shards: Iterable[BuiltShard], tables: Path, sources: list[dict[str, Any]]
) -> dict[str, Any]:
    """The manifest of finished shards and tables.

    `identity` has dataset, version, parent, seed, stages, tokenizer_fingerprint, code_version and scope. The content
    hash leaves out code_version, scope and everything that depends on when or under which approval a build ran.
    """
    statistics = pq.read_table(tables / STATISTICS)
    by_source, by_kind = totals(statistics, "source"), totals(statistics, "kind")
    listed = [
        {
            "path": item.path,
            "sha256": item.sha256,
            "bytes": item.bytes,
            "documents": item.documents,
            "tokens": item.tokens,
        }
        for item in shards
    ]
    hashes = {name: sha256_file(tables / name) for name in HASHED_TABLES}
    return {
        **identity,
        "sources": [
            {**source, **{name: by_source.get(source["name"], {}).get(name, 0) for name in ("documents", "tokens")}}
            for source in sources
        ],
        "shards": listed,
        "kinds": {
            kind: {name: cell[name] for name in ("documents", "tokens", "expanded_tokens")}
            for kind, cell in sorted(by_kind.items())
        },
        "modalities": {name: sum(cell[name] for cell in by_kind.values()) for name in MODALITIES},
        "documents": sum(item.documents for item in shards),
        "tokens": sum(item.tokens for item in shards),
        "tables": hashes,
        "content_hash": sha256_json([{name: identity[name] for name in _IDENTITY}, listed, hashes]),
    }


def content_hash(manifest: Mapping[str, Any]) -> str:
    """The content hash that a manifest's own fields give: another than it states means that it was edited.

    Raises KeyError if a field that is hashed is missing.
    """
    return sha256_json(
        [{name: manifest[name] for name in _IDENTITY}, list(manifest["shards"]), dict(manifest["tables"])]
    )


def listed_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{name: {sha256, bytes}} of files below `folder`, in the form of a manifest's `files`."""
    return {
        name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)
    }


def read_manifest(ws: Workspace, version: str, dataset: str = layout.DATASET) -> dict[str, Any]:
    """The manifest of a finished version. Raises UsageError, naming the versions that exist, if there is none."""
    key = layout.manifest(version, dataset)
    if not ws.store.exists(key):
        known = ", ".join(versions(ws, dataset)) or "none"
        raise UsageError(
            f"there is no {dataset} {version}; built: {known}", fix=f"expedition data build DATA --version {version}"
        )
    manifest = ws.read_json(key)
    checked_schema(manifest, SCHEMA, 1, key)
    return manifest


def versions(ws: Workspace, dataset: str = layout.DATASET) -> list[str]:
    """The finished versions of a data set, sorted."""
    prefix = f"data/{dataset}"
    found = {key.split("/")[2] for key in ws.store.list(prefix) if key.endswith("/manifest.json")}
    return sorted(version for version in found if ws.store.exists(layout.manifest(version, dataset)))

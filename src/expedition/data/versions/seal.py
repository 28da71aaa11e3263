"""The end of a build: shards, tables, tokenizer, report and signature under their final names, the manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.data.engine import Limits, Outcome
from expedition.data.tokenizer.tokenizer import FILES
from expedition.data.versions.assemble import publish, put_surely, upload_link
from expedition.data.versions.croissant import CROISSANT, describe
from expedition.data.versions.dropped import write_dropped
from expedition.data.versions.index import (
    DROPPED,
    INDEX,
    LINEAGE,
    SHARD_STATISTICS,
    STATISTICS,
    BuiltShard,
    Provenance,
    write_tables,
)
from expedition.data.versions.manifest import SCHEMA, compose, listed_files
from expedition.data.versions.plan import ShardPlan
from expedition.data.versions.sign import sign_version
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_file
from expedition.workspace.workspace import json_artefact

REPORT = "report.json"
REPORT_SCHEMA = "data.report/1"
TOKENIZER = "tokenizer"
FILES_OF_VERSION = (
    CROISSANT,
    DROPPED,
    INDEX,
    LINEAGE,
    REPORT,
    SHARD_STATISTICS,
    STATISTICS,
    *(f"{TOKENIZER}/{name}" for name in FILES),
)
"""Every file of a version but its shards and the manifest."""


@dataclass(frozen=True, slots=True)
class Build:
    """What a version is sealed from, beside its shards."""

    identity: Mapping[str, Any]
    """version, parent, seed, stages, tokenizer_fingerprint, code_version, scope: see `manifest.compose`."""
    provenance: Mapping[str, Provenance]
    sources: Sequence[dict[str, Any]]
    """One row a used source: name, kind, approval_id, licence, policy, acquired_at."""
    dropped: Sequence[Path]
    """Files of `index.DROPPED_SCHEMA`, sorted, one after the other: see `dropped.Dropped.parts`."""
    report: Mapping[str, Any]
    tokenizer_folder: Path


def seal(
    ws: Workspace,
    lease: Lease,
    build: Build,
    plan: ShardPlan,
    outcomes: Sequence[Outcome],
    workdir: Path,
    limits: Limits | None = None,
) -> dict[str, dict[str, Any]]:
    """Publish every data set of the plan; returns their manifests by data set. The training data set comes last.

    Tables are made by workers within `limits`; None: in the calling process.

    Idempotent until the manifest is there; a finished version must not be sealed again.
    """
    version = str(build.identity["version"])
    built = publish(ws, version, plan, outcomes, lease)
    manifests: dict[str, dict[str, Any]] = {}
    for dataset in sorted(built, key=lambda name: name == plan.dataset):
        dropped = build.dropped if dataset == plan.dataset else []
        tables = workdir / f"tables-{dataset}"
        tables.mkdir(parents=True, exist_ok=True)
        write_tables(tables, built[dataset], build.provenance, limits)
        write_dropped(tables / DROPPED, dropped)
        manifests[dataset] = _seal_one(ws, lease, build, dataset, built[dataset], tables)
    return manifests


def _seal_one(
    ws: Workspace,
    lease: Lease,
    build: Build,
    dataset: str,
    shards: list[BuiltShard],
    tables: Path,
) -> dict[str, Any]:
    version = str(build.identity["version"])
    folder = layout.dataset(version, dataset)
    identity = {**build.identity, "dataset": dataset}
    manifest = compose(identity, shards, tables, list(build.sources))
    shutil.copytree(build.tokenizer_folder, tables / TOKENIZER, dirs_exist_ok=True)
    report = {**build.report, "dataset": dataset, "version": version}
    (tables / REPORT).write_bytes(json_artefact(report, REPORT_SCHEMA))
    (tables / CROISSANT).write_bytes(canonical_json(describe(manifest)) + b"\n")
    manifest["files"] = listed_files(tables, [name for name in FILES_OF_VERSION if name != LINEAGE])
    body = json_artefact(manifest, f"{SCHEMA}/1")
    for name in FILES_OF_VERSION:
        if name == REPORT:
            continue
        lease.check()
        upload_link(ws, f"{folder}/{name}", tables / name)
    _write_surely(ws, f"{folder}/{REPORT}", report, REPORT_SCHEMA)
    lease.check()
    sign_version(ws, identity, body, sha256_file(tables / LINEAGE), manifest["content_hash"])
    _write_surely(ws, layout.manifest(version, dataset), manifest, f"{SCHEMA}/1")
    return manifest


def _write_surely(ws: Workspace, key: str, value: dict[str, Any], schema: str) -> None:
    size = len(json_artefact(value, schema))
    put_surely(ws, key, size, lambda: ws.write_json(key, value, schema=schema))

"""The end of a build: shards, tables, tokenizer and report under their final names, the manifest last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.data.engine import Outcome
from expedition.data.tokenizer.tokenizer import FILES
from expedition.data.versions.assemble import publish, upload_link
from expedition.data.versions.index import (
    DROPPED,
    INDEX,
    LINEAGE,
    STATISTICS,
    BuiltShard,
    Provenance,
    write_dropped,
    write_tables,
)
from expedition.data.versions.manifest import SCHEMA, compose
from expedition.data.versions.plan import ShardPlan
from expedition.workspace import Lease, Workspace, layout

REPORT = "report.json"
REPORT_SCHEMA = "data.report/1"


@dataclass(frozen=True, slots=True)
class Build:
    """What a version is sealed from, beside its shards."""

    identity: Mapping[str, Any]
    """version, parent, seed, stages, tokenizer_fingerprint, code_version, scope: see `manifest.compose`."""
    provenance: Mapping[str, Provenance]
    sources: Sequence[dict[str, Any]]
    """One row a used source: name, kind, approval_id, licence, policy, acquired_at."""
    dropped: Sequence[Mapping[str, Any]]
    """Rows of `index.DROPPED_SCHEMA`."""
    report: Mapping[str, Any]
    tokenizer_folder: Path


def seal(
    ws: Workspace, lease: Lease, build: Build, plan: ShardPlan, outcomes: Sequence[Outcome], workdir: Path
) -> dict[str, dict[str, Any]]:
    """Publish every data set of the plan; returns their manifests by data set. The training data set comes last.

    Idempotent until the manifest is there; a finished version must not be sealed again.
    """
    version = str(build.identity["version"])
    built = publish(ws, version, plan, outcomes, lease)
    manifests: dict[str, dict[str, Any]] = {}
    for dataset in sorted(built, key=lambda name: name == plan.dataset):
        dropped = build.dropped if dataset == plan.dataset else []
        manifests[dataset] = _seal_one(
            ws, lease, build, dataset, built[dataset], dropped, workdir / f"tables-{dataset}"
        )
    return manifests


def _seal_one(
    ws: Workspace,
    lease: Lease,
    build: Build,
    dataset: str,
    shards: list[BuiltShard],
    dropped: Iterable[Mapping[str, Any]],
    tables: Path,
) -> dict[str, Any]:
    version = str(build.identity["version"])
    folder = layout.dataset(version, dataset)
    tables.mkdir(parents=True, exist_ok=True)
    write_tables(tables, shards, build.provenance)
    write_dropped(tables / DROPPED, dropped)
    manifest = compose({**build.identity, "dataset": dataset}, shards, tables, list(build.sources))
    for name in (INDEX, LINEAGE, STATISTICS, DROPPED):
        lease.check()
        upload_link(ws, f"{folder}/{name}", tables / name)
    for name in FILES:
        ws.store.write(f"{folder}/tokenizer/{name}", (build.tokenizer_folder / name).read_bytes())
    ws.write_json(f"{folder}/{REPORT}", {**build.report, "dataset": dataset, "version": version}, schema=REPORT_SCHEMA)
    lease.check()
    ws.write_json(layout.manifest(version, dataset), manifest, schema=f"{SCHEMA}/1")
    return manifest

"""One dataset version opened for reading: checked against the segment's hash and the ledger, with its pack plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from expedition.data.loading.cache import ShardReader
from expedition.data.loading.decode import DocumentReader
from expedition.data.loading.index import DocumentIndex, open_index
from expedition.data.loading.packs import PackPlan, PackRule, open_pack
from expedition.data.loading.segments import Segment
from expedition.data.loading.tokens import MediaTokenIds
from expedition.errors import ComplianceRefused, InputError
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace, layout

CHECKED_SHARDS = 4096
"""Most shards whose presence and length are asked of the store when a version is opened."""


@dataclass(frozen=True, slots=True)
class OpenVersion:
    """What a segment reads from."""

    manifest: dict[str, Any]
    index: DocumentIndex
    pack: PackPlan
    reader: DocumentReader
    ids: MediaTokenIds


def open_version(
    ws: Workspace, segment: Segment, sequence_tokens: int, rule: MediaRule, shards: ShardReader, *, ask_ledger: bool
) -> OpenVersion:
    """Open a segment's data; makes the pack plan if it is missing.

    Raises InputError if the version is not the one that the segment was recorded with, ComplianceRefused if a source
    of it has no approval in force.
    """
    folder = layout.dataset(segment.version, segment.dataset)
    manifest = checked_manifest(ws, segment)
    if ask_ledger:
        refuse_unapproved(ws, manifest, segment.excluded)
    ids = MediaTokenIds.of_version(ws, segment.version, segment.dataset)
    index = open_index(ws, segment.version, segment.dataset, manifest)
    reader = DocumentReader(index, shards, folder, ids, rule)
    pack_rule = PackRule(sequence_tokens, rule, segment.excluded, segment.weights)
    pack = open_pack(ws, segment.version, segment.dataset, segment.manifest_hash, pack_rule)
    return OpenVersion(manifest, index, pack, reader, ids)


def checked_manifest(ws: Workspace, segment: Segment) -> dict[str, Any]:
    """The version's manifest. Raises InputError if its content hash or a shard's size is not what was recorded.

    Of more than `CHECKED_SHARDS` shards every n-th is looked at; a read finds out about the others.
    """
    key = layout.manifest(segment.version, segment.dataset)
    folder = layout.dataset(segment.version, segment.dataset)
    if not ws.store.exists(key):
        raise InputError(f"{segment.dataset} {segment.version} is gone", where=key, fix="restore it or add a segment")
    manifest = ws.read_json(key)
    if manifest["content_hash"] != segment.manifest_hash:
        raise InputError(
            f"{segment.dataset} {segment.version} has content {manifest['content_hash'][:12]}…, "
            f"the run was recorded with {segment.manifest_hash[:12]}…",
            where=key,
            fix="restore that version, or record the change: expedition data order add --version … --from-step …",
        )
    shards = manifest["shards"]
    for shard in shards[:: -(-len(shards) // CHECKED_SHARDS) or 1]:
        path = f"{folder}/{shard['path']}"
        if not ws.store.exists(path) or ws.store.size(path) != shard["bytes"]:
            raise InputError(f"the shard is missing or not {shard['bytes']} bytes long", where=path)
    return manifest


def refuse_unapproved(ws: Workspace, manifest: dict[str, Any], excluded: tuple[str, ...] = ()) -> None:
    """Ask the ledger about every source that is read. Raises ComplianceRefused unless each has an approval in force.

    The scope asked for is that of the approval under which the version was built.
    """
    for name, refused in _refusals(ws, manifest):
        if name in excluded:
            continue
        raise ComplianceRefused(
            f"{manifest['dataset']} {manifest['version']} cannot be read: {refused.what}",
            where=name,
            fix=f"read on without it: expedition data order add --from-step STEP --exclude {name} "
            "--who NAME --reason REASON, or build a version without it: expedition data build DATA --version NEXT",
        )


def unapproved_sources(ws: Workspace, manifest: dict[str, Any]) -> dict[str, str]:
    """Sources of a version that have no approval in force now, with a sentence each."""
    return {name: refused.what for name, refused in _refusals(ws, manifest)}


def _refusals(ws: Workspace, manifest: dict[str, Any]) -> Iterator[tuple[str, ComplianceRefused]]:
    from expedition.data.compliance import read, require_approval

    by_id = {entry.id: entry for entry in read(ws)}
    for source in manifest["sources"]:
        name, entry = source["name"], by_id.get(source["approval_id"])
        if entry is None:
            yield (
                name,
                ComplianceRefused(
                    f"source {name!r} was built under {source['approval_id']!r}, which is not in the ledger"
                ),
            )
            continue
        try:
            require_approval(ws, name, scope=entry.scope)
        except ComplianceRefused as error:
            yield name, error

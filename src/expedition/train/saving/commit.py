"""A snapshot into a complete checkpoint: files aside, agreement, files in place, manifest, `COMPLETE`.

Every rank writes the shards that it owns; nothing is gathered but hashes. The first rank writes the manifest when all
ranks have said that their files are in place, so a checkpoint is whole or it is not there, whoever dies when.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from expedition.errors import InputError, StorageError, WorkspaceBusy
from expedition.train.checkpoint import (
    COMPLETE,
    MANIFEST,
    MANIFEST_SCHEMA,
    MODEL,
    OPTIMIZER,
    RANGES,
    STATE,
    STATE_SCHEMA,
    CheckpointInfo,
    read_info,
    shard_name,
)
from expedition.train.saving.agreement import ALONE, Agreement
from expedition.train.saving.ranges import hash_ranges, ranges_json
from expedition.train.saving.shards import local_part, owned
from expedition.train.saving.staging import Source, Staging
from expedition.train.saving.tensor_file import Piece, write_pieces
from expedition.workspace import Workspace, layout
from expedition.workspace.atomic import storage_errors
from expedition.workspace.hashes import canonical_json, sha256_bytes, sha256_file
from expedition.workspace.store import AlreadyExists, FolderStore

Table = dict[str, dict[str, Any]]
"""bytes and sha256 by file name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a checkpoint holds, as it lies on this rank: tensors may be DTensors, on any device, and live."""

    name: str
    step: int
    """Steps done."""
    tokens: int
    permanent: bool
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: dict[str, Any]
    """Of the first rank; what JSON can hold."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A snapshot on the host: this rank's share of it, which training no longer changes."""

    name: str
    step: int
    tokens: int
    permanent: bool
    files: dict[str, list[Piece]]
    """By MODEL and OPTIMIZER."""
    state: dict[str, Any]


def stage(snapshot: Snapshot, staging: Staging, agreement: Agreement) -> Staged:
    """Copy what this rank owns to the host; training may go on when it returns. A collective (of names)."""
    groups = {MODEL: snapshot.model, OPTIMIZER: snapshot.optimizer}
    plain = _plain_writers(groups, agreement)
    sources = {
        file: [
            Source(name, tuple(tensors[name].shape), part.box, local_part(tensors[name])[part.local])
            for name, part in owned(tensors, agreement.rank, plain[file])
        ]
        for file, tensors in groups.items()
    }
    return Staged(
        snapshot.name, snapshot.step, snapshot.tokens, snapshot.permanent, staging.copy(sources), snapshot.state
    )


def _plain_writers(groups: Mapping[str, Mapping[str, Tensor]], agreement: Agreement) -> dict[str, dict[str, int]]:
    """The first rank that has each tensor that is no DTensor."""
    from torch.distributed.tensor import DTensor

    mine = {
        file: sorted(name for name, tensor in tensors.items() if not isinstance(tensor, DTensor))
        for file, tensors in groups.items()
    }
    writers: dict[str, dict[str, int]] = {file: {} for file in groups}
    for rank, found in enumerate(agreement.gather(mine)):
        for file, known in found.items():
            for name in known:
                writers[file].setdefault(name, rank)
    return writers


def write_checkpoint(ws: Workspace, run: str, snapshot: Snapshot, agreement: Agreement = ALONE) -> CheckpointInfo:
    """Stage and commit, blocking. A collective of the agreement's ranks."""
    return commit(ws, run, stage(snapshot, Staging(), agreement), agreement)


def commit(
    ws: Workspace,
    run: str,
    staged: Staged,
    agreement: Agreement = ALONE,
    check: Callable[[], None] = lambda: None,
) -> CheckpointInfo:
    """Write all files, then the manifest, then COMPLETE. A collective; safe to repeat after a kill at any point.

    A complete checkpoint of that name with the same content is left as it is. `check` is called on the first rank
    before files are put in place and before the manifest: it raises if this process may no longer commit. On every
    rank raises InputError if there is one with other content (a checkpoint never changes), StorageError if any rank
    could not write, WorkspaceBusy if another process was first; what was written is then taken away.
    """
    folder = layout.checkpoint(run, staged.name)
    scratch = ws.scratch(f"{_scratch(run)}/{os.getpid()}-{agreement.rank}")
    try:
        tables = agreement.all(partial(_write_aside, scratch, staged, agreement))
        files = {name: entry for table in tables for name, entry in sorted(table.items())}
        agreement.first(check)
        if not agreement.first(partial(_already_there, ws, run, staged.name, files)):
            try:
                agreement.all(partial(_put_in_place, ws, folder, scratch, tables[agreement.rank]))
                agreement.first(partial(_complete, ws, run, staged, files, check))
            except Exception:
                _take_away(ws, folder, tables[agreement.rank])
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read_info(ws, run, staged.name)


def clear_scratch(ws: Workspace, run: str) -> None:
    """Remove what writers of this run that were killed left on this host. No writer of the run may be at work."""
    shutil.rmtree(ws.scratch(_scratch(run)), ignore_errors=True)


def _scratch(run: str) -> str:
    return f"checkpoints/{run}"


def _write_aside(scratch: Path, staged: Staged, agreement: Agreement) -> Table:
    """This rank's files in its scratch folder; their table."""
    table: Table = {}
    hashed = {}
    with storage_errors(scratch):
        for file, pieces in staged.files.items():
            path = scratch / shard_name(file, agreement.rank, agreement.world)
            write_pieces(path, pieces)
            digest, hashed[path.name] = hash_ranges(path)
            table[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
        documents = {shard_name(RANGES, agreement.rank, agreement.world): ranges_json(hashed)}
        if agreement.is_first:
            documents[STATE] = {
                **staged.state,
                "step": staged.step,
                "tokens": staged.tokens,
                "schema": STATE_SCHEMA,
            }
        for name, document in documents.items():
            (scratch / name).write_bytes(canonical_json(document) + b"\n")
            table[name] = {"bytes": (scratch / name).stat().st_size, "sha256": sha256_file(scratch / name)}
    return table


def _already_there(ws: Workspace, run: str, name: str, files: Table) -> bool:
    folder = layout.checkpoint(run, name)
    if not ws.store.exists(f"{folder}/{COMPLETE}"):
        return False
    if read_info(ws, run, name).files == files:
        return True
    raise InputError(
        "a complete checkpoint of this name has other content", where=folder, fix="train into another run name"
    )


def _put_in_place(ws: Workspace, folder: str, scratch: Path, table: Table) -> None:
    for name in sorted(table):
        ws.store.upload(f"{folder}/{name}", scratch / name)


def _complete(ws: Workspace, run: str, staged: Staged, files: Table, check: Callable[[], None]) -> None:
    """Manifest, then COMPLETE, then no more writing."""
    folder = layout.checkpoint(run, staged.name)
    check()
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "run": run,
        "name": staged.name,
        "step": staged.step,
        "tokens": staged.tokens,
        "permanent": staged.permanent,
        "files": files,
    }
    body = canonical_json(manifest) + b"\n"
    ws.store.write(f"{folder}/{MANIFEST}", body)
    try:
        ws.store.create(f"{folder}/{COMPLETE}", sha256_bytes(body).encode() + b"\n")
    except AlreadyExists as error:
        raise WorkspaceBusy(
            "another process completed a checkpoint of this name meanwhile",
            where=folder,
            fix="let one process train a run",
        ) from error
    if isinstance(ws.store, FolderStore):
        for key in ws.store.list(folder):
            ws.path(key).chmod(0o444)


def _take_away(ws: Workspace, folder: str, table: Table) -> None:
    """Give the room of a checkpoint that failed back; what cannot be deleted now is cleared by the next attempt."""
    with suppress(StorageError, OSError):
        if ws.store.exists(f"{folder}/{COMPLETE}"):
            return
        for name in [*table, MANIFEST]:
            ws.store.delete(f"{folder}/{name}")

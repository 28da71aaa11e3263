"""Checkpoints: immutable folders of safetensors and JSON with a hash manifest; `COMPLETE` is written last.

    runs/<run>/checkpoints/checkpoint_1.5T_tokens/
        model.safetensors       fp32 weights by parameter name
        optimizer.safetensors   both moments, counts, window of the bad-step decision
        state.json              step, tokens, run plan, model config, data position
        manifest.json           bytes and SHA-256 of each file
        COMPLETE                hash of the manifest; a folder without it does not exist

No file is a pickle. A reader checks every hash before it uses a byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from expedition.errors import InputError
from expedition.train.saving.name import is_checkpoint_name
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes, sha256_file
from expedition.workspace.store import FolderStore

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
MANIFEST, COMPLETE = "manifest.json", "COMPLETE"
STATE_SCHEMA, MANIFEST_SCHEMA = "train.state/1", "train.checkpoint/1"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a checkpoint holds, on the CPU and no longer changed by training."""

    name: str
    step: int
    """Steps done."""
    tokens: int
    permanent: bool
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One complete checkpoint as its manifest describes it."""

    run: str
    name: str
    step: int
    tokens: int
    permanent: bool
    files: dict[str, dict[str, Any]]
    """bytes and sha256 by file name."""
    manifest_sha256: str

    @property
    def folder(self) -> str:
        """Workspace key of the folder."""
        return layout.checkpoint(self.run, self.name)


def write_checkpoint(ws: Workspace, run: str, snapshot: Snapshot) -> CheckpointInfo:
    """Write all files, then the manifest, then COMPLETE. Safe to repeat after a kill at any point.

    A complete checkpoint of that name with the same content is left as it is. Raises InputError if there is one with
    other content: a checkpoint never changes.
    """
    scratch = ws.scratch(f"checkpoint-{run}-{os.getpid()}")
    state = {**snapshot.state, "step": snapshot.step, "tokens": snapshot.tokens}
    written = {
        MODEL: _write_tensors(scratch / MODEL, snapshot.model),
        OPTIMIZER: _write_tensors(scratch / OPTIMIZER, snapshot.optimizer),
        STATE: _write_bytes(scratch / STATE, canonical_json({**state, "schema": STATE_SCHEMA}) + b"\n"),
    }
    files = {name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for name, path in written.items()}
    folder = layout.checkpoint(run, snapshot.name)
    if ws.store.exists(f"{folder}/{COMPLETE}"):
        existing = read_info(ws, run, snapshot.name)
        if existing.files == files:
            return existing
        raise InputError(
            "a complete checkpoint of this name has other content", where=folder, fix="train into another run name"
        )
    for name, path in written.items():
        ws.store.upload(f"{folder}/{name}", path)
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "run": run,
        "name": snapshot.name,
        "step": snapshot.step,
        "tokens": snapshot.tokens,
        "permanent": snapshot.permanent,
        "files": files,
    }
    body = canonical_json(manifest) + b"\n"
    ws.store.write(f"{folder}/{MANIFEST}", body)
    ws.store.write(f"{folder}/{COMPLETE}", sha256_bytes(body).encode() + b"\n")
    _make_read_only(ws, folder)
    return read_info(ws, run, snapshot.name)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> Path:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in sorted(tensors.items())}, path)
    return path


def _write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _make_read_only(ws: Workspace, folder: str) -> None:
    if isinstance(ws.store, FolderStore):
        for key in ws.store.list(folder):
            ws.path(key).chmod(0o444)


def read_info(ws: Workspace, run: str, name: str) -> CheckpointInfo:
    """The manifest of a complete checkpoint. Raises InputError if COMPLETE does not name this manifest."""
    folder = layout.checkpoint(run, name)
    body = ws.store.read(f"{folder}/{MANIFEST}")
    digest = sha256_bytes(body)
    if ws.store.read(f"{folder}/{COMPLETE}").decode("ascii", "replace").strip() != digest:
        raise InputError("the manifest is not the one that COMPLETE names", where=folder)
    try:
        raw = json.loads(body)
        return CheckpointInfo(
            run, raw["name"], raw["step"], raw["tokens"], raw["permanent"], raw["files"], manifest_sha256=digest
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the manifest cannot be read: {error!r}", where=folder) from error


def names(ws: Workspace, run: str) -> list[str]:
    """Names of the folders of complete checkpoints, whether or not they are intact, sorted by name."""
    folder = layout.checkpoints(run)
    keys = (key.removeprefix(f"{folder}/").split("/") for key in ws.store.list(folder))
    return sorted({parts[0] for parts in keys if parts[-1] == COMPLETE and is_checkpoint_name(parts[0])})


def checkpoints(ws: Workspace, run: str) -> list[CheckpointInfo]:
    """All complete checkpoints with a readable manifest, by step."""
    return sorted((info for info, _ in _readable(ws, run) if info is not None), key=lambda info: info.step)


def _readable(ws: Workspace, run: str) -> Iterator[tuple[CheckpointInfo | None, str]]:
    for name in names(ws, run):
        try:
            yield read_info(ws, run, name), name
        except InputError:
            yield None, name


def verify(ws: Workspace, info: CheckpointInfo) -> str | None:
    """What is wrong with the files of a checkpoint, in one sentence; None when every hash matches."""
    for name, expected in info.files.items():
        key = f"{info.folder}/{name}"
        if not ws.store.exists(key):
            return f"{name} is missing"
        if ws.store.size(key) != expected["bytes"] or ws.hash(key) != expected["sha256"]:
            return f"{name} does not match its hash"
    return None


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A folder that claims to be complete and is not what its manifest says."""

    name: str
    problem: str


def newest_intact(ws: Workspace, run: str) -> tuple[CheckpointInfo | None, list[Corrupt]]:
    """The complete checkpoint with the most steps whose hashes match, and the corrupt ones passed over before it."""
    corrupt: list[Corrupt] = []
    for info, name in sorted(_readable(ws, run), key=lambda pair: pair[0].step if pair[0] else 1 << 62, reverse=True):
        problem = "the manifest cannot be read" if info is None else verify(ws, info)
        if problem is None:
            return info, corrupt
        corrupt.append(Corrupt(name, problem))
    return None, corrupt


def load_tensors(ws: Workspace, info: CheckpointInfo, file: str) -> dict[str, Tensor]:
    """Tensors of one file, on the CPU. The caller has verified the checkpoint."""
    from safetensors.torch import load_file

    return load_file(ws.store.local(f"{info.folder}/{file}"))


def load_state(ws: Workspace, info: CheckpointInfo) -> dict[str, Any]:
    """`state.json`."""
    return ws.read_json(f"{info.folder}/{STATE}")


def delete_checkpoint(ws: Workspace, run: str, name: str) -> None:
    """Remove a checkpoint, COMPLETE first, so that a kill half-way leaves no checkpoint that seems whole."""
    folder = layout.checkpoint(run, name)
    ws.store.delete(f"{folder}/{COMPLETE}")
    for key in list(ws.store.list(folder)):
        ws.store.delete(key)


def clear_incomplete(ws: Workspace, run: str) -> None:
    """Remove what a killed writer left: files in checkpoint folders without COMPLETE."""
    folder, complete = layout.checkpoints(run), set(names(ws, run))
    for key in list(ws.store.list(folder)):
        if key.removeprefix(f"{folder}/").split("/")[0] not in complete:
            ws.store.delete(key)


def retire_ephemeral(ws: Workspace, run: str, keep: int) -> list[str]:
    """Delete ephemeral checkpoints except the newest `keep` and return the deleted names. Permanent ones stay."""
    ephemeral = [info for info in checkpoints(ws, run) if not info.permanent]
    retired = [info.name for info in ephemeral[: max(0, len(ephemeral) - keep)]]
    for name in retired:
        delete_checkpoint(ws, run, name)
    return retired

"""Checkpoints: immutable folders of safetensors and JSON with a hash manifest; `COMPLETE` is written last.

    runs/<run>/checkpoints/checkpoint_1.5T_tokens/
        model.safetensors       weights by parameter name
        optimizer.safetensors   moments, counts, window of the bad-step decision
        ranges.json             SHA-256 of each tensor, in ranges of at most 16 MiB
        state.json              step, tokens, run plan, model config, tokenizer, data position
        manifest.json           bytes and SHA-256 of each file
        COMPLETE                hash of the manifest; a folder without it does not exist

Written by N ranks, each of the first three is N files, `model-00001-of-00004.safetensors`, with the shards that a rank
owns. Any other number of ranks reads them. No file is a pickle. A reader checks every hash before it uses a byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from expedition.errors import InputError
from expedition.train.saving.agreement import ALONE, Agreement
from expedition.train.saving.name import is_checkpoint_name
from expedition.train.saving.ranges import Range, damage, ranges_from
from expedition.train.saving.reader import TensorReader
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_bytes, sha256_json

MODEL, OPTIMIZER, RANGES, STATE = "model.safetensors", "optimizer.safetensors", "ranges.json", "state.json"
MANIFEST, COMPLETE = "manifest.json", "COMPLETE"
STATE_SCHEMA, MANIFEST_SCHEMA = "train.state/1", "train.checkpoint/2"
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.)")


def shard_name(file: str, index: int, of: int) -> str:
    """`file` as rank `index` (from 0) of `of` writes it; one rank alone writes `file` itself."""
    stem, _, suffix = file.rpartition(".")
    return file if of == 1 else f"{stem}-{index + 1:05d}-of-{of:05d}.{suffix}"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One complete checkpoint as its manifest describes it."""

    run: str
    name: str
    step: int
    """Steps done."""
    tokens: int
    permanent: bool
    files: dict[str, dict[str, Any]]
    """bytes and sha256 by file name."""
    manifest_sha256: str

    @property
    def folder(self) -> str:
        """Workspace key of the folder."""
        return layout.checkpoint(self.run, self.name)

    def shards(self, file: str) -> list[str]:
        """The files that together are `file` (MODEL, OPTIMIZER or RANGES), by rank."""
        return sorted(name for name in self.files if _SHARD.sub("", name) == file)

    @property
    def weights_sha256(self) -> str:
        """What identifies the weights: the hash of the file, or of the hashes of its shards."""
        hashes = {name: self.files[name]["sha256"] for name in self.shards(MODEL)}
        return str(hashes[MODEL]) if MODEL in hashes else sha256_json(hashes)


def read_info(ws: Workspace, run: str, name: str) -> CheckpointInfo:
    """The manifest of a complete checkpoint. Raises InputError if COMPLETE does not name this manifest."""
    folder = layout.checkpoint(run, name)
    body = ws.store.read(f"{folder}/{MANIFEST}")
    digest = sha256_bytes(body)
    if ws.store.read(f"{folder}/{COMPLETE}").decode("ascii", "replace").strip() != digest:
        raise InputError(f"{MANIFEST} is not the one that {COMPLETE} names", where=folder)
    try:
        raw = json.loads(body)
        return CheckpointInfo(
            run, raw["name"], raw["step"], raw["tokens"], raw["permanent"], raw["files"], manifest_sha256=digest
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{MANIFEST} cannot be read: {error!r}", where=folder) from error


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


def verify(ws: Workspace, info: CheckpointInfo, share: tuple[int, int] = (0, 1)) -> str | None:
    """What is wrong with the files of a checkpoint, in one sentence; None when every hash matches.

    Names the file and, where the table of ranges is whole, the tensors and bytes. Blocking; reads everything once, in
    threads. `share` (i, n) checks the i-th of n parts of the checkpoint: n processes check all of it together.
    """
    place, of = share
    for name in sorted(info.files)[place::of]:
        key = f"{info.folder}/{name}"
        if not ws.store.exists(key):
            return f"{name} is missing"
        if (size := ws.store.size(key)) != info.files[name]["bytes"]:
            return f"{name} has {size} bytes, the manifest says {info.files[name]['bytes']}"
    tables = info.shards(RANGES)
    by_range = {
        shard for table in tables for file in (MODEL, OPTIMIZER) if (shard := _beside(table, file)) in info.files
    }
    whole = sorted(info.files.keys() - by_range)
    for name in (name for index, name in enumerate(whole) if index % of == place or name in tables[place::of]):
        if ws.hash(f"{info.folder}/{name}") != info.files[name]["sha256"]:
            return f"{name} does not match its hash"
    try:
        mine = [_ranges(ws, info, table) for table in tables[place::of]]
    except InputError as error:
        return error.what
    return damage(ws.store, info.folder, {file: found for ranges in mine for file, found in ranges.items()})


def _beside(table: str, file: str) -> str:
    """The shard of `file` that the rank of a table of ranges wrote."""
    return file.replace(".", f"{found[0]}.") if (found := _SHARD.search(table)) else file


def _ranges(ws: Workspace, info: CheckpointInfo, table: str) -> dict[str, list[Range]]:
    """A table of ranges. Raises InputError unless it covers the two files beside it, to the last byte."""
    found = ranges_from(ws.read_json(f"{info.folder}/{table}"), table)
    ends = {file: ranges[-1].end if ranges else 0 for file, ranges in found.items()}
    files = [_beside(table, MODEL), _beside(table, OPTIMIZER)]
    if ends != {file: info.files.get(file, {}).get("bytes") for file in files}:
        raise InputError(f"{table} does not cover {' and '.join(files)}")
    return found


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A folder that claims to be complete and is not what its manifest says."""

    name: str
    problem: str


def newest_intact(ws: Workspace, run: str, agreement: Agreement = ALONE) -> tuple[CheckpointInfo | None, list[Corrupt]]:
    """The complete checkpoint with the most steps whose hashes match, and the corrupt ones passed over before it.

    With an `agreement` every rank checks a part, and all get the same answer.
    """
    corrupt: list[Corrupt] = []
    for name in agreement.first(lambda: _newest_first(ws, run)):
        problems = agreement.all(lambda name=name: _problem(ws, run, name, agreement))  # type: ignore[misc]
        problem = next((found for found in problems if found is not None), None)
        if problem is None:
            return read_info(ws, run, name), corrupt
        corrupt.append(Corrupt(name, problem))
    return None, corrupt


def _newest_first(ws: Workspace, run: str) -> list[str]:
    """Names by falling step; those whose manifest cannot be read come first: their step is not known."""
    found = sorted(_readable(ws, run), key=lambda pair: pair[0].step if pair[0] else 1 << 62, reverse=True)
    return [name for _, name in found]


def _problem(ws: Workspace, run: str, name: str, agreement: Agreement) -> str | None:
    try:
        info = read_info(ws, run, name)
    except InputError as error:
        return error.what
    return verify(ws, info, (agreement.rank, agreement.world))


def load_tensors(ws: Workspace, info: CheckpointInfo, file: str) -> TensorReader:
    """Tensors of MODEL or OPTIMIZER by name, lazily, whole whatever ranks wrote them. The caller has verified the
    checkpoint."""
    return TensorReader(ws.store, info.folder, info.shards(file))


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

"""When each file of a source came in, and under which approval: so that "use first, review later" cannot hide.

An acquisition is a create-only pair `data/acquired/<source>/<n>.json` and `<n>.parquet` (path, bytes, SHA-256, time of
retrieval). Files that an earlier acquisition lists keep its time; only new ones get a new acquisition. Content that came
in while no approval was in force is known by its hash: under another name or in another source's folder it stays
refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance.approval import approval_at, refuse_early, require_approval
from expedition.data.compliance.ledger import Entry, now, parse_time, read
from expedition.errors import ComplianceRefused, InputError
from expedition.workspace import AlreadyExists, Workspace
from expedition.workspace.schema import checked_schema

SCHEMA = "data.acquisition"
ACQUIRED = "data/acquired"
_LISTING = pa.schema(
    [("path", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string()), ("retrieved_at", pa.string())]
)


@dataclass(frozen=True, slots=True)
class Offer:
    """Files that stand ready to be acquired: paths relative to the data folder, and their sizes."""

    source: str
    files: Mapping[str, int]
    origin: str
    """Where they come from: a folder, a URL, a connector's name."""
    licence: str | None = None
    folder: str | None = None
    """The data folder that paths are relative to, so that raw bytes are found again."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Content hash by path, as far as known."""
    retrieved_at: Mapping[str, str] = field(default_factory=dict)
    """When a file was fetched, by path, where that was before now; ISO 8601."""
    hosts: tuple[str, ...] = ()
    """Hosts that were asked for the files, where they came over a network."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """What is known about a source's files: the first acquisition's time, and the time of each file that came later."""

    source: str
    first: str
    later: Mapping[str, str] = field(default_factory=dict)
    acquisitions: int = 1

    def times(self) -> list[str]:
        """Every distinct time of acquisition, oldest first."""
        return sorted({self.first, *self.later.values()})

    def at(self, path: str) -> str:
        """When `path`, or the archive that `path` lies in, was acquired."""
        return self.later.get(path, self.first)


@dataclass(frozen=True, slots=True)
class Listed:
    """One registered file."""

    path: str
    bytes: int
    sha256: str | None
    acquired_at: str
    """The earlier of its retrieval and its registration."""
    acquisition: str
    """Key of the acquisition's record."""


def acquire(ws: Workspace, offer: Offer, scope: str = "training", at: str | None = None) -> Acquired:
    """Register the files of `offer` that are not registered yet, under an approval in force at `at` (None: now).

    Idempotent. Raises ComplianceRefused (nothing is written) without an approval, or for content that came in before
    under no approval, whatever its name was then; InputError for a folder without files.
    """
    approval = require_approval(ws, offer.source, at, scope)
    if not offer.files:
        raise InputError(
            f"source {offer.source!r} has no files", where=offer.origin, fix="give a folder with raw files"
        )
    known = {item.path: item for item in listed(ws, offer.source)}
    entries = read(ws)
    early = came_in_early(ws, entries, scope)
    for path in offer.files if early else ():
        digest = known[path].sha256 if path in known else offer.sha256.get(path)
        if digest in early:
            _refuse_content(path, early[digest])
    new = {path: size for path, size in sorted(offer.files.items()) if path not in known}
    for path in new:
        if path in offer.retrieved_at:
            refuse_early(entries, offer.source, parse_time(offer.retrieved_at[path], "retrieved_at"), scope)
    if not new:
        return _acquired(offer.source, known.values())
    _write(ws, offer, new, approval, now(entries) if at is None else at, scope)
    return acquired(ws, offer.source)


def acquired(ws: Workspace, source: str) -> Acquired:
    """What is registered of `source`. Raises InputError if nothing is."""
    return _acquired(source, listed(ws, source))


def registered(ws: Workspace, source: str) -> set[str]:
    """Paths of the source that are registered: what needs no hashing again."""
    return {item.path for item in listed(ws, source)}


def require_acquired_use(ws: Workspace, found: Acquired, scope: str = "training", at: str | None = None) -> Entry:
    """That an approval is in force, and was at every time at which files came in. Raises ComplianceRefused."""
    approval = require_approval(ws, found.source, at, scope)
    entries = read(ws)
    for moment in found.times():
        refuse_early(entries, found.source, moment, scope)
    return approval


def list_acquisitions(ws: Workspace) -> list[dict[str, Any]]:
    """All acquisitions: key, source, acquired_at, files, bytes, origin, approval_id, licence, scope, folder."""
    return [{**ws.read_json(key), "key": key} for key in ws.store.list(ACQUIRED) if key.endswith(".json")]


def listed(ws: Workspace, source: str) -> list[Listed]:
    """The registered files of a source, each once, at its first acquisition.

    A listing without its record is what a kill left: it does not count.
    """
    known: dict[str, Listed] = {}
    for key in _records(ws, source):
        record = ws.read_json(key)
        checked_schema(record, SCHEMA, 1, key)
        for row in _rows(ws, key):
            moment = min(record["acquired_at"], row["retrieved_at"] or record["acquired_at"])
            known.setdefault(row["path"], Listed(row["path"], row["bytes"], row["sha256"], moment, key))
    return list(known.values())


def came_in_early(ws: Workspace, entries: Sequence[Entry], scope: str) -> dict[str, tuple[str, str, str]]:
    """Content that came in while its source had no approval for `scope`: SHA-256 → (source, path, when).

    Only the listings of such acquisitions are read, and there are few of them.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for record in list_acquisitions(ws):
        if approval_at(entries, record["source"], scope, record["acquired_at"]) is not None:
            continue
        for row in _rows(ws, record["key"]):
            if row["sha256"] is not None and row["bytes"]:
                found.setdefault(row["sha256"], (record["source"], row["path"], record["acquired_at"]))
    return found


def _acquired(source: str, files: Iterable[Listed]) -> Acquired:
    known: dict[str, str] = {}
    records = set()
    for item in files:
        known[item.path] = item.acquired_at
        records.add(item.acquisition)
    if not known:
        raise InputError(
            f"source {source!r} was never acquired", fix=f"expedition data acquire FOLDER --source {source}"
        )
    first = min(known.values())
    later = {path: moment for path, moment in known.items() if moment != first}
    return Acquired(source, first, later, len(records))


def _refuse_content(path: str, early: tuple[str, str, str]) -> None:
    source, first, moment = early
    raise ComplianceRefused(
        f"this content was acquired on {moment} as {first} of source {source!r}, when no approval was in force; "
        "another name or place does not change that",
        where=path,
        fix="take the file out of the data folder, or exclude it in sources.yaml",
    )


def _rows(ws: Workspace, key: str) -> list[dict[str, Any]]:
    table = pq.read_table(io.BytesIO(ws.store.read(key.removesuffix(".json") + ".parquet")))
    blank = {"sha256": None, "retrieved_at": None}
    return [{**blank, **row} for row in table.to_pylist()]


def _records(ws: Workspace, source: str) -> Sequence[str]:
    return [key for key in ws.store.list(f"{ACQUIRED}/{source}") if key.endswith(".json")]


def _write(ws: Workspace, offer: Offer, new: Mapping[str, int], approval: Entry, moment: str, scope: str) -> None:
    columns = {
        "path": list(new),
        "bytes": list(new.values()),
        "sha256": [offer.sha256.get(path) for path in new],
        "retrieved_at": [
            parse_time(offer.retrieved_at[path], "retrieved_at") if path in offer.retrieved_at else None for path in new
        ],
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_LISTING), buffer)
    stem = _create(ws, offer.source, buffer.getvalue())
    record = {
        "source": offer.source,
        "acquired_at": moment,
        "approval_id": approval.id,
        "scope": scope,
        "origin": offer.origin,
        "hosts": list(offer.hosts),
        "licence": offer.licence,
        "folder": offer.folder,
        "files": len(new),
        "bytes": sum(new.values()),
    }
    ws.write_json(f"{stem}.json", record, schema=f"{SCHEMA}/1")


def _create(ws: Workspace, source: str, listing: bytes) -> str:
    """Write a listing under the next free number: of two processes that register at once neither loses its own."""
    number = len(_records(ws, source))
    while True:
        number += 1
        stem = f"{ACQUIRED}/{source}/{number:08d}"
        try:
            ws.store.create(f"{stem}.parquet", listing)
        except AlreadyExists:
            continue
        return stem

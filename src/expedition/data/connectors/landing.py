"""Where a source's items land: files under their final names, and a record of each that survives any kill.

Order of writes for one item: the file's bytes, durable; its name, durable; its record. A kill between the last two
costs one fetch again. A refused or failed item is recorded too; a refused one is not asked for again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from expedition.data.compliance import Entry, Offer, acquire, require_approval, timestamp
from expedition.data.compliance.acquisition import registered
from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.part import PART_PREFIX
from expedition.data.connectors.url import host_of
from expedition.data.sources.provenance import FOLDER, LOG, ItemRecord, Status, kept, records
from expedition.errors import ComplianceRefused
from expedition.workspace import Workspace
from expedition.workspace.atomic import storage_errors, sync_folder

_PIECE_BYTES = 1 << 20
_MAX_NAME_BYTES = 200
_MAX_KEY_CHARACTERS = 1_000
_HOSTS = 100
_SKIPPED = frozenset({"__MACOSX", "__pycache__", "node_modules"})
"""Folder names that a source's walk leaves out: nothing may land where it would not be found."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What an earlier run has left about an item."""

    url: str
    bytes: int | None
    sha256: str | None
    refused: bool


@dataclass(slots=True)
class Counts:
    """What a run has done so far."""

    kept: int = 0
    bytes: int = 0
    already_there: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


class Landing:
    """One source's landing, held by one run; use with `with`. Only the thread that made it may call it.

    Raises ComplianceRefused (exit 5) where no approval is in force or files came in without one.
    """

    def __init__(self, ws: Workspace, data_dir: Path, source: str, connector: str, scope: str = "training") -> None:
        self._ws = ws
        self._data_dir = data_dir.absolute()
        self._source = source
        self._connector = connector
        self._scope = scope
        self.folder = self._data_dir / source
        self.counts = Counts()
        self._approval = require_approval(ws, source, scope=scope)
        self._known = _known(self.folder)
        self._taken: dict[str, str] = {}
        self._unconfirmed: list[str] = []
        self._log: IO[bytes] | None = None
        self._unregistered = self._left_unregistered()
        if self._unregistered:
            self.register()

    def __enter__(self) -> Landing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log is not None:
            self.sync()
            self._log.close()
            self._log = None

    def state_dir(self) -> Path:
        """The connector's own folder, kept across runs."""
        path = self.folder / FOLDER / "state" / self._connector
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def target(self, item: RemoteItem) -> Path:
        """Where the item's file will be. Raises FetchFailed (BAD_KEY) for a key that leads out or would be hidden."""
        problem = key_problem(item.key)
        if problem is not None:
            raise FetchFailed(FetchReason.BAD_KEY, f"{problem}: {item.key[:200]!r}", item.url)
        return self.folder / item.key

    def wants(self, item: RemoteItem, *, verify: bool = False, again: bool = False) -> bool:
        """Whether the item has still to be fetched. `verify` hashes what is there; `again` asks for refused ones anew.

        Raises FetchFailed (DUPLICATE_KEY) where this run already has another URL under the same key.
        """
        before = self._taken.get(item.key)
        if before is not None:
            if before != item.url:
                raise FetchFailed(FetchReason.DUPLICATE_KEY, f"{item.key!r} is also the name of {before}", item.url)
            return False
        self._taken[item.key] = item.url
        known = self._known.get(item.key)
        if known is None:
            return True
        if known.refused:
            if not again:
                self.counts.already_there += 1
            return again
        there = _is_there(self.folder / item.key, known, verify=verify) and not _contradicts(item, known)
        self.counts.already_there += there
        return not there

    def keep(self, item: RemoteItem, done: Downloaded, licence: str | None = None) -> ItemRecord:
        """Record an item whose file is in its place."""
        record = ItemRecord(
            path=item.key,
            status="kept",
            url=item.url,
            connector=self._connector,
            retrieved_at=max(timestamp(), self._approval.when),
            approval_id=self._approval.id,
            final_url=done.final_url,
            bytes=done.bytes,
            sha256=done.sha256,
            etag=done.etag,
            last_modified=done.last_modified,
            content_type=done.content_type,
            licence=item.licence or done.licence or licence,
            range=item.range,
            meta={**item.meta, **({"content_encoding": done.content_encoding} if done.content_encoding else {})},
        )
        self._append(record)
        self._known[item.key] = _Known(item.url, done.bytes, done.sha256, refused=False)
        self._unregistered[item.key] = record
        self._unconfirmed.append(item.key)
        self.counts.kept += 1
        self.counts.bytes += done.bytes
        return record

    def turn_down(self, item: RemoteItem, failure: FetchFailed) -> ItemRecord:
        """Record an item that was refused or could not be fetched, with its reason."""
        record = ItemRecord(
            path=item.key,
            status=_status(failure),
            url=item.url,
            connector=self._connector,
            retrieved_at=max(timestamp(), self._approval.when),
            approval_id=self._approval.id,
            licence=item.licence,
            reason=str(failure.reason),
            detail=f"{failure.detail} ({failure.url})" if failure.url != item.url else failure.detail,
        )
        self._append(record)
        counts = self.counts.refused if failure.refused else self.counts.failed
        counts[str(failure.reason)] = counts.get(str(failure.reason), 0) + 1
        return record

    def sync(self) -> None:
        """Make the records so far durable. What a power failure before that takes is fetched again."""
        if self._log is not None:
            with storage_errors(self.folder):
                os.fsync(self._log.fileno())

    def confirm(self) -> Entry:
        """Ask the ledger again. Raises ComplianceRefused: what came in since it last agreed is removed."""
        try:
            self._approval = require_approval(self._ws, self._source, scope=self._scope)
        except ComplianceRefused:
            for key in self._unconfirmed:
                self._withdraw(key)
            self._unconfirmed.clear()
            raise
        self._unconfirmed.clear()
        return self._approval

    def register(self) -> None:
        """Put every item that has landed since into the record of acquisitions. Raises ComplianceRefused."""
        self.confirm()
        self.sync()
        if not self._unregistered:
            return
        rows = {f"{self._source}/{key}": record for key, record in self._unregistered.items()}
        offer = Offer(
            source=self._source,
            files={path: record.bytes or 0 for path, record in rows.items()},
            origin=self._connector,
            licence=_one({record.licence for record in rows.values()}),
            folder=str(self._data_dir),
            sha256={path: record.sha256 for path, record in rows.items() if record.sha256 is not None},
            retrieved_at={path: record.retrieved_at for path, record in rows.items()},
            hosts=_hosts(rows.values()),
        )
        acquire(self._ws, offer, self._scope)
        self._unregistered.clear()

    def discard_parts(self) -> None:
        """Remove what is half fetched: of a source without approval nothing stays behind."""
        for path in self.folder.rglob(f"{PART_PREFIX}*"):
            path.unlink(missing_ok=True)

    @property
    def unregistered(self) -> int:
        """Items that wait for `register`."""
        return len(self._unregistered)

    def _withdraw(self, key: str) -> None:
        record = self._unregistered.pop(key, None)
        (self.folder / key).unlink(missing_ok=True)
        if record is not None:
            failure = FetchFailed(FetchReason.STOPPED, "the approval ended while it came in", record.url)
            self.turn_down(RemoteItem(key, record.url), failure)
            self.counts.kept -= 1
            self.counts.bytes -= record.bytes or 0

    def _append(self, record: ItemRecord) -> None:
        with storage_errors(self.folder):
            if self._log is None:
                self._log = _new_segment(self.folder / FOLDER / LOG)
            self._log.write(record.line().encode())
            self._log.flush()

    def _left_unregistered(self) -> dict[str, ItemRecord]:
        """Items that a killed run fetched and did not register."""
        landed = {key: record for key, record in kept(self.folder).items() if (self.folder / key).is_file()}
        if not landed:
            return {}
        before = registered(self._ws, self._source)
        return {key: record for key, record in landed.items() if f"{self._source}/{key}" not in before}


def key_problem(key: str) -> str | None:
    """Why a key is no path below a source's folder, or None. Pure."""
    parts = key.split("/")
    if not key or len(key) > _MAX_KEY_CHARACTERS:
        return "a key has 1 to 1000 characters"
    if "\\" in key or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        return "a key has no backslash and no control characters"
    for part in parts:
        if part in ("", ".", "..") or part.startswith(".") or part in _SKIPPED:
            return "a part of the key is empty, hidden or leads out"
        if len(part.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
            return f"a part of the key is longer than {_MAX_NAME_BYTES} bytes"
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return "the key is no valid Unicode"
    return None


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, a MiB in memory at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _status(failure: FetchFailed) -> Status:
    if failure.reason is FetchReason.DUPLICATE_KEY:
        return "duplicate"
    return "refused" if failure.refused else "failed"


def _known(folder: Path) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    for record in records(folder):
        if record.status == "failed":
            known.pop(record.path, None)
        elif record.status != "duplicate":
            known[record.path] = _Known(record.url, record.bytes, record.sha256, record.status == "refused")
    return known


def _is_there(path: Path, known: _Known, *, verify: bool) -> bool:
    try:
        if path.stat().st_size != known.bytes:
            return False
    except OSError:
        return False
    return not verify or sha256_of(path) == known.sha256


def _contradicts(item: RemoteItem, known: _Known) -> bool:
    """Whether the origin now announces other content than what has landed."""
    expected = item.expect_sha256
    if expected is not None and known.sha256 is not None and expected.lower() != known.sha256:
        return True
    return item.range is None and item.expect_bytes is not None and item.expect_bytes != known.bytes


def _new_segment(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.jsonl"))) + 1
    while True:
        try:
            file = (folder / f"{number:08d}.jsonl").open("xb")
        except FileExistsError:
            number += 1
            continue
        sync_folder(folder)
        return file


def _hosts(rows: Iterable[ItemRecord]) -> tuple[str, ...]:
    """The hosts that items came from, the first of them by name where there are very many."""
    hosts = {host_of(address) for row in rows for address in (row.url, row.final_url) if address is not None}
    return tuple(sorted(hosts - {""}))[:_HOSTS]


def _one(values: Iterable[str | None]) -> str | None:
    found = list(values)
    return found[0] if len(found) == 1 else None

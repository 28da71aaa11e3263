"""When each file of a source came in, and under which approval: so that "use first, review later" cannot hide.

An acquisition is a create-only pair `data/acquired/<source>/<n>.json` and `<n>.parquet` (path, bytes). Files that an
earlier acquisition lists keep its time; only new ones get a new acquisition.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance.approval import require_approval, require_use
from expedition.data.compliance.ledger import Entry, timestamp
from expedition.errors import InputError
from expedition.workspace import Workspace
from expedition.workspace.schema import checked_schema

SCHEMA = "data.acquisition"
ACQUIRED = "data/acquired"
_LISTING = pa.schema([("path", pa.string()), ("bytes", pa.int64())])


@dataclass(frozen=True, slots=True)
class Offer:
    """Files that stand ready to be acquired: paths relative to the data folder, and their sizes."""

    source: str
    files: Mapping[str, int]
    origin: str
    """Where they come from: a folder, a URL, a connector's name."""
    licence: str | None = None


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


def acquire(ws: Workspace, offer: Offer, scope: str = "training", at: str | None = None) -> Acquired:
    """Register the files of `offer` that are not registered yet, under an approval in force at `at` (None: now).

    Idempotent. Raises ComplianceRefused (nothing is written) without an approval, InputError for a folder without
    files.
    """
    approval = require_approval(ws, offer.source, at, scope)
    if not offer.files:
        raise InputError(
            f"source {offer.source!r} has no files", where=offer.origin, fix="give a folder with raw files"
        )
    known = _listed(ws, offer.source)
    new = {path: size for path, size in sorted(offer.files.items()) if path not in known}
    if new:
        _write(ws, offer, new, approval, timestamp() if at is None else at, scope)
    return acquired(ws, offer.source)


def acquired(ws: Workspace, source: str) -> Acquired:
    """What is registered of `source`. Raises InputError if nothing is."""
    known = _listed(ws, source)
    times = sorted(set(known.values()))
    if not times:
        raise InputError(
            f"source {source!r} was never acquired", fix=f"expedition data acquire FOLDER --source {source}"
        )
    later = {path: moment for path, moment in known.items() if moment != times[0]}
    return Acquired(source, times[0], later, len(times))


def require_acquired_use(ws: Workspace, found: Acquired, scope: str = "training", at: str | None = None) -> Entry:
    """`require_use` for every time at which files of the source came in. Raises ComplianceRefused."""
    entries = [require_use(ws, found.source, moment, at, scope) for moment in found.times()]
    return entries[-1]


def list_acquisitions(ws: Workspace) -> list[dict[str, Any]]:
    """All acquisitions: source, acquired_at, files, bytes, origin, approval_id, licence, scope."""
    return [ws.read_json(key) for key in ws.store.list(ACQUIRED) if key.endswith(".json")]


def _listed(ws: Workspace, source: str) -> dict[str, str]:
    """Path → time of acquisition. A listing without its record is what a kill left: it does not count."""
    known: dict[str, str] = {}
    for key in _records(ws, source):
        record = ws.read_json(key)
        checked_schema(record, SCHEMA, 1, key)
        listing = pq.read_table(io.BytesIO(ws.store.read(key.removesuffix(".json") + ".parquet")))
        for path in listing.column("path").to_pylist():
            known.setdefault(path, record["acquired_at"])
    return known


def _records(ws: Workspace, source: str) -> Sequence[str]:
    return [key for key in ws.store.list(f"{ACQUIRED}/{source}") if key.endswith(".json")]


def _write(ws: Workspace, offer: Offer, new: Mapping[str, int], approval: Entry, moment: str, scope: str) -> None:
    number = len(_records(ws, offer.source)) + 1
    stem = f"{ACQUIRED}/{offer.source}/{number:08d}"
    buffer = io.BytesIO()
    pq.write_table(pa.table({"path": list(new), "bytes": list(new.values())}, schema=_LISTING), buffer)
    ws.store.write(f"{stem}.parquet", buffer.getvalue())
    record = {
        "source": offer.source,
        "acquired_at": moment,
        "approval_id": approval.id,
        "scope": scope,
        "origin": offer.origin,
        "licence": offer.licence,
        "files": len(new),
        "bytes": sum(new.values()),
    }
    ws.write_json(f"{stem}.json", record, schema=f"{SCHEMA}/1")

"""The workspace: a folder or object-store prefix with a fixed layout, the only thing rooms share at run time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.errors import InputError, StorageError, UsageError
from expedition.workspace.atomic import storage_errors
from expedition.workspace.events import Event, EventWriter, anchor_events, read_events, verify_events
from expedition.workspace.hashes import canonical_json, sha256_bytes, sha256_pieces
from expedition.workspace.lock import Lease
from expedition.workspace.store import FolderStore, Store

MARKER = "workspace.json"
MARKER_SCHEMA = "workspace/1"
ARTEFACT_WRITTEN = "artefact.written"
"""Event kind: `key` was written through `write_json` with content hash `sha256`."""


class Workspace:
    """Typed access to a `Store`: JSON artefacts, events, leases, scratch space."""

    def __init__(self, store: Store, place: str) -> None:
        self.store = store
        self.place = place
        self._writers: dict[tuple[str, int], EventWriter] = {}

    @classmethod
    def open(cls, place: str | Path, *, create: bool = False) -> Workspace:
        """Open the workspace at a folder path or `s3://bucket/prefix?endpoint=…`.

        Raises UsageError if it is not one and `create` is false, StorageError if it cannot be written.
        """
        text = str(place)
        store = store_at(text, create=create)
        workspace = cls(store, text)
        if not store.exists(MARKER):
            if not create:
                raise UsageError(
                    "this is not an expedition workspace",
                    where=store.describe(),
                    fix="give --workspace, or make one with: expedition rehearse --workspace DIR",
                )
            store.write(MARKER, canonical_json({"schema": MARKER_SCHEMA}) + b"\n")
        return workspace

    def read_json(self, key: str) -> dict[str, Any]:
        """The JSON object at `key`. Raises NotFound, or InputError when it is no JSON object."""
        try:
            value = json.loads(self.store.read(key))
        except (ValueError, RecursionError) as error:
            raise InputError(f"not readable as JSON: {error}", where=key) from error
        if not isinstance(value, dict):
            raise InputError("not a JSON object", where=key)
        return value

    def write_json(self, key: str, value: dict[str, Any], *, schema: str) -> None:
        """Write `value` with its `schema` as indented JSON with sorted keys. Raises ValueError for NaN.

        Its hash goes on the event chain first: evidence that was changed by another hand is noticed by the gates.
        """
        body = json_artefact(value, schema)
        self.events("artefacts").append(ARTEFACT_WRITTEN, key=key, sha256=sha256_bytes(body))
        self.store.write(key, body)

    def written_hashes(self) -> dict[str, list[str]]:
        """Content hashes on the event chain by key, oldest first, of everything written by `write_json`."""
        hashes: dict[str, list[str]] = {}
        for event in self.events_all(ARTEFACT_WRITTEN):
            hashes.setdefault(event.fields["key"], []).append(event.fields["sha256"])
        return hashes

    def write_text(self, key: str, text: str) -> None:
        """Write UTF-8 text."""
        self.store.write(key, text.encode())

    def hash(self, key: str) -> str:
        """Hex SHA-256 of the content of `key`, in bounded memory."""
        return sha256_pieces(self.store.stream(key))

    def events(self, writer: str) -> EventWriter:
        """This process's event chain for `writer`."""
        name = (writer, os.getpid())
        if name not in self._writers:
            self._writers[name] = EventWriter(self.store, writer)
        return self._writers[name]

    def events_all(self, kind_prefix: str | None = None) -> Iterator[Event]:
        """All events in order of time."""
        return read_events(self.store, kind_prefix)

    def verify_events(self) -> list[str]:
        """What is wrong with the event log; empty when it is whole."""
        return verify_events(self.store)

    def anchor_events(self) -> str:
        """Anchor the heads of all event chains."""
        return anchor_events(self.store)

    def lease(self, name: str) -> Lease:
        """A lease on a part of the workspace, to be used with `with`."""
        return Lease(self.store, name)

    def scratch(self, name: str) -> Path:
        """A local folder for work that can be lost: inside a folder workspace, else in the temporary folder."""
        if isinstance(self.store, FolderStore):
            path = self.store.root / ".scratch" / name
        else:
            from hashlib import sha256

            identity = sha256(self.place.encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"expedition-scratch-{os.getuid()}" / identity / name
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, key: str) -> Path:
        """The real path of `key` in a folder workspace. Raises UsageError in an object store: use `store.local`."""
        if not isinstance(self.store, FolderStore):
            raise UsageError(f"{key} has no local path in an object store", where=self.store.describe())
        return self.store.root / key

    def bytes_of(self, key: str) -> Iterator[bytes]:
        """The content of `key` in pieces of some MiB."""
        return self.store.stream(key)


def json_artefact(value: dict[str, Any], schema: str) -> bytes:
    """The bytes that `write_json` writes for `value`. Raises ValueError for NaN."""
    text = json.dumps({**value, "schema": schema}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def store_at(place: str, *, create: bool = False) -> Store:
    """The store at a folder path or `s3://bucket/prefix?endpoint=…`, be it a workspace or not.

    Raises UsageError for a place that is none, or a folder that is missing unless `create`.
    """
    if "://" in place:
        from expedition.workspace.objects import ObjectStore

        return ObjectStore(place)
    return _folder_store(Path(place), create=create)


def _folder_store(path: Path, *, create: bool) -> FolderStore:
    if path.exists() and not path.is_dir():
        raise UsageError("the workspace path is a file", where=str(path), fix="give a folder")
    if not path.exists():
        if not create:
            raise UsageError(
                "no workspace here", where=str(path), fix="make one with: expedition rehearse --workspace DIR"
            )
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    if create and not os.access(path, os.W_OK):
        raise StorageError("cannot write here", where=str(path), fix="use --workspace with a folder you can write")
    return FolderStore(path)

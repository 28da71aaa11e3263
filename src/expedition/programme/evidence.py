"""Reads artefacts for the criteria and remembers which: evidence is what a verdict was computed from, by path and hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from expedition.plan.models import Programme
from expedition.workspace import Event, NotFound, Workspace, layout
from expedition.workspace.hashes import sha256_bytes, sha256_file

KEPT_HASHES = 2
"""How many of the last recorded hashes count as unchanged: a write is on the chain just before it is in the store."""


class NoEvidence(Exception):
    """What a criterion asks for is not there; the text says what is missing."""


class Changed(Exception):
    """Evidence is not what its writer recorded; the text says which."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a query found. `value` is a number, or true/false for "all" and "pass"; `note` explains it in a few words."""

    value: float | bool
    note: str = ""
    conditions: tuple[str, ...] = ()


class Reader:
    """Access to a workspace's artefacts for one criterion; collects `evidence` (key → sha256) and `conditions`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.programme = archive.programme
        self.evidence: dict[str, str] = {}
        self.conditions: list[str] = []

    def json(self, key: str) -> dict[str, Any]:
        """A JSON artefact. Raises NoEvidence if it is missing, Changed if another hand wrote it."""
        document, digest = self._archive.json(key)
        self.evidence[key] = digest
        for condition in document.get("conditions") or []:
            if condition not in self.conditions:
                self.conditions.append(str(condition))
        return document

    def field(self, key: str, *path: str) -> Any:
        """A field of a JSON artefact. Raises NoEvidence where the artefact says null or lacks it."""
        value: Any = self.json(key)
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
            if value is None:
                raise NoEvidence(f"{key} does not know {'.'.join(path)}")
        return value

    def optional(self, key: str) -> dict[str, Any] | None:
        """A JSON artefact, None if it is missing."""
        try:
            return self.json(key)
        except NoEvidence:
            return None

    def keys(self, prefix: str, suffix: str = "") -> list[str]:
        """Keys under `prefix` that end with `suffix`."""
        return [key for key in self._archive.ws.store.list(prefix) if key.endswith(suffix)]

    def lines(self, key: str) -> list[dict[str, Any]]:
        """A file of JSON lines. Raises NoEvidence, or Changed for a line that is no JSON."""
        try:
            data = self._archive.ws.store.read(key)
        except NotFound as error:
            raise NoEvidence(f"{key} is missing") from error
        self.evidence[key] = sha256_bytes(data)
        try:
            return [json.loads(line) for line in data.splitlines() if line.strip()]
        except ValueError as error:
            raise Changed(f"{key} holds a line that is no JSON") from error

    def file_hash(self, key: str) -> str:
        """Content hash of any artefact; becomes evidence. Raises NoEvidence."""
        self.evidence[key] = self._archive.hash(key)
        return self.evidence[key]

    def verified(self, folder: str, files: list[dict[str, Any]]) -> tuple[int, list[str]]:
        """(how many of a manifest's `files` [{path, sha256}] under `folder` match, paths that do not)."""
        wrong = []
        for item in files:
            try:
                good = self._archive.hash(f"{folder}/{item['path']}") == item["sha256"]
            except NoEvidence:
                good = False
            if not good:
                wrong.append(f"{folder}/{item['path']}")
        return len(files) - len(wrong), wrong

    def events(self, prefix: str) -> list[Event]:
        """Events whose kind starts with `prefix`. Raises Changed if the event log is broken."""
        if self._archive.event_problems:
            raise Changed("the event log is broken: " + "; ".join(self._archive.event_problems[:3]))
        return [event for event in self._archive.events if event.kind.startswith(prefix)]


class Archive:
    """One pass over a workspace: what several criteria read is read and hashed once."""

    def __init__(self, ws: Workspace, programme: Programme) -> None:
        self.ws = ws
        self.programme = programme
        self._json: dict[str, tuple[dict[str, Any], str]] = {}
        self._hashes: dict[str, str] = {}

    @cached_property
    def events(self) -> list[Event]:
        return list(self.ws.events_all())

    @cached_property
    def event_problems(self) -> list[str]:
        return self.ws.verify_events()

    @cached_property
    def _written(self) -> dict[str, list[str]]:
        return self.ws.written_hashes()

    def hash(self, key: str) -> str:
        if key not in self._hashes:
            try:
                self._hashes[key] = sha256_file(self.ws.store.local(key))
            except NotFound as error:
                raise NoEvidence(f"{key} is missing") from error
        return self._hashes[key]

    def json(self, key: str) -> tuple[dict[str, Any], str]:
        if key not in self._json:
            try:
                data = self.ws.store.read(key)
            except NotFound as error:
                raise NoEvidence(f"{key} is missing") from error
            digest = sha256_bytes(data)
            recorded = self._written.get(key)
            if recorded is not None and digest not in recorded[-KEPT_HASHES:]:
                raise Changed(f"{key} was changed after it was written")
            try:
                document = json.loads(data)
            except ValueError as error:
                raise Changed(f"{key} is not JSON any more") from error
            if not isinstance(document, dict):
                raise Changed(f"{key} is not a JSON object")
            self._json[key] = (document, digest)
        return self._json[key]


Query = Callable[[Reader], Measured]


def dataset_versions(reader: Reader) -> Iterator[tuple[str, dict[str, Any]]]:
    """(version, manifest) of every finished dataset version, in order of version; shards and index are verified.

    Raises NoEvidence if there is none, Changed if a shard or index file is not what the manifest says.
    """
    keys = [key for key in reader.keys("data/" + layout.DATASET, "/manifest.json")]
    if not keys:
        raise NoEvidence("no dataset version is finished")
    for key in keys:
        manifest = reader.json(key)
        folder = key.removesuffix("/manifest.json")
        others = [{"path": path, **told} for path, told in manifest.get("files", {}).items()]
        files = [*manifest.get("shards", []), *others]
        _, wrong = reader.verified(folder, files)
        if wrong:
            raise Changed(f"{wrong[0]} is not what its manifest says")
        yield folder.rsplit("/", 1)[1], manifest

"""The event log: what happened, in immutable segments, one hash chain a writer, with anchors over all chains.

Each process that writes opens a chain of its own (`events/<writer>-<pid…>/00000000.json`), so no two processes ever
touch the same key and an object store without append is enough. Every event carries the hash of the one before it;
an anchor (`events/anchors/…json`) records the heads of all chains, so that a chain cut at its end is noticed too.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from expedition.workspace.hashes import canonical_json, sha256_bytes
from expedition.workspace.layout import EVENTS
from expedition.workspace.store import AlreadyExists, NotFound, Store

SCHEMA = "workspace.event/1"
FIRST_PREVIOUS = "0" * 64


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `time` is ISO 8601 UTC with microseconds; `sequence` counts within `chain`."""

    kind: str
    time: str
    writer: str
    chain: str
    sequence: int
    fields: dict[str, Any]
    previous: str
    hash: str


def utc_now() -> str:
    """Now, ISO 8601 UTC with microseconds: sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class EventWriter:
    """Appends to one hash chain. One object a process and writer name; not for several threads at once."""

    def __init__(self, store: Store, writer: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", writer):
            raise ValueError(f"writer name {writer!r} must be lower-case letters, digits, '_', '.', '-'")
        self._store = store
        self._writer = writer
        started = time.time_ns() // 1000
        self.chain = f"{writer}-{started:017d}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._sequence = 0
        self._previous = FIRST_PREVIOUS

    def append(self, kind: str, /, **fields: Any) -> Event:
        """Write one event durably and return it. `fields` must be JSON without NaN."""
        body = {
            "schema": SCHEMA,
            "kind": kind,
            "time": utc_now(),
            "writer": self._writer,
            "chain": self.chain,
            "sequence": self._sequence,
            "fields": fields,
            "previous": self._previous,
        }
        digest = sha256_bytes(canonical_json(body))
        key = f"{EVENTS}/{self.chain}/{self._sequence:08d}.json"
        self._store.create(key, canonical_json({**body, "hash": digest}) + b"\n")
        self._sequence += 1
        self._previous = digest
        return _event({**body, "hash": digest})


def read_events(store: Store, kind_prefix: str | None = None) -> Iterator[Event]:
    """All events in order of time (ties: chain, sequence), or those whose kind starts with `kind_prefix`."""
    events = [
        _event(json.loads(store.read(key))) for key in store.list(EVENTS) if not key.startswith(f"{EVENTS}/anchors/")
    ]
    events.sort(key=lambda event: (event.time, event.chain, event.sequence))
    for event in events:
        if kind_prefix is None or event.kind.startswith(kind_prefix):
            yield event


def chain_events(store: Store, writer: str) -> tuple[list[Event], list[str]]:
    """The events of one writer's chains in order of time, and what is wrong with these chains.

    Other chains are neither listed nor read.
    """
    events: list[Event] = []
    problems: list[str] = []
    own = re.compile(rf"{re.escape(writer)}-\d{{17}}-\d+-[0-9a-f]+")
    for chain in filter(own.fullmatch, store.folders(EVENTS)):
        previous = FIRST_PREVIOUS
        for number, key in enumerate(store.list(f"{EVENTS}/{chain}")):
            try:
                raw = json.loads(store.read(key))
                event = _event(raw)
                digest = sha256_bytes(canonical_json({name: raw[name] for name in raw if name != "hash"}))
            except (ValueError, KeyError, TypeError, NotFound):
                problems.append(f"{key} is not an event")
                continue
            if digest != event.hash:
                problems.append(f"chain {chain}: event {number} was changed")
            elif (event.sequence, event.previous) != (number, previous):
                problems.append(f"chain {chain}: event {number} is missing or out of place")
            previous = event.hash
            events.append(event)
    return sorted(events, key=lambda event: (event.time, event.chain, event.sequence)), problems


def verify_events(store: Store) -> list[str]:
    """What is wrong with the log, one sentence each; empty when every chain and anchor holds."""
    problems: list[str] = []
    chains: dict[str, list[dict[str, Any]]] = {}
    for key in store.list(EVENTS):
        if key.startswith(f"{EVENTS}/anchors/"):
            continue
        try:
            raw = json.loads(store.read(key))
        except ValueError:
            problems.append(f"{key} is not JSON")
            continue
        chains.setdefault(key.split("/")[1], []).append(raw)
    hashes: dict[str, set[str]] = {}
    for chain, raws in chains.items():
        previous = FIRST_PREVIOUS
        hashes[chain] = set()
        for number, raw in enumerate(raws):
            body = {name: value for name, value in raw.items() if name != "hash"}
            if raw.get("sequence") != number or raw.get("previous") != previous:
                problems.append(f"chain {chain}: event {number} is missing or out of place")
                break
            if sha256_bytes(canonical_json(body)) != raw.get("hash"):
                problems.append(f"chain {chain}: event {number} was changed")
                break
            previous = raw["hash"]
            hashes[chain].add(previous)
    for key in store.list(f"{EVENTS}/anchors"):
        for chain, head in json.loads(store.read(key))["heads"].items():
            if head not in hashes.get(chain, set()):
                problems.append(f"{key}: chain {chain} no longer holds the event that was anchored")
    return problems


def anchor_events(store: Store) -> str:
    """Write an anchor over the heads of all chains and return its key."""
    heads: dict[str, str] = {}
    for key in store.list(EVENTS):
        if not key.startswith(f"{EVENTS}/anchors/"):
            heads[key.split("/")[1]] = json.loads(store.read(key))["hash"]
    body = canonical_json({"schema": "workspace.anchor/1", "time": utc_now(), "heads": heads}) + b"\n"
    while True:
        number = sum(1 for _ in store.list(f"{EVENTS}/anchors"))
        key = f"{EVENTS}/anchors/{number:08d}.json"
        try:
            store.create(key, body)
        except AlreadyExists:
            continue
        return key


def _event(raw: dict[str, Any]) -> Event:
    try:
        return Event(
            kind=raw["kind"],
            time=raw["time"],
            writer=raw["writer"],
            chain=raw["chain"],
            sequence=raw["sequence"],
            fields=raw["fields"],
            previous=raw["previous"],
            hash=raw["hash"],
        )
    except KeyError as error:
        raise NotFound(f"an event lacks the field {error}", where=EVENTS) from error

"""The approval ledger: who decided what about a source, when, why, on which document; one hash chain.

Object stores have no append, so the ledger *is* the create-only entries `compliance/ledger/00000001.json`, …: two
writers that decide at once cannot take the same number, and the later one chains onto the earlier.
`compliance/ledger.jsonl` is a view of the entries, one line each, made again whenever it is not equal to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from expedition.errors import CheckFailed, UsageError
from expedition.workspace import AlreadyExists, Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes

SCHEMA = "compliance.entry/1"
ENTRIES = "compliance/ledger"
GENESIS = "0" * 64
ANY_SCOPE = "any"

Decision = Literal["approve", "refuse", "revoke"]
Policy = Literal["full", "minimal-use", "anonymise"]
DECISIONS: tuple[Decision, ...] = ("approve", "refuse", "revoke")
POLICIES: tuple[Policy, ...] = ("full", "minimal-use", "anonymise")


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision. Times are ISO 8601 UTC with microseconds, so that they compare as text."""

    id: str
    """`L` and the entry's number; what a manifest names as its approval."""
    decision: Decision
    source: str
    who: str
    when: str
    why: str
    document: str | None
    """Where the signed paper is, or its hash."""
    scope: str
    """What the source may be used for: `any`, `training`, `rehearsal`, …"""
    policy: Policy
    policy_detail: str | None
    expires: str | None
    """From this moment on an approval no longer holds; None: it does not end."""
    previous: str
    """Hash of the entry before; 64 zeros for the first."""
    hash: str
    """SHA-256 of the canonical JSON of every other field and the schema."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person decides; `append` makes an Entry of it."""

    decision: Decision
    source: str
    who: str
    why: str
    document: str | None = None
    scope: str = ANY_SCOPE
    policy: Policy = "full"
    policy_detail: str | None = None
    expires: str | None = None


def timestamp(moment: datetime | None = None) -> str:
    """`moment` (now, if None) in the ledger's form. Raises UsageError for a time without zone."""
    moment = datetime.now(UTC) if moment is None else moment
    if moment.tzinfo is None:
        raise UsageError(f"{moment.isoformat()} has no time zone", fix="write it like 2031-05-01T00:00:00Z")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str, what: str) -> str:
    """A date or time that a person typed, in the ledger's form; a time without zone is UTC. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{what} {text!r} is not a date", fix="write 2031-05-01 or 2031-05-01T12:00:00Z") from error
    return timestamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def append(ws: Workspace, statement: Statement, when: str | None = None) -> Entry:
    """Add one decision and return its entry. Raises UsageError for an empty or unknown field.

    A decision never lies before the newest entry: a ledger that can be dated back proves nothing.
    """
    _check(statement)
    while True:
        entries = read(ws)
        newest = entries[-1].when if entries else ""
        moment = when or max(timestamp(), newest)
        if moment < newest:
            raise UsageError(f"{moment} lies before the newest entry ({newest})", fix="leave the time out")
        entry = _seal(statement, len(entries) + 1, moment, entries[-1].hash if entries else GENESIS)
        try:
            ws.store.create(_key(len(entries) + 1), _line(entry))
        except AlreadyExists:
            continue
        _refresh_view(ws, [*entries, entry])
        return entry


def read(ws: Workspace) -> list[Entry]:
    """All entries, oldest first, with the chain verified. Raises CheckFailed if it is broken. Repairs the view."""
    entries, problems = inspect(ws)
    if problems:
        raise CheckFailed(
            f"the compliance ledger is damaged: {problems[0]}",
            where=ENTRIES,
            fix="restore it from a copy; nothing may be used until it verifies: expedition compliance audit",
        )
    _refresh_view(ws, entries)
    return entries


def inspect(ws: Workspace) -> tuple[list[Entry], list[str]]:
    """The readable entries and what is wrong with the chain; changes nothing."""
    entries: list[Entry] = []
    problems: list[str] = []
    previous = GENESIS
    for number, key in enumerate(ws.store.list(ENTRIES), start=1):
        try:
            raw = json.loads(ws.store.read(key))
            entry = Entry(**{field.name: raw[field.name] for field in fields(Entry)})
        except (ValueError, KeyError, TypeError, RecursionError):
            problems.append(f"{key} is not an entry")
            continue
        if key != _key(number):
            problems.append(f"{key} stands where {_key(number)} should: an entry is missing")
        if _digest(entry) != entry.hash:
            problems.append(f"{key} was changed after it was written")
        if entry.previous != previous:
            problems.append(f"{key} does not follow the entry before it")
        previous = entry.hash
        entries.append(entry)
    return entries, problems


def view_is_current(ws: Workspace, entries: Iterable[Entry]) -> bool:
    """Whether `compliance/ledger.jsonl` says exactly what the entries say."""
    expected = b"".join(_line(entry) for entry in entries)
    return (ws.store.read(layout.LEDGER) if ws.store.exists(layout.LEDGER) else b"") == expected


def _refresh_view(ws: Workspace, entries: list[Entry]) -> None:
    if entries and not view_is_current(ws, entries):
        ws.store.write(layout.LEDGER, b"".join(_line(entry) for entry in entries))


def _check(statement: Statement) -> None:
    for name in ("source", "who", "why", "scope"):
        if not str(getattr(statement, name)).strip():
            raise UsageError(f"a decision needs a {name}", fix=f"give --{name}")
    if statement.decision not in DECISIONS:
        raise UsageError(f"decision {statement.decision!r} is none of {', '.join(DECISIONS)}")
    if statement.policy not in POLICIES:
        raise UsageError(f"policy {statement.policy!r} is none of {', '.join(POLICIES)}")


def _seal(statement: Statement, number: int, when: str, previous: str) -> Entry:
    unsealed = Entry(id=f"L{number:06d}", when=when, previous=previous, hash="", **asdict(statement))
    return Entry(**{**asdict(unsealed), "hash": _digest(unsealed)})


def _digest(entry: Entry) -> str:
    body: dict[str, Any] = {**asdict(entry), "schema": SCHEMA}
    del body["hash"]
    return sha256_bytes(canonical_json(body))


def _line(entry: Entry) -> bytes:
    return canonical_json({**asdict(entry), "schema": SCHEMA}) + b"\n"


def _key(number: int) -> str:
    return f"{ENTRIES}/{number:08d}.json"

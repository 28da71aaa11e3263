"""The approval ledger: who decided what about a source, when, why, on which document; one hash chain.

Object stores have no append, so the ledger *is* the create-only entries `compliance/ledger/00000001.json`, …: two
writers that decide at once cannot take the same number, and the later one chains onto the earlier. Each entry's hash is
also an event on the chain of writer `compliance`: a ledger that was cut at its end, or written anew with fitting
hashes, no longer says what the events say. `compliance/ledger.jsonl` is a view of the entries, one line each, made
again whenever it is not equal to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from expedition.data.compliance.policy import ANONYMISE_STAGES, POLICIES, Caps, Policy, caps_of
from expedition.errors import CheckFailed, UsageError
from expedition.workspace import AlreadyExists, Workspace, layout
from expedition.workspace.events import chain_events
from expedition.workspace.hashes import canonical_json, sha256_bytes

SCHEMA = "compliance.entry/2"
FIRST_SCHEMA = "compliance.entry/1"
ENTRIES = "compliance/ledger"
GENESIS = "0" * 64
ANY_SCOPE = "any"
WRITER = "compliance"
DECIDED = "compliance.decided"
"""Event kind: an entry was written; `entry` is its id, `sha256` its hash."""

Decision = Literal["approve", "refuse", "revoke"]
DECISIONS: tuple[Decision, ...] = ("approve", "refuse", "revoke")


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision. Times are ISO 8601 UTC with microseconds, so that they compare as text."""

    id: str
    """`L` and the entry's number; what a manifest names as its approval."""
    decision: Decision
    source: str
    who: str
    when: str
    """Never before the entry before it, whatever the clock said."""
    why: str
    document: str | None
    """Where the signed paper is: a key of the ledger's folder, a URL, or `sha256:` and its hash."""
    document_sha256: str | None
    """Hash of the paper's bytes, where they were there."""
    scope: str
    """What the source may be used for: `any`, `training`, `rehearsal`, …"""
    policy: Policy
    caps: Caps
    """The most that may be used under this approval."""
    stages: tuple[str, ...]
    """Stages that must run for every document (anonymise)."""
    expires: str | None
    """From this moment on an approval no longer holds; None: it does not end."""
    previous: str
    """Hash of the entry before; 64 zeros for the first."""
    hash: str
    """SHA-256 of the canonical JSON of every other field and the schema."""

    @property
    def number(self) -> int:
        """Its place in the ledger, from 1."""
        return int(self.id[1:])


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person decides; `append` makes an Entry of it."""

    decision: Decision
    source: str
    who: str
    why: str
    document: str | None = None
    document_sha256: str | None = None
    scope: str = ANY_SCOPE
    policy: Policy = "full"
    caps: Caps = Caps()
    stages: tuple[str, ...] = ()
    expires: str | None = None


def timestamp(moment: datetime | None = None) -> str:
    """`moment` (now, if None) in the ledger's form. Raises UsageError for a time without zone."""
    moment = datetime.now(UTC) if moment is None else moment
    if moment.tzinfo is None:
        raise UsageError(f"{moment.isoformat()} has no time zone", fix="write it like 2031-05-01T00:00:00Z")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now(entries: Sequence[Entry]) -> str:
    """The present, at no moment before the newest entry: a clock that was set back undoes no decision."""
    return max(timestamp(), entries[-1].when) if entries else timestamp()


def parse_time(text: str, what: str) -> str:
    """A date or time that a person typed, in the ledger's form; a time without zone is UTC. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{what} {text!r} is not a date", fix="write 2031-05-01 or 2031-05-01T12:00:00Z") from error
    return timestamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def append(ws: Workspace, statement: Statement, when: str | None = None) -> Entry:
    """Add one decision and return its entry. Raises UsageError for an empty or unknown field.

    A decision never lies before the newest entry: a ledger that can be dated back proves nothing. A kill between the
    entry and its event leaves an entry that the next `append` puts on the event chain.
    """
    statement = _checked(statement)
    while True:
        entries = read(ws)
        newest = entries[-1].when if entries else ""
        moment = when or now(entries)
        if moment < newest:
            raise UsageError(f"{moment} lies before the newest entry ({newest})", fix="leave the time out")
        _anchor(ws, entries)
        entry = _seal(statement, len(entries) + 1, moment, entries[-1].hash if entries else GENESIS)
        try:
            ws.store.create(_key(len(entries) + 1), _line(entry))
        except AlreadyExists:
            continue
        _anchor(ws, [*entries, entry])
        _refresh_view(ws)
        return entry


def read(ws: Workspace) -> list[Entry]:
    """All entries, oldest first, with the chain verified. Raises CheckFailed if it is broken. Repairs the view."""
    entries, problems = inspect(ws)
    _refuse_damaged(problems)
    _refresh_view(ws)
    return entries


def inspect(ws: Workspace) -> tuple[list[Entry], list[str]]:
    """The readable entries and what is wrong with the chain and its anchors; changes nothing."""
    entries: list[Entry] = []
    problems: list[str] = []
    previous = GENESIS
    unanchored_by_age: set[str] = set()
    for number, key in enumerate(ws.store.list(ENTRIES), start=1):
        try:
            raw = json.loads(ws.store.read(key))
            entry = _entry(raw)
            digest = _digest(raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError):
            problems.append(f"{key} is not an entry")
            continue
        if key != _key(number) or entry.id != _id(number):
            problems.append(f"{key} ({entry.id}) stands where {_key(number)} should: an entry is missing")
        if digest != entry.hash:
            problems.append(f"{key} was changed after it was written")
        if entry.previous != previous:
            problems.append(f"{key} does not follow the entry before it")
        if entries and entry.when < entries[-1].when:
            problems.append(f"{key} is dated before the entry before it")
        if raw["schema"] == FIRST_SCHEMA:
            unanchored_by_age.add(entry.id)
        previous = entry.hash
        entries.append(entry)
    anchored, broken = _anchors(ws)
    return entries, [*problems, *broken, *_against_anchors(entries, anchored, unanchored_by_age)]


def view_is_current(ws: Workspace) -> bool:
    """Whether `compliance/ledger.jsonl` says exactly what the entries say."""
    return (ws.store.read(layout.LEDGER) if ws.store.exists(layout.LEDGER) else b"") == _view(ws)


def statement_fields(entry: Entry) -> dict[str, Any]:
    """An entry as JSON values, in the order in which people read it."""
    return {**asdict(entry), "stages": list(entry.stages)}


def _refuse_damaged(problems: Sequence[str]) -> None:
    if problems:
        raise CheckFailed(
            f"the compliance ledger is damaged: {problems[0]}",
            where=ENTRIES,
            fix="restore it from a copy; nothing may be used until it verifies: expedition compliance audit",
        )


def _anchors(ws: Workspace) -> tuple[dict[str, set[str]], list[str]]:
    """Entry id → hashes that events say it had, and what is wrong with those events' own chains."""
    events, problems = chain_events(ws.store, WRITER)
    found: dict[str, set[str]] = {}
    for event in events:
        if event.kind == DECIDED:
            found.setdefault(event.fields["entry"], set()).add(event.fields["sha256"])
    return found, problems


def _against_anchors(
    entries: Sequence[Entry], anchored: Mapping[str, set[str]], unanchored_by_age: set[str]
) -> list[str]:
    """What the events say against the entries. Only the newest may have no event yet: a kill can come between, and the
    next decision puts it there before its own entry exists. Ledgers of the first schema had none."""
    held = {entry.id: entry.hash for entry in entries}
    problems = []
    for name, hashes in sorted(anchored.items()):
        if name not in held:
            problems.append(f"entry {name} is gone: the event log says that it was written")
        elif hashes != {held[name]}:
            problems.append(f"entry {name} is not the one that the event log saw written")
    silent = [entry.id for entry in entries[:-1] if entry.id not in anchored and entry.id not in unanchored_by_age]
    return [*problems, *(f"entry {name} has no event: the event log never saw it written" for name in silent)]


def _anchor(ws: Workspace, entries: Sequence[Entry]) -> None:
    anchored, _ = _anchors(ws)
    for entry in entries:
        if entry.id not in anchored:
            fields = {"source": entry.source, "decision": entry.decision, "scope": entry.scope}
            ws.events(WRITER).append(DECIDED, entry=entry.id, sha256=entry.hash, **fields)


def _refresh_view(ws: Workspace) -> None:
    if not view_is_current(ws):
        ws.store.write(layout.LEDGER, _view(ws))


def _view(ws: Workspace) -> bytes:
    return b"".join(ws.store.read(key) for key in ws.store.list(ENTRIES))


def _checked(statement: Statement) -> Statement:
    for name in ("source", "who", "why", "scope"):
        if not str(getattr(statement, name)).strip():
            raise UsageError(f"a decision needs a {name}", fix=f"give --{name}")
    if statement.decision not in DECISIONS:
        raise UsageError(f"decision {statement.decision!r} is none of {', '.join(DECISIONS)}")
    if statement.policy not in POLICIES:
        raise UsageError(f"policy {statement.policy!r} is none of {', '.join(POLICIES)}")
    caps_of(asdict(statement.caps))
    if statement.policy == "minimal-use" and not statement.caps:
        raise UsageError(
            f"minimal use of {statement.source!r} has no cap",
            fix="say how much may be used: --cap share=0.1, or documents=, tokens=, bytes=",
        )
    if statement.policy == "full" and statement.caps:
        raise UsageError("full use has no caps", fix="give --policy minimal-use")
    if statement.stages and statement.policy != "anonymise":
        raise UsageError(f"policy {statement.policy} names no stages", fix="give --policy anonymise")
    if statement.policy == "anonymise" and not statement.stages:
        return Statement(**{**_fields(statement), "stages": ANONYMISE_STAGES})
    return statement


def _fields(item: Statement | Entry) -> dict[str, Any]:
    return {name: getattr(item, name) for name in type(item).__slots__}


def _entry(raw: dict[str, Any]) -> Entry:
    caps, stages = raw.get("caps"), raw.get("stages", ())
    if raw["schema"] == FIRST_SCHEMA:
        share = raw["policy_detail"] if raw["policy"] == "minimal-use" else None
        caps = {"share": None if share is None else float(share)}
        stages = ANONYMISE_STAGES if raw["policy"] == "anonymise" else ()
    known = {name: raw[name] for name in Entry.__slots__ if name not in ("caps", "stages", "document_sha256")}
    return Entry(**known, document_sha256=raw.get("document_sha256"), caps=caps_of(caps or {}), stages=tuple(stages))


def _seal(statement: Statement, number: int, when: str, previous: str) -> Entry:
    unsealed = Entry(id=_id(number), when=when, previous=previous, hash="", **_fields(statement))
    return Entry(**{**_fields(unsealed), "hash": _digest(_told(unsealed))})


def _told(entry: Entry) -> dict[str, Any]:
    return {**statement_fields(entry), "schema": SCHEMA}


def _digest(raw: Mapping[str, Any]) -> str:
    """Hash of an entry as it stands in its file, whatever the version of its schema."""
    return sha256_bytes(canonical_json({name: value for name, value in raw.items() if name != "hash"}))


def _line(entry: Entry) -> bytes:
    return canonical_json(_told(entry)) + b"\n"


def _id(number: int) -> str:
    return f"L{number:06d}"


def _key(number: int) -> str:
    return f"{ENTRIES}/{number:08d}.json"

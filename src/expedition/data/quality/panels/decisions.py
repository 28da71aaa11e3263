"""What people decided and know: approvals with their end, known issues, and how detectors were judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from expedition.data.compliance.approval import decision_at, state_at
from expedition.data.compliance.audit import EXPIRES_SOON_DAYS
from expedition.data.compliance.ledger import ANY_SCOPE
from expedition.data.quality.panels.amounts import SOURCE
from expedition.data.quality.panels.holdings import Holdings, seconds
from expedition.data.quality.panels.panel import Column, Panel

TRAINING: Final = "training"
_DAY_S: Final = 86_400
_OPEN_FIRST: Final = {"open": 0, "planned": 1, "accepted": 2, "fixed": 3}
_WORST_FIRST: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3}


def approvals(held: Holdings) -> Panel:
    """A row a source and scope: what holds now, until when, under which licence, in which versions."""
    rows = [_approval(held, source, scope) for source, scope in _questions(held)]
    order = {"expired": 0, "soon": 1}
    rows.sort(key=lambda row: (order.get(str(row["expiry"]), 2), row["state"] != "undecided", row["source"]))
    return Panel(
        "approvals",
        "Licences and approvals",
        f"What the ledger says now. Expiry: soon is within {EXPIRES_SOON_DAYS} days."
        + "".join(f" LEDGER DAMAGED: {problem}." for problem in held.ledger_problems),
        (
            SOURCE,
            Column("scope", "text", "what the source may be used for"),
            Column("state", "text", "approved, expired, refused, revoked or undecided"),
            Column("expiry", "text", "none, later, soon or expired"),
            Column("expires", "time"),
            Column("expires_in_days", "days", "negative: since so long"),
            Column("policy", "text"),
            Column("licence", "text", "as registered when it came in, else as declared in the newest version"),
            Column("decided_by", "text"),
            Column("decided", "time"),
            Column("entry", "text", "id in the ledger"),
            Column("document", "text", "the paper it rests on"),
            Column("files", "files", "registered"),
            Column("versions", "text", "finished versions that hold it"),
        ),
        tuple(rows),
        "No decision and no file yet: expedition compliance approve SOURCE",
    )


def issues(held: Holdings) -> Panel:
    """Known quality issues, open and worst first."""
    rows = [
        {
            "id": item.id,
            "title": item.title,
            "status": item.status,
            "severity": item.severity,
            "modality": item.modality,
            "found_in": item.found_in,
            "planned_version": item.planned_version,
            "fixed_in": item.fixed_in,
            "evidence": "; ".join(item.evidence),
        }
        for item in held.issues
    ]
    rows.sort(key=lambda row: (_OPEN_FIRST.get(str(row["status"]), 9), _WORST_FIRST.get(str(row["severity"]), 9)))
    texts = ("id", "title", "status", "severity", "modality", "found_in", "planned_version", "fixed_in", "evidence")
    return Panel(
        "issues",
        "Known quality issues",
        "What is known to be wrong, and the version that mends it.",
        tuple(Column(name, "text") for name in texts),
        tuple(rows),
        "No issue is on record: expedition data issue add TITLE --found-in VERSION",
    )


def detectors(held: Holdings) -> Panel:
    """Every figure of the newest comparison of detectors with planted truth and labelled sets."""
    judged = held.judged or {}
    rows = [
        {"version": judged.get("version"), "evidence": evidence, "detector": name, "figure": figure, "value": value}
        for evidence, part in (("planted truth", "truth"), ("labelled set", "labelled"))
        for name, figures in sorted((judged.get(part) or {}).items())
        for figure, value in _numbers(figures)
    ]
    return Panel(
        "detectors",
        "Detectors against evidence",
        "Recall and precision against what was planted in generated data, and figures on labelled sets.",
        (
            Column("version", "text", "dataset version that was compared"),
            Column("evidence", "text"),
            Column("detector", "text"),
            Column("figure", "text"),
            Column("value", "figure"),
        ),
        tuple(rows),
        "Not judged yet: expedition data quality DATA",
    )


def _questions(held: Holdings) -> list[tuple[str, str]]:
    """Sources, each with every scope that somebody decided on; a source without a decision is asked for training."""
    asked = {(entry.source, entry.scope) for entry in held.entries}
    decided = {source for source, _ in asked}
    used = {source["name"] for version in held.versions for source in version.manifest["sources"]}
    came_in = {str(item["source"]) for item in held.acquisitions}
    return sorted(asked | {(name, TRAINING) for name in (used | came_in) - decided})


def _approval(held: Holdings, source: str, scope: str) -> dict[str, Any]:
    decision = decision_at(held.entries, source, scope, held.as_of)
    expires = decision.expires if decision is not None and decision.decision == "approve" else None
    left = None if expires is None else round((seconds(expires) - seconds(held.as_of)) / _DAY_S, 2)
    mine = [item for item in held.acquisitions if item["source"] == source]
    declared = [
        item["licence"]
        for version in reversed(held.versions)
        for item in version.manifest["sources"]
        if item["name"] == source and item.get("licence")
    ]
    registered = sorted({str(item["licence"]) for item in mine if item.get("licence")})
    return {
        "source": source,
        "scope": scope,
        "state": state_at(held.entries, source, ANY_SCOPE if scope == ANY_SCOPE else scope, held.as_of),
        "expiry": expiry(left),
        "expires": expires,
        "expires_in_days": left,
        "policy": None if decision is None else decision.policy,
        "licence": ", ".join(registered) or (declared[0] if declared else None),
        "decided_by": None if decision is None else decision.who,
        "decided": None if decision is None else decision.when,
        "entry": None if decision is None else decision.id,
        "document": None if decision is None else decision.document,
        "files": sum(int(item["files"]) for item in mine) if mine else None,
        "versions": ", ".join(
            version.version
            for version in held.versions
            if any(item["name"] == source for item in version.manifest["sources"])
        ),
    }


def expiry(days_left: float | None) -> str:
    """none, later, soon or expired."""
    if days_left is None:
        return "none"
    if days_left <= 0:
        return "expired"
    return "soon" if days_left <= EXPIRES_SOON_DAYS else "later"


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float | int | None]]:
    """Numeric leaves by their dotted path. A whole that is None, for want of evidence, has no leaves."""
    if isinstance(value, Mapping):
        for name, part in _sorted(value.items()):
            yield from _numbers(part, (*path, str(name)))
    elif path and (value is None or (isinstance(value, int | float) and not isinstance(value, bool))):
        yield ".".join(path), value


def _sorted(items: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return sorted(items, key=lambda item: str(item[0]))

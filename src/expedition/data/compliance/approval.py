"""What the ledger says about a source at a moment: pure functions over its entries, and the gate that asks them.

A decision holds from its `when` until a later decision about the same source and scope, or until it expires. An item
that was acquired before its source's approval is refused for ever: an approval never reaches back.
"""

from __future__ import annotations

from collections.abc import Sequence

from expedition.data.compliance.ledger import ANY_SCOPE, Entry, now, read
from expedition.errors import ComplianceRefused
from expedition.workspace import Workspace

STATES = ("approved", "expired", "refused", "revoked", "undecided")


def covers(entry: Entry, source: str, scope: str) -> bool:
    """Whether `entry` speaks about this use of this source."""
    return entry.source == source and entry.scope in (ANY_SCOPE, scope)


def decision_at(entries: Sequence[Entry], source: str, scope: str, at: str) -> Entry | None:
    """The newest decision about `source` for `scope` made at or before `at`; None: nobody has decided."""
    spoken = [entry for entry in entries if covers(entry, source, scope) and entry.when <= at]
    return spoken[-1] if spoken else None


def approval_at(entries: Sequence[Entry], source: str, scope: str, at: str) -> Entry | None:
    """The approval that is in force at `at`, or None."""
    entry = decision_at(entries, source, scope, at)
    if entry is None or entry.decision != "approve":
        return None
    return None if entry.expires is not None and entry.expires <= at else entry


def state_at(entries: Sequence[Entry], source: str, scope: str, at: str) -> str:
    """One of `STATES`."""
    entry = decision_at(entries, source, scope, at)
    if entry is None:
        return "undecided"
    if entry.decision == "approve":
        return "expired" if entry.expires is not None and entry.expires <= at else "approved"
    return "refused" if entry.decision == "refuse" else "revoked"


def why_refused(entries: Sequence[Entry], source: str, scope: str, at: str) -> str:
    """One sentence: why `source` may not be used for `scope` at `at`."""
    entry = decision_at(entries, source, scope, at)
    if entry is None:
        return f"source {source!r} has no decision for scope {scope!r}"
    if entry.decision == "approve":
        return f"the approval {entry.id} of source {source!r} expired on {entry.expires}"
    word = "refused" if entry.decision == "refuse" else "revoked"
    return f"source {source!r} was {word} by {entry.who} on {entry.when} ({entry.id}: {entry.why})"


def require_approval(ws: Workspace, source: str, at: str | None = None, scope: str = "training") -> Entry:
    """The approval of `source` for `scope` that is in force at `at` (ISO UTC; None: now).

    "Now" is never before the newest decision: a clock that was set back brings no revoked source back. Raises
    ComplianceRefused (exit 5), saying why and what to type, and CheckFailed if the ledger is damaged.
    """
    entries = read(ws)
    moment = now(entries) if at is None else at
    approval = approval_at(entries, source, scope, moment)
    if approval is None:
        raise ComplianceRefused(
            why_refused(entries, source, scope, moment), where=source, fix=how_to_approve(source, scope)
        )
    return approval


def require_use(ws: Workspace, source: str, acquired_at: str, at: str | None = None, scope: str = "training") -> Entry:
    """`require_approval` now, and that an approval was already in force when the item was acquired.

    Raises ComplianceRefused: "use first, review later" is refused for ever, whatever was approved since.
    """
    approval = require_approval(ws, source, at, scope)
    refuse_early(read(ws), source, acquired_at, scope)
    return approval


def refuse_early(entries: Sequence[Entry], source: str, acquired_at: str, scope: str) -> None:
    """Raise ComplianceRefused unless an approval was in force when the item was acquired."""
    if approval_at(entries, source, scope, acquired_at) is None:
        raise ComplianceRefused(
            f"source {source!r} was acquired on {acquired_at}, when no approval for scope {scope!r} was in force; "
            "no later decision changes that",
            where=source,
            fix="take these files out of the data folder; new ones may come in now: expedition data acquire",
        )


def how_to_approve(source: str, scope: str) -> str:
    """The command that a person with the right to decide would type."""
    return f"expedition compliance approve {source} --who NAME --why REASON --document FILE --scope {scope}"

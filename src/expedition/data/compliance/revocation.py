"""What a revocation reaches: every version, shard, segment and checkpoint with the source, named and put on record."""

from __future__ import annotations

from typing import Any

from expedition.data.compliance.ledger import WRITER, Entry, read
from expedition.data.compliance.uses import Uses, uses_of
from expedition.workspace import Workspace, layout

SCHEMA = "compliance.revocation/1"
REVOKED = "compliance.revoked"
"""Event kind: what contained a source at its revocation was put on record."""


def report_key(entry: Entry) -> str:
    """Where the record of a revocation (or refusal of something that was in use) is."""
    return layout.report(f"revocation-{entry.number}")


def record_revocation(ws: Workspace, entry: Entry) -> dict[str, Any]:
    """Write reports/revocation-<n>.json and an event for a revoke or refuse entry; returns the report.

    Idempotent: what is on record is returned as it stands.
    """
    key = report_key(entry)
    if ws.store.exists(key):
        return ws.read_json(key)
    uses = uses_of(ws, entry.source)
    report = {
        "entry": entry.id,
        "source": entry.source,
        "decision": entry.decision,
        "scope": entry.scope,
        "who": entry.who,
        "when": entry.when,
        "why": entry.why,
        **uses.told(),
        "next": next_steps(uses),
        "conditions": [],
    }
    ws.events(WRITER).append(
        REVOKED,
        entry=entry.id,
        source=entry.source,
        versions=[f"{use.dataset} {use.version}" for use in uses.versions],
        shards=sum(len(use.shards) for use in uses.versions),
        segments=[f"{use.run}:{use.segment}" for use in uses.segments],
        checkpoints=[f"{use.run}/{use.name}" for use in uses.checkpoints],
    )
    ws.write_json(key, report, schema=SCHEMA)
    return ws.read_json(key)


def record_missing(ws: Workspace) -> list[str]:
    """Put every revocation on record whose report a kill has prevented; returns their keys."""
    missing = [entry for entry in read(ws) if entry.decision == "revoke" and not ws.store.exists(report_key(entry))]
    for entry in missing:
        record_revocation(ws, entry)
    return [report_key(entry) for entry in missing]


def next_steps(uses: Uses) -> list[str]:
    """What to type, so that nothing goes on with the source."""
    steps = []
    trained = [use.version for use in uses.versions if use.dataset == layout.DATASET]
    if trained:
        steps.append(f"expedition data build DATA --version NEXT --parent {trained[-1]}")
    for run in dict.fromkeys(use.run for use in uses.segments if use.end_index is None):
        steps.append(
            f"expedition data order add --run {run} --version NEXT --from-step STEP --exclude {uses.source} "
            "--who NAME --reason REASON"
        )
    if uses.checkpoints:
        steps.append("decide what becomes of the checkpoints named here, and of what was released from them")
    return steps

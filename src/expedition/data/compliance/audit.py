"""Does what was used agree with what was decided: every dataset version's sources and items against the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.compliance.acquisition import ACQUIRED
from expedition.data.compliance.approval import approval_at, decision_at, state_at
from expedition.data.compliance.ledger import (
    ANY_SCOPE,
    ENTRIES,
    WRITER,
    Entry,
    inspect,
    now,
    timestamp,
    view_is_current,
)
from expedition.data.compliance.policy import looser
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_file

EXPIRES_SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold. `severity` is "violation" (exit 1) or "notice"."""

    severity: str
    source: str | None
    what: str


def audit(ws: Workspace, scope: str = "training", at: str | None = None) -> dict[str, Any]:
    """Check the chain, its view, papers, acquisitions and every built version against the decisions; changes nothing.

    Returns {entries, sources: {source: state}, versions, items, findings, ok}. A violation is: a damaged ledger, paper
    or acquisition; an item acquired while no approval was in force; a version that uses a source that was refused or
    revoked since, that nobody decided on, or more of it than the approval now in force allows. Notices: an approval that
    ends within 30 days, one that has ended since a version was built.
    """
    entries, problems = inspect(ws)
    moment = now(entries) if at is None else at
    findings = [Finding("violation", None, problem) for problem in [*problems, *_cut_chains(ws)]]
    if entries and not view_is_current(ws):
        findings.append(Finding("violation", None, f"{layout.LEDGER} does not say what the entries in {ENTRIES} say"))
    findings += _papers(ws, entries)
    findings += _changed_acquisitions(ws)
    findings += [_expiry_notice(entry) for entry in expiring(entries, moment)]
    built = [tuple(key.split("/")[1:3]) for key in ws.store.list("data") if key.endswith("/manifest.json")]
    items = 0
    for dataset, version in built:
        count, found = _version_findings(ws, entries, (dataset, version), scope, moment)
        items += count
        findings += found
    return {
        "entries": len(entries),
        "at": moment,
        "sources": {name: _state(entries, name, moment) for name in sorted({entry.source for entry in entries})},
        "versions": [" ".join(item) for item in built],
        "items": items,
        "findings": [{"severity": item.severity, "source": item.source, "what": item.what} for item in findings],
        "ok": not any(item.severity == "violation" for item in findings),
    }


def expiring(entries: Sequence[Entry], moment: str, days: int = EXPIRES_SOON_DAYS) -> list[Entry]:
    """Approvals in force at `moment` that end within `days`."""
    until = timestamp(datetime.fromisoformat(moment) + timedelta(days=days))
    pairs = dict.fromkeys((entry.source, entry.scope) for entry in entries)
    held = [approval_at(entries, source, scope, moment) for source, scope in pairs]
    return sorted(
        {entry.id: entry for entry in held if entry and entry.expires and entry.expires <= until}.values(),
        key=lambda entry: entry.expires or "",
    )


def _expiry_notice(entry: Entry) -> Finding:
    return Finding("notice", entry.source, f"the approval {entry.id} of {entry.source!r} ends on {entry.expires}")


def _cut_chains(ws: Workspace) -> list[str]:
    """Events about decisions that were there when the log was last anchored and are gone."""
    return [problem for problem in ws.verify_events() if f"chain {WRITER}-" in problem and "anchored" in problem]


def _papers(ws: Workspace, entries: Sequence[Entry]) -> Iterator[Finding]:
    for entry in entries:
        key = entry.document or ""
        if not key.startswith("compliance/"):
            continue
        if not ws.store.exists(key):
            yield Finding("violation", entry.source, f"the document of {entry.id} is gone: {key}")
        elif sha256_file(ws.store.local(key)) != entry.document_sha256:
            yield Finding("violation", entry.source, f"the document of {entry.id} was changed: {key}")


def _changed_acquisitions(ws: Workspace) -> Iterator[Finding]:
    """Records of acquisitions are written once; the event log has their hashes."""
    for key, hashes in sorted(ws.written_hashes().items()):
        if not key.startswith(f"{ACQUIRED}/"):
            continue
        source = key.split("/")[2]
        if not ws.store.exists(key):
            yield Finding("violation", source, f"the record of an acquisition is gone: {key}")
        elif ws.hash(key) not in hashes:
            yield Finding("violation", source, f"the record of an acquisition was changed: {key}")


def _version_findings(
    ws: Workspace, entries: Sequence[Entry], built: tuple[str, str], scope: str, moment: str
) -> tuple[int, list[Finding]]:
    dataset, version = built
    manifest = ws.read_json(layout.manifest(version, dataset))
    used_for, name = str(manifest.get("scope", scope)), f"{dataset} {version}"
    items, findings = 0, []
    for source, acquired_at, count in acquired_items(ws, version, dataset):
        items += count
        if approval_at(entries, source, used_for, acquired_at) is None:
            what = f"{name}: {count} items of {source!r} were acquired on {acquired_at} without an approval"
            findings.append(Finding("violation", source, what))
    for row in manifest["sources"] if dataset == layout.DATASET else ():
        findings.extend(_source_findings(entries, name, row, used_for, moment))
    return items, findings


def _source_findings(
    entries: Sequence[Entry], version: str, row: dict[str, Any], scope: str, moment: str
) -> Iterator[Finding]:
    source = row["name"]
    approval = approval_at(entries, source, scope, moment)
    if approval is not None:
        used = next((entry for entry in entries if entry.id == row.get("approval_id")), None)
        more = looser(used, approval) if used is not None else []
        if more:
            what = f"{version} uses {source!r} beyond its approval {approval.id}: {'; '.join(more)}"
            yield Finding("violation", source, what)
        return
    entry = decision_at(entries, source, scope, moment)
    if entry is None:
        yield Finding("violation", source, f"{version} uses {source!r}, about which nobody has decided")
    elif entry.decision == "approve":
        yield Finding("notice", source, f"{version} uses {source!r}, whose approval ended on {entry.expires}")
    else:
        yield Finding("violation", source, f"{version} uses {source!r}: {entry.decision} on {entry.when} ({entry.id})")


def acquired_items(ws: Workspace, version: str, dataset: str) -> list[tuple[str, str, int]]:
    """(source, acquired_at, items) of a version's lineage; streamed."""
    key = f"{layout.dataset(version, dataset)}/lineage.parquet"
    if not ws.store.exists(key):
        return []
    counts: dict[tuple[str, str], int] = {}
    for batch in pq.ParquetFile(ws.store.local(key)).iter_batches(columns=["source", "acquired_at"]):
        grouped = pa.Table.from_batches([batch]).group_by(["source", "acquired_at"]).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            pair = (row["source"], row["acquired_at"])
            counts[pair] = counts.get(pair, 0) + row["count_all"]
    return [(source, moment, count) for (source, moment), count in sorted(counts.items())]


def _state(entries: Sequence[Entry], source: str, moment: str) -> str:
    """The state under the scope that was spoken of last."""
    spoken = [entry for entry in entries if entry.source == source and entry.when <= moment]
    return state_at(entries, source, spoken[-1].scope if spoken else ANY_SCOPE, moment)

"""Does what was used agree with what was decided: every dataset version's sources and items against the ledger."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from expedition.data.compliance.approval import approval_at, decision_at
from expedition.data.compliance.ledger import Entry, inspect, timestamp, view_is_current
from expedition.workspace import Workspace, layout

EXPIRES_SOON_DAYS = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold. `severity` is "violation" (exit 1) or "notice"."""

    severity: str
    source: str | None
    what: str


def audit(ws: Workspace, scope: str = "training", at: str | None = None) -> dict[str, Any]:
    """Check the chain, its view and every built version against the decisions; changes nothing.

    Returns {entries, sources: {source: state}, versions, items, findings, ok}. An item acquired while no approval was
    in force is a violation, as is a version that uses a source whose approval has since ended.
    """
    entries, problems = inspect(ws)
    moment = timestamp() if at is None else at
    findings = [Finding("violation", None, problem) for problem in problems]
    if entries and not view_is_current(ws, entries):
        findings.append(Finding("violation", None, f"{layout.LEDGER} does not say what the entries say"))
    built = [tuple(key.split("/")[1:3]) for key in ws.store.list("data") if key.endswith("/manifest.json")]
    items = 0
    for dataset, version in built:
        manifest = ws.read_json(layout.manifest(version, dataset))
        used_for, name = str(manifest.get("scope", scope)), f"{dataset} {version}"
        for source, acquired_at, count in _acquired(ws, version, dataset):
            items += count
            if approval_at(entries, source, used_for, acquired_at) is None:
                what = f"{name}: {count} items of {source!r} were acquired on {acquired_at} without an approval"
                findings.append(Finding("violation", source, what))
        for source in manifest["sources"] if dataset == layout.DATASET else ():
            findings.extend(_source_findings(entries, name, source["name"], used_for, moment))
    return {
        "entries": len(entries),
        "sources": {name: _state(entries, name, moment) for name in sorted({entry.source for entry in entries})},
        "versions": [" ".join(item) for item in built],
        "items": items,
        "findings": [{"severity": item.severity, "source": item.source, "what": item.what} for item in findings],
        "ok": not any(item.severity == "violation" for item in findings),
    }


def _source_findings(entries: Sequence[Entry], version: str, source: str, scope: str, moment: str) -> Iterator[Finding]:
    if approval_at(entries, source, scope, moment) is not None:
        return
    entry = decision_at(entries, source, scope, moment)
    if entry is None:
        yield Finding("violation", source, f"{version} uses {source!r}, about which nobody has decided")
    elif entry.decision == "approve":
        yield Finding("notice", source, f"{version} uses {source!r}, whose approval ended on {entry.expires}")
    else:
        yield Finding("violation", source, f"{version} uses {source!r}: {entry.decision} on {entry.when} ({entry.id})")


def _acquired(ws: Workspace, version: str, dataset: str) -> Iterator[tuple[str, str, int]]:
    """(source, acquired_at, items) of a version's lineage."""
    key = f"{layout.dataset(version, dataset)}/lineage.parquet"
    if not ws.store.exists(key):
        return
    table = pq.read_table(io.BytesIO(ws.store.read(key)), columns=["source", "acquired_at"])
    grouped = table.append_column("one", [[1] * table.num_rows]).group_by(["source", "acquired_at"])
    for row in grouped.aggregate([("one", "sum")]).sort_by([("source", "ascending")]).to_pylist():
        yield row["source"], row["acquired_at"], row["one_sum"]


def _state(entries: Sequence[Entry], source: str, moment: str) -> str:
    spoken = [entry for entry in entries if entry.source == source and entry.when <= moment]
    if not spoken:
        return "undecided"
    newest = spoken[-1]
    if newest.decision == "approve":
        return "expired" if newest.expires is not None and newest.expires <= moment else "approved"
    return "refused" if newest.decision == "refuse" else "revoked"

"""The readable report: every source with its decision, what came in, where it is now, what ends soon, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expedition.data.compliance.acquisition import list_acquisitions
from expedition.data.compliance.approval import approval_at, decision_at
from expedition.data.compliance.audit import EXPIRES_SOON_DAYS, audit, expiring
from expedition.data.compliance.ledger import Entry, inspect, now, statement_fields
from expedition.data.compliance.revocation import record_missing
from expedition.data.compliance.uses import uses_of
from expedition.workspace import Workspace, layout

SCHEMA = "compliance.report/1"
NAME = "compliance"


def write_report(ws: Workspace, scope: str = "training", at: str | None = None) -> dict[str, Any]:
    """Write reports/compliance.json and its page reports/compliance.md; returns the JSON's value.

    Also puts on record what revocations reach whose report a kill has prevented. A damaged ledger is reported, not
    raised: `ok` is false and `violations` say what is wrong.
    """
    entries, problems = inspect(ws)
    if not problems:
        record_missing(ws)
    moment = now(entries) if at is None else at
    checked = audit(ws, scope, at)
    acquisitions = list_acquisitions(ws)
    names = sorted({entry.source for entry in entries} | {item["source"] for item in acquisitions})
    report = {
        "at": moment,
        "scope": scope,
        "entries": len(entries),
        "head": entries[-1].hash if entries else None,
        "ok": checked["ok"],
        "sources": [_source(ws, entries, acquisitions, name, scope, moment) for name in names],
        "expiring": [
            {"entry": entry.id, "source": entry.source, "expires": entry.expires} for entry in expiring(entries, moment)
        ],
        "violations": [item for item in checked["findings"] if item["severity"] == "violation"],
        "notices": [item for item in checked["findings"] if item["severity"] == "notice"],
        "conditions": [],
    }
    ws.write_text(layout.report_page(NAME), page(report))
    ws.write_json(layout.report(NAME), report, schema=SCHEMA)
    return ws.read_json(layout.report(NAME))


def _source(
    ws: Workspace,
    entries: Sequence[Entry],
    acquisitions: Sequence[Mapping[str, Any]],
    name: str,
    scope: str,
    moment: str,
) -> dict[str, Any]:
    decision = decision_at(entries, name, scope, moment)
    spoken = [entry for entry in entries if entry.source == name]
    return {
        "name": name,
        "in_force": approval_at(entries, name, scope, moment) is not None,
        "decision": None if decision is None else statement_fields(decision),
        "other_decisions": [statement_fields(entry) for entry in spoken if entry != decision],
        "acquisitions": [
            {field: item.get(field) for field in ("acquired_at", "approval_id", "files", "bytes", "origin", "licence")}
            for item in acquisitions
            if item["source"] == name
        ],
        **{key: value for key, value in uses_of(ws, name).told().items() if key != "source"},
    }


def page(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    verdict = "No violation." if report["ok"] else f"{len(report['violations'])} violation(s)."
    lines = [
        "# Compliance",
        "",
        f"As of {report['at']}, for the scope `{report['scope']}`; {report['entries']} decisions in the ledger, "
        f"head `{(report['head'] or 'none')[:12]}`. **{verdict}**",
        "",
        *_listed("Violations", [item["what"] for item in report["violations"]]),
        *_listed(
            f"Ends within {EXPIRES_SOON_DAYS} days",
            [f"{item['source']} ({item['entry']}): {item['expires']}" for item in report["expiring"]],
        ),
        *_listed("Notices", [item["what"] for item in report["notices"]]),
        "## Sources",
        "",
        "| source | decision | policy | by | since | until | acquired | in versions | in runs | checkpoints |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(source) for source in report["sources"]),
        "",
    ]
    for source in report["sources"]:
        lines += _section(source)
    return "\n".join(lines)


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {_cell(item)}" for item in items), ""] if items else []


def _row(source: Mapping[str, Any]) -> str:
    decision = source["decision"]
    files = sum(item["files"] for item in source["acquisitions"])
    versions = [f"{use['version']}" for use in source["versions"] if use["dataset"] == layout.DATASET]
    cells = [
        source["name"],
        "none" if decision is None else decision["decision"] + ("" if source["in_force"] else " (not in force)"),
        "" if decision is None else decision["policy"] + _bounds(decision),
        "" if decision is None else decision["who"],
        "" if decision is None else decision["when"][:10],
        "" if decision is None or decision["expires"] is None else decision["expires"][:10],
        f"{files} files",
        ", ".join(versions) or "–",
        ", ".join(dict.fromkeys(use["run"] for use in source["segments"])) or "–",
        str(len(source["checkpoints"])),
    ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _bounds(decision: Mapping[str, Any]) -> str:
    parts = [f"{name} ≤ {value:g}" for name, value in decision["caps"].items() if value is not None]
    parts += [f"stage {name}" for name in decision["stages"]]
    return f" ({', '.join(parts)})" if parts else ""


def _section(source: Mapping[str, Any]) -> list[str]:
    decision = source["decision"]
    lines = [f"### {_cell(source['name'])}", ""]
    if decision is not None:
        paper = decision["document"] or "no document"
        lines += [f"{decision['id']}: {_cell(decision['why'])} (document: {_cell(paper)})", ""]
    for item in source["acquisitions"]:
        lines.append(
            f"- acquired {item['acquired_at']} under {item['approval_id']}: {item['files']} files, "
            f"{item['bytes']} bytes, from {_cell(str(item['origin']))}"
        )
    for use in source["versions"]:
        shards = ", ".join(shard["path"] for shard in use["shards"][:8])
        more = f" and {len(use['shards']) - 8} more" if len(use["shards"]) > 8 else ""
        lines.append(
            f"- {use['dataset']} {use['version']}: {use['documents']} documents, {use['tokens']} tokens, in {shards}{more}"
        )
    for use in source["segments"]:
        end = "on" if use["end_index"] is None else f"to {use['end_index'] - 1}"
        lines.append(f"- run {use['run']}: sequences from {use['first_index']} {end} ({use['version']})")
    for use in source["checkpoints"]:
        lines.append(f"- checkpoint {use['run']}/{use['name']}: step {use['step']}, {use['tokens']} tokens")
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

"""`expedition compliance`: decisions about sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

if TYPE_CHECKING:
    from expedition.data.compliance import Entry

app = typer.Typer(help="Approvals, refusals, revocations; the ledger.", no_args_is_help=True)

SourceArgument = Annotated[str, typer.Argument(help="Name of the source.")]
WhoOption = Annotated[str, typer.Option("--who", help="Who decides.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, in a sentence.")]
DocumentOption = Annotated[
    str | None, typer.Option("--document", help="The signed paper: a file (it is copied), a URL, or sha256:HASH.")
]
ScopeOption = Annotated[str, typer.Option("--scope", help="What it may be used for: any, training, rehearsal, …")]


def _decide(workspace: str, statement: dict[str, Any], json: bool) -> None:
    from expedition.data.compliance import Statement, decide, record_revocation, statement_fields

    session = open_session(workspace, json=json, create=True)
    entry = decide(session.ws, Statement(**statement))
    if entry.decision == "approve":
        session.output.result(statement_fields(entry))
        return
    report = record_revocation(session.ws, entry)
    session.output.result({**statement_fields(entry), "contained_in": report}, text=_reach(entry, report))


def _reach(entry: Entry, report: dict[str, Any]) -> str:
    lines = [f"{entry.id}: {entry.source} {entry.decision}d by {entry.who} ({entry.why})"]
    for use in report["versions"]:
        lines.append(
            f"version     {use['dataset']} {use['version']}: {use['documents']} documents, {use['tokens']} tokens"
        )
        lines += [f"shard       {use['version']}/{shard['path']}: {shard['documents']}" for shard in use["shards"]]
    for use in report["segments"]:
        end = "" if use["end_index"] is None else str(use["end_index"] - 1)
        lines.append(f"run         {use['run']}: sequences {use['first_index']}–{end} ({use['version']})")
    for use in report["checkpoints"]:
        lines.append(f"checkpoint  {use['run']}/{use['name']}: step {use['step']}, {use['tokens']} tokens")
    if len(lines) == 1:
        lines.append("nothing that was built or trained contains it")
    lines += [f"next        {step}" for step in report["next"]]
    return "\n".join([*lines, f"record      reports/revocation-{entry.number}.json"])


@app.command()
def approve(
    source: SourceArgument,
    who: WhoOption,
    why: WhyOption,
    document: DocumentOption = None,
    scope: ScopeOption = "any",
    policy: Annotated[str, typer.Option("--policy", help="full, minimal-use or anonymise.")] = "full",
    cap: Annotated[
        list[str] | None,
        typer.Option("--cap", help="The most that is used: share=0.1, documents=, tokens=, bytes=. May be repeated."),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="anonymise: a stage that must run for every document; pii if none is given."),
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="Date from which it no longer holds.")] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Allow a source to be used from now on. What was acquired before stays refused."""
    from expedition.data.compliance import parse_caps

    statement = {"decision": "approve", "source": source, "who": who, "why": why, "document": document, "scope": scope}
    terms = {"policy": policy, "caps": parse_caps(cap or ()), "stages": tuple(stage or ()), "expires": expires}
    _decide(workspace, {**statement, **terms}, json)


@app.command()
def refuse(
    source: SourceArgument,
    who: WhoOption,
    why: WhyOption,
    document: DocumentOption = None,
    scope: ScopeOption = "any",
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Decide that a source may not be used; builds leave it out."""
    statement = {"decision": "refuse", "source": source, "who": who, "why": why, "document": document, "scope": scope}
    _decide(workspace, statement, json)


@app.command()
def revoke(
    source: SourceArgument,
    who: WhoOption,
    why: WhyOption,
    document: DocumentOption = None,
    scope: ScopeOption = "any",
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Withdraw an approval, and name every version, shard, run and checkpoint that contains the source."""
    statement = {"decision": "revoke", "source": source, "who": who, "why": why, "document": document, "scope": scope}
    _decide(workspace, statement, json)


@app.command("list")
def list_entries(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """Show every decision, oldest first."""
    from expedition.data.compliance import read, statement_fields

    session = open_session(workspace, json=json)
    columns = ("id", "decision", "source", "who", "when", "scope", "policy", "bounds", "expires", "why")
    entries = read(session.ws)
    values = [statement_fields(entry) for entry in entries]
    bounds = [", ".join(filter(None, [entry.caps.told() if entry.caps else "", *entry.stages])) for entry in entries]
    rows = [
        [{**value, "bounds": bound}[column] or "" for column in columns]
        for value, bound in zip(values, bounds, strict=True)
    ]
    session.output.table("Compliance ledger", columns, rows, {"entries": values})


@app.command()
def audit(scope: ScopeOption = "training", workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> int:
    """Check the chain, and everything that was built against what was decided; exit 1 on a violation."""
    from expedition.data.compliance import audit as audit_ledger

    session = open_session(workspace, json=json)
    report = audit_ledger(session.ws, scope)
    session.output.result(report)
    return 0 if report["ok"] else 1


@app.command()
def report(scope: ScopeOption = "training", workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> int:
    """Write reports/compliance.md and .json: every source, its decision, and all that contains it; exit 1 on a violation."""
    from expedition.data.compliance import write_report
    from expedition.workspace import layout

    session = open_session(workspace, json=json)
    found = write_report(session.ws, scope)
    session.output.result(found, text=session.ws.store.read(layout.report_page("compliance")).decode())
    return 0 if found["ok"] else 1

"""`expedition compliance`: decisions about sources."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

app = typer.Typer(help="Approvals, refusals, revocations; the ledger.", no_args_is_help=True)

SourceArgument = Annotated[str, typer.Argument(help="Name of the source.")]
WhoOption = Annotated[str, typer.Option("--who", help="Who decides.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, in a sentence.")]
DocumentOption = Annotated[str | None, typer.Option("--document", help="The signed paper: a file, URL or hash.")]
ScopeOption = Annotated[str, typer.Option("--scope", help="What it may be used for: any, training, rehearsal, …")]


def _decide(
    decision: Literal["approve", "refuse", "revoke"], workspace: str, json: bool, source: str, **fields: str | None
) -> None:
    from dataclasses import asdict

    from expedition.data.compliance import Statement, append, parse_time

    session = open_session(workspace, json=json, create=True)
    if fields.get("expires") is not None:
        fields["expires"] = parse_time(str(fields["expires"]), "--expires")
    entry = append(session.ws, Statement(decision, source, **fields))  # type: ignore[arg-type]
    session.output.result(asdict(entry))


@app.command()
def approve(
    source: SourceArgument,
    who: WhoOption,
    why: WhyOption,
    document: DocumentOption = None,
    scope: ScopeOption = "any",
    policy: Annotated[str, typer.Option("--policy", help="full, minimal-use or anonymise.")] = "full",
    policy_detail: Annotated[
        str | None, typer.Option("--policy-detail", help="minimal-use: the largest share, such as 0.1.")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="Date from which it no longer holds.")] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Allow a source to be used from now on. What was acquired before stays refused."""
    more = {"document": document, "scope": scope, "policy": policy, "policy_detail": policy_detail, "expires": expires}
    _decide("approve", workspace, json, source, who=who, why=why, **more)


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
    """Decide that a source may not be used."""
    _decide("refuse", workspace, json, source, who=who, why=why, document=document, scope=scope)


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
    """Withdraw an approval: build and loader refuse the source from now on."""
    _decide("revoke", workspace, json, source, who=who, why=why, document=document, scope=scope)


@app.command("list")
def list_entries(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """Show every decision, oldest first."""
    from dataclasses import asdict

    from expedition.data.compliance import read

    session = open_session(workspace, json=json)
    columns = ("id", "decision", "source", "who", "when", "scope", "policy", "expires", "why")
    entries = [asdict(entry) for entry in read(session.ws)]
    rows = [[entry[column] or "" for column in columns] for entry in entries]
    session.output.table("Compliance ledger", columns, rows, {"entries": entries})


@app.command()
def audit(scope: ScopeOption = "training", workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> int:
    """Check the chain, and everything that was built against what was decided; exit 1 on a violation."""
    from expedition.data.compliance import audit as audit_ledger

    session = open_session(workspace, json=json)
    report = audit_ledger(session.ws, scope)
    session.output.result(report)
    return 0 if report["ok"] else 1

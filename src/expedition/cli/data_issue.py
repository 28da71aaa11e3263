"""`expedition data issue`: known quality issues, the version that will fix each, and the evidence that it did."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

app = typer.Typer(help="Known quality issues and the version that fixes each.", no_args_is_help=True)

IssueArgument = Annotated[str, typer.Argument(help="Id of the issue: `expedition data issue list`.")]
EvidenceOption = Annotated[
    list[str] | None,
    typer.Option("--evidence", help="A report's key, a file, a URL or sha256:HASH that shows it. May be repeated."),
]


@app.command()
def add(
    title: Annotated[str, typer.Argument(help="What is wrong.")],
    found_in: Annotated[str, typer.Option("--found-in", help="Version that has it.")],
    planned: Annotated[str | None, typer.Option("--planned", help="Version that will fix it.")] = None,
    severity: Annotated[str, typer.Option("--severity", help="low, medium, high or critical.")] = "medium",
    modality: Annotated[str, typer.Option("--modality", help="all, text, image, video, audio or driving.")] = "all",
    evidence: EvidenceOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Put an issue on record."""
    from dataclasses import asdict

    from expedition.data.versions import add_issue

    session = open_session(workspace, json=json)
    issue = add_issue(
        session.ws, title, found_in, planned, severity=severity, modality=modality, evidence=evidence or ()
    )
    session.output.result(asdict(issue))


@app.command("list")
def list_all(
    version: Annotated[
        str | None, typer.Option("--version", help="Only those found in, planned for or fixed in this version.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """List issues: what is wrong, since when, which version will fix or has fixed it."""
    from dataclasses import asdict

    from expedition.data.versions import list_issues

    session = open_session(workspace, json=json)
    columns = ("id", "status", "severity", "modality", "found_in", "planned_version", "fixed_in", "title")
    found = [asdict(issue) for issue in list_issues(session.ws, version)]
    session.output.table("Issues", columns, [[row[name] or "" for name in columns] for row in found], {"issues": found})


@app.command()
def plan(
    issue: IssueArgument,
    version: Annotated[str, typer.Argument(help="Version that will fix it.")],
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Say which version will fix an issue."""
    from dataclasses import asdict

    from expedition.data.versions import plan_issue

    session = open_session(workspace, json=json)
    session.output.result(asdict(plan_issue(session.ws, issue, version)))


@app.command()
def close(
    issue: IssueArgument,
    fixed_in: Annotated[str | None, typer.Option("--fixed-in", help="Version that no longer has it.")] = None,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="It stays as it is, for the reason in evidence.")
    ] = False,
    evidence: EvidenceOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Close an issue, with the evidence for it: without evidence it stays open (exit 2)."""
    from dataclasses import asdict

    from expedition.data.versions import close_issue

    session = open_session(workspace, json=json)
    session.output.result(asdict(close_issue(session.ws, issue, evidence or (), fixed_in=fixed_in, accepted=accepted)))

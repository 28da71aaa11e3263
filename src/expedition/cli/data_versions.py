"""`expedition data`: compare, check and follow finished versions; their known issues."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

app = typer.Typer()

VersionArgument = Annotated[str, typer.Argument(help="Version, such as v0.1.")]


@app.command()
def diff(
    old: VersionArgument, new: VersionArgument, workspace: WorkspaceOption = "voyage", json: JsonOption = False
) -> None:
    """What changed from one version to another."""
    from expedition.data.versions import difference

    session = open_session(workspace, json=json)
    session.output.result(difference(session.ws, old, new))


@app.command()
def verify(version: VersionArgument, workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """Hash every shard and table of a version again; exit 1 if one has changed."""
    from expedition.data.versions import verify as verify_version

    session = open_session(workspace, json=json)
    session.output.result(verify_version(session.ws, version))


@app.command()
def issues(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """List known quality issues and the version that fixes each."""
    from dataclasses import asdict

    from expedition.data.versions import list_issues

    session = open_session(workspace, json=json)
    columns = ("id", "title", "found_in", "planned_version", "status")
    found = [asdict(issue) for issue in list_issues(session.ws)]
    session.output.table("Issues", columns, [[row[name] or "" for name in columns] for row in found], {"issues": found})


@app.command()
def issue(
    title: Annotated[str, typer.Argument(help="What is wrong, or the id of a known issue.")],
    found_in: Annotated[str | None, typer.Option("--found-in", help="Open a new issue, found in this version.")] = None,
    planned: Annotated[str | None, typer.Option("--planned", help="Version that will fix it.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="open, planned, fixed or accepted.")] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Open an issue (with --found-in), or plan, fix or accept a known one."""
    from dataclasses import asdict

    from expedition.data.versions import change_issue, open_issue

    session = open_session(workspace, json=json)
    if found_in is not None:
        result = open_issue(session.ws, title, found_in, planned)
    else:
        result = change_issue(session.ws, title, planned_version=planned, status=status)
    session.output.result(asdict(result))

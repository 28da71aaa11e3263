"""`expedition data`: build, inspect and compare dataset versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_session

if TYPE_CHECKING:
    from expedition.cli.output import Output
    from expedition.data.build import PhaseProgress

app = typer.Typer(help="Build, inspect and compare dataset versions.", no_args_is_help=True)

VersionArgument = Annotated[str, typer.Argument(help="Version, such as v0.1.")]
DataArgument = Annotated[Path, typer.Argument(help="Folder with one folder of raw files a source.")]
ScopeOption = Annotated[str, typer.Option("--scope", help="Use that the approvals must cover.")]


@app.command()
def build(
    data: DataArgument,
    version: Annotated[str, typer.Option("--version", help="Version to build.")] = "v0.1",
    parent: Annotated[str | None, typer.Option("--parent", help="Version that lends its tokenizer.")] = None,
    scope: ScopeOption = "training",
    skip_unapproved: Annotated[
        bool, typer.Option("--skip-unapproved", help="Leave sources without approval out instead of stopping.")
    ] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Build a version from raw files; a build that was stopped goes on where it was."""
    from expedition.data import build as build_version

    session = open_session(workspace, programme, preset, sets, json, create=True)
    session.output.result(
        build_version(
            session.ws,
            session.programme,
            data,
            version,
            parent=parent,
            scope=scope,
            skip_unapproved=skip_unapproved,
            progress=_progress(session.output),
        )
    )


def _progress(output: Output) -> PhaseProgress:
    from expedition.data.engine import Progress

    def show(phase: str, step: Progress) -> None:
        if step.quarantined is not None:
            output.note(f"{phase}: {step.key} given up: {step.quarantined}")
        elif step.done == step.total or step.done % max(1, step.total // 10) == 0:
            output.note(f"{phase}: {step.done}/{step.total}")

    return show


@app.command()
def sources(data: DataArgument, json: JsonOption = False) -> None:
    """List the sources of a data folder, with their kinds as found by content."""
    from expedition.cli.output import Output
    from expedition.data.sources import survey

    found = survey(data)
    columns = ("name", "kind", "files", "size_bytes", "licence", "since")
    rows = [[getattr(item, column) or "" for column in columns] for item in found.sources]
    value = {
        "sources": [dict(zip(columns, row, strict=True)) for row in rows],
        "labelled": found.labelled,
        "ignored": found.ignored,
    }
    Output(json=json).table("Sources", columns, rows, value)


@app.command()
def acquire(
    data: DataArgument,
    source: Annotated[str, typer.Option("--source", help="Folder below DATA: the source's name.")],
    scope: ScopeOption = "training",
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Register a source's files, under its approval."""
    from expedition.data import acquire_folder

    session = open_session(workspace, json=json)
    session.output.result(acquire_folder(session.ws, data, source, scope=scope))


@app.command()
def status(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Finished and unfinished versions, and planned against achieved shares of the newest."""
    from expedition.data import status as data_status

    session = open_session(workspace, programme, preset, sets, json)
    session.output.result(data_status(session.ws, session.programme))


@app.command("list")
def list_versions(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """List finished versions."""
    from expedition.data.versions import read_manifest, versions

    session = open_session(workspace, json=json)
    columns = ("version", "parent", "documents", "tokens", "content_hash")
    manifests = [read_manifest(session.ws, version) for version in versions(session.ws)]
    rows = [[manifest[column] or "" for column in columns] for manifest in manifests]
    session.output.table(
        "Versions", columns, rows, {"versions": [dict(zip(columns, row, strict=True)) for row in rows]}
    )


@app.command()
def show(
    version: VersionArgument,
    document: Annotated[str | None, typer.Option("--document", help="Where this document id came from.")] = None,
    token: Annotated[int | None, typer.Option("--token", help="Which item this stored token came from.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="What the version holds of this source.")] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Show a version's manifest, or lead a token, document or source back to where it came from."""
    from expedition.data.versions import of_document, of_source, of_token, read_manifest

    session = open_session(workspace, json=json)
    if token is not None:
        session.output.result(of_token(session.ws, version, token))
    elif document is not None:
        session.output.result(of_document(session.ws, version, document))
    elif source is not None:
        session.output.result(of_source(session.ws, version, source))
    else:
        session.output.result(read_manifest(session.ws, version))


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
def quality(
    data: DataArgument,
    version: Annotated[str, typer.Option("--version", help="Version to judge.")] = "v0.1",
    truth: Annotated[Path | None, typer.Option("--truth", help="Truth file; DATA/truth.jsonl if not given.")] = None,
    labelled: Annotated[
        Path | None, typer.Option("--labelled", help="Folder of labelled sets; DATA if not given.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Judge the detectors by planted truth and labelled sets; writes reports/data-quality.json."""
    from expedition.data import judge

    session = open_session(workspace, json=json)
    session.output.result(judge(session.ws, version, data, truth=truth, labelled=labelled))


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

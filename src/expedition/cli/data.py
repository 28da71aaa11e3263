"""`expedition data`: build, inspect and compare dataset versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli import data_acquire, data_issue, data_load, data_order, data_text, data_trace, data_versions
from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_session

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
    engine: Annotated[
        str, typer.Option("--engine", help="local (processes), ray (a cluster), serial, or package.module:Class.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="Cluster for --engine ray; RAY_ADDRESS, else one started for this build."),
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Build a version from raw files; a build that was stopped goes on where it was."""
    from expedition.cli.progress import BuildProgress
    from expedition.data import build as build_version
    from expedition.data.builder import Running

    session = open_session(workspace, programme, preset, sets, json, create=True)
    with BuildProgress() as progress:
        built = build_version(
            session.ws,
            session.programme,
            data,
            version,
            parent=parent,
            scope=scope,
            skip_unapproved=skip_unapproved,
            running=Running(engine, ray_address, progress.show),
        )
    for row in built["given_up"]:
        session.output.note(f"given up: {row['source']}/{', '.join(row['items'])}: {row['reason']}")
    session.output.result(built)


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
def status(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Finished versions, builds under way or stopped, and planned against achieved shares of the newest version."""
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
def show(version: VersionArgument, workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """Show a version's manifest; `trace` leads a token, document or source back to where it came from."""
    from expedition.data.versions import read_manifest

    session = open_session(workspace, json=json)
    session.output.result(read_manifest(session.ws, version))


@app.command()
def quality(
    data: Annotated[Path | None, typer.Argument(help="Data folder, for its truth file and labelled sets.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version to judge; the newest if not given.")] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="Truth file; DATA/truth.jsonl if not given.")] = None,
    labelled: Annotated[
        Path | None, typer.Option("--labelled", help="Folder of labelled sets; DATA if not given.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Report what the workspace holds of data, and detectors against evidence: reports/data-quality.md and .json."""
    from expedition.data import judge

    session = open_session(workspace, programme, preset, sets, json)
    plan = session.programme.data
    found = judge(session.ws, version, data, truth=truth, labelled=labelled, plan=plan)
    session.output.result(found, text=session.ws.store.read("reports/data-quality.md").decode())


for _more in (data_acquire.app, data_versions.app, data_trace.app, data_load.app, data_order.app, data_text.app):
    app.add_typer(_more)
app.add_typer(data_issue.app, name="issue")

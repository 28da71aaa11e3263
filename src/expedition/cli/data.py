"""`expedition data`: build, inspect and compare dataset versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expedition.cli import data_acquire, data_load, data_versions
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


for _more in (data_acquire.app, data_versions.app, data_load.app):
    app.add_typer(_more)

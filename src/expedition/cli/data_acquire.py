"""`expedition data acquire`: raw files of a source into a data folder, under its approval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

app = typer.Typer()

DataArgument = Annotated[Path, typer.Argument(help="Folder with one folder of raw files a source.")]
ScopeOption = Annotated[str, typer.Option("--scope", help="Use that the approvals must cover.")]


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

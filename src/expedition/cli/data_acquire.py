"""`expedition data acquire`: raw files of a source into a data folder, under its approval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

if TYPE_CHECKING:
    from expedition.cli.output import Output
    from expedition.data.connectors.fetching import Progressed

app = typer.Typer()

_REFUSALS_SHOWN = 20
DataArgument = Annotated[Path, typer.Argument(help="Folder with one folder of raw files a source.")]
ScopeOption = Annotated[str, typer.Option("--scope", help="Use that the approvals must cover.")]


@app.command()
def acquire(
    data: DataArgument,
    source: Annotated[str, typer.Option("--source", help="Folder below DATA: the source's name.")],
    connector: Annotated[
        str | None, typer.Option("--from", help="Connector to fetch with; else what DATA/sources.yaml says of SOURCE.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="A connector's setting: key=value, or policy.key=value. May be repeated."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash what is there; fetch what has changed.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Ask anew for items that were refused before.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many new items.")] = None,
    scope: ScopeOption = "training",
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Fetch a source's files from where they come from, or register those that lie there; under its approval.

    Run it again to go on after a stop. Exits 1 if items failed in the end, 4 when it was stopped, 5 without approval.
    """
    from expedition.data import acquire_folder
    from expedition.data.connectors import FetchOptions, fetch_source
    from expedition.data.sources import read_declarations

    session = open_session(workspace, json=json)
    declared = read_declarations(data).get(source) if data.is_dir() else None
    if connector is None and not sets and (declared is None or declared.origin is None):
        session.output.result(acquire_folder(session.ws, data, source, scope=scope))
        return
    options = FetchOptions(connector, tuple(sets or ()), scope, verify=verify, again=again, limit=limit)
    result = fetch_source(
        session.ws, data, source, options, progress=_progress(session.output), note=session.output.note
    )
    session.output.result(result)
    _require_whole(result, data / source)


def _progress(output: Output) -> Any:
    import time

    told = [0.0]

    def show(step: Progressed) -> None:
        if step.last is not None and step.last.status == "refused" and step.refused <= _REFUSALS_SHOWN:
            output.note(f"refused {step.last.path}: {step.last.reason}: {step.last.detail}")
        if time.monotonic() - told[0] < 1.0:
            return
        told[0] = time.monotonic()
        output.note(
            f"{step.kept} fetched, {step.already_there} already there, {step.refused} refused, {step.failed} failed; "
            f"{step.bytes / 1e6:,.1f} MB, {step.read_bytes_per_s / 1e6:,.2f} MB/s"
        )

    return show


def _require_whole(result: dict[str, Any], folder: Path) -> None:
    from expedition.errors import CheckFailed

    if result["failed"]:
        causes = ", ".join(f"{count} {reason}" for reason, count in result["failed"].items())
        raise CheckFailed(
            f"items could not be fetched: {causes}",
            where=str(folder),
            fix="run the same command again: failed items are tried anew, the others are there",
        )

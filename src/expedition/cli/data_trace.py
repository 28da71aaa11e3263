"""`expedition data`: what differs between versions, and where a token, document, source or step comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expedition.cli.options import (
    JsonOption,
    PresetOption,
    ProgrammeOption,
    Session,
    SetOption,
    WorkspaceOption,
    open_session,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer()


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="Version, such as v0.1.")],
    new: Annotated[str, typer.Argument(help="Version, such as v0.2.")],
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """What changed between versions: documents in and out by reason, shares, and what training sees differently."""
    from expedition.data.versions import difference
    from expedition.data.versions.difference import report_tables

    session = open_session(workspace, programme, preset, sets, json)
    found = difference(session.ws, old, new, session.programme.data.mix)
    if json:
        session.output.result(found)
        return
    for title, columns, rows in report_tables(found):
        session.output.table(title, columns, rows, found)


@app.command()
def trace(
    version: Annotated[str | None, typer.Argument(help="Version, such as v0.1; not needed with --run.")] = None,
    token: Annotated[int | None, typer.Option("--token", help="A stored token's place in the version, from 0.")] = None,
    document: Annotated[str | None, typer.Option("--document", help="A document's id, kept or dropped.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="What the version holds of this source.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Run of the programme; with --step.")] = None,
    step: Annotated[int | None, typer.Option("--step", min=0, help="Step of the run, from 0.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only what this data rank worked on.")] = None,
    world: Annotated[int, typer.Option("--world", min=1, help="Number of data ranks.")] = 1,
    raw: Annotated[Path | None, typer.Option("--raw", help="Write the raw bytes to this file, and prove them.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of raw files, if it was moved.")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> int:
    """Lead a token, document or training step back to raw bytes: item, approval, every stage's decision, place."""
    from expedition.data import trace_document, trace_source, trace_step, trace_token
    from expedition.data.trace import report_lines, step_lines
    from expedition.errors import UsageError

    session = open_session(workspace, programme, preset, sets, json)
    if run is not None and step is not None:
        found = trace_step(session.ws, session.programme, run, step, world=world, rank=rank)
        session.output.result(found, text="\n".join(step_lines(found)))
        return 0
    if version is None or (token, document, source).count(None) != 2:
        raise UsageError(
            "say what is to be traced",
            fix="expedition data trace VERSION --token N | --document ID | --source NAME, or --run RUN --step S",
        )
    if source is not None:
        session.output.result(trace_source(session.ws, version, source))
        return 0
    told = (
        trace_token(session.ws, version, token)
        if token is not None
        else trace_document(session.ws, version, str(document))
    )
    if raw is None:
        session.output.result(told, text="\n".join(report_lines(told)))
        return 0
    return _raw(session, told, raw, data)


def _raw(session: Session, told: Mapping[str, Any], target: Path, data: Path | None) -> int:
    from expedition.data.trace import raw_of, report_lines

    found, proof = raw_of(session.ws, told, session.programme, data)
    target.write_bytes(found.data)
    names = ("path", "what", "offset", "size_bytes", "packed", "sha256", "file_sha256")
    raw = {**{name: getattr(found, name) for name in names}, **proof, "written_to": str(target)}
    lines = [*report_lines(told), *(f"{name:<13}{value}" for name, value in raw.items())]
    session.output.result({**told, "raw": raw}, text="\n".join(lines))
    return 0 if proof["follows"] and proof["registered"] is not False else 1

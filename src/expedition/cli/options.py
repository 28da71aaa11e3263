"""The options that every verb takes, and the session they open: workspace, programme, output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from expedition.cli.output import Output

if TYPE_CHECKING:
    from expedition.plan.models import Programme
    from expedition.workspace import Workspace

WorkspaceOption = Annotated[str, typer.Option("--workspace", "-w", help="Folder or s3://bucket/prefix of the voyage.")]
ProgrammeOption = Annotated[str | None, typer.Option("--programme", help="Programme file (YAML).")]
PresetOption = Annotated[str | None, typer.Option("--preset", help="rehearsal, onegpu or w26.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override one value: a.b=c. May be repeated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress on stderr.")]


@dataclass(frozen=True)
class Session:
    """What a verb works with."""

    ws: Workspace
    programme: Programme
    output: Output


def open_session(
    workspace: str,
    programme: str | None = None,
    preset: str | None = None,
    sets: list[str] | None = None,
    json: bool = False,
    *,
    create: bool = False,
) -> Session:
    """Open the workspace and the programme.

    The programme is `--programme`, else `--preset`, else the workspace's own resolved copy, else the rehearsal's; with
    the workspace's forked runs beside its own. Raises ProgrammeError, UsageError, StorageError.
    """
    from expedition.plan.recorded import with_recorded
    from expedition.workspace import Workspace

    ws = Workspace.open(workspace, create=create)
    return Session(ws, with_recorded(ws, open_programme(ws, programme, preset, sets)), Output(json=json))


def open_programme(
    ws: Workspace | None, programme: str | None, preset: str | None, sets: list[str] | None
) -> Programme:
    """The programme that a verb should use; `ws` may be None where a verb needs no workspace."""
    from expedition.errors import UsageError
    from expedition.plan import load_programme
    from expedition.plan.load import DEFAULT_PRESET
    from expedition.workspace import layout

    if programme is not None and preset is not None:
        raise UsageError("--programme and --preset exclude each other", fix="give one of them")
    if programme is not None:
        from pathlib import Path

        return load_programme(Path(programme), sets)
    if preset is not None:
        return load_programme(preset, sets)
    if ws is not None and ws.store.exists(layout.PROGRAMME):
        return load_programme(ws.store.local(layout.PROGRAMME), sets)
    return load_programme(DEFAULT_PRESET, sets)

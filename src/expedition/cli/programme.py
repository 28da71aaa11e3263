"""`expedition programme`: the programme file, schedule, cost, documents, signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.in_process import execute
from expedition.cli.options import (
    JsonOption,
    PresetOption,
    ProgrammeOption,
    SetOption,
    WorkspaceOption,
    open_programme,
    open_session,
)
from expedition.cli.output import Output

app = typer.Typer(help="The programme file, schedule, cost, documents, signatures.", no_args_is_help=True)


@app.command()
def check(
    programme: ProgrammeOption = None, preset: PresetOption = None, sets: SetOption = None, json: JsonOption = False
) -> None:
    """Validate a programme file: exit 2 with line and remedy where it is wrong."""
    resolved = open_programme(None, programme, preset, sets)
    Output(json=json).result(
        {
            "name": resolved.name,
            "preset": resolved.preset,
            "runs": list(resolved.runs),
            "models": list(resolved.models),
            "criteria": len(resolved.criteria),
            "valid": True,
        }
    )


@app.command()
def show(
    programme: ProgrammeOption = None, preset: PresetOption = None, sets: SetOption = None, json: JsonOption = False
) -> None:
    """Print the resolved programme as YAML (or JSON)."""
    from expedition.plan import dump_programme

    resolved = open_programme(None, programme, preset, sets)
    Output(json=json).result(resolved.model_dump(mode="json"), text=dump_programme(resolved))


@app.command()
def schema() -> None:
    """Print the JSON schema of a programme file, with every field's meaning and unit."""
    from expedition.plan import Programme

    Output(json=True).result(Programme.model_json_schema())


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="Preset or file.")],
    second: Annotated[str, typer.Argument(help="Preset or file.")],
    json: JsonOption = False,
) -> None:
    """Show which decisions differ between two programmes."""
    from expedition.plan import PRESETS, load_programme
    from expedition.plan.difference import difference

    programmes = [load_programme(name if name in PRESETS else Path(name)) for name in (first, second)]
    changes = difference(programmes[0], programmes[1])
    Output(json=json).table(
        f"{first} → {second}",
        ["decision", first, second],
        [(change.path, change.before, change.after) for change in changes],
        [{"path": change.path, "before": change.before, "after": change.after} for change in changes],
    )


@app.command()
def init(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Make a workspace and write the resolved programme into it."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.plan import dump_programme
    from expedition.workspace import layout

    text = dump_programme(session.programme)
    if not session.ws.store.exists(layout.PROGRAMME) or session.ws.store.read(layout.PROGRAMME) != text.encode():
        session.ws.write_text(layout.PROGRAMME, text)
    session.output.result({"workspace": session.ws.store.describe(), "programme": session.programme.name})


@app.command()
def gantt(
    slip: Annotated[list[str] | None, typer.Option("--slip", help="TASK=WEEKS: what if. May be repeated.")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Draw the schedule here and as reports/gantt.svg; critical path, floats, spread of the finish."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.programme import write_schedule
    from expedition.programme.gantt import terminal

    slips = {name: float(weeks) for name, _, weeks in (text.partition("=") for text in slip or [])}
    twin = write_schedule(session.ws, session.programme, slips)
    chart = terminal(session.programme.schedule, columns=110, slips=slips)
    session.output.result(twin, text=f"{chart}\n\ncritical path: {' → '.join(twin['critical_path'])}")


@app.command()
def cost(
    tokens_per_s: Annotated[
        float | None, typer.Option("--tokens-per-s", min=1, help="Rate of the 1B run on the cluster.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """What the cluster, the rehearsal and an outage cost; writes reports/cost."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.programme import write_cost

    session.output.result(write_cost(session.ws, session.programme, rehearsal_tokens_per_s=tokens_per_s))


@app.command()
def document(
    name: Annotated[str, typer.Argument(help="design or launch-manual.")],
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Print a document from the programme into reports/."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.errors import UsageError
    from expedition.programme import write_design, write_launch_manual

    if name == "design":
        session.output.result(write_design(session.ws, session.programme))
    elif name == "launch-manual":
        session.output.result(write_launch_manual(session.ws, session.programme, lambda dry: execute(dry)[0]))
    else:
        raise UsageError(f"no document {name!r}", fix="documents: design, launch-manual")


@app.command()
def sign(
    reviewer: Annotated[str, typer.Argument(help="A reviewer of the programme, e.g. data.")],
    document: Annotated[str, typer.Option("--document", help="design or launch-manual.")] = "design",
    objections: Annotated[str, typer.Option("--objections", help="none, minor or major.")] = "none",
    who: Annotated[str | None, typer.Option("--who", help="Who signs; default: you.")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a document as it is now."""
    session = open_session(workspace, programme, preset, None, json)
    import getpass

    from expedition.programme import sign as sign_document

    person = who or getpass.getuser()
    session.output.result(sign_document(session.ws, session.programme, reviewer, document, person, objections))


@app.command()
def waive(
    criterion: Annotated[str, typer.Argument(help="Id of the criterion.")],
    why: Annotated[str, typer.Option("--why", help="The reason, on record.")],
    who: Annotated[str | None, typer.Option("--who", help="Who waives; default: you.")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    json: JsonOption = False,
) -> None:
    """Waive a criterion, on record; compliance cannot be waived."""
    session = open_session(workspace, programme, preset, None, json)
    import getpass

    from expedition.programme import waive as waive_criterion

    session.output.result(waive_criterion(session.ws, session.programme, criterion, who or getpass.getuser(), why))


@app.command("approve-change")
def approve_change(
    change: Annotated[str, typer.Argument(help="Name of the change, as the run's events say it.")],
    why: Annotated[str, typer.Option("--why", help="The reason, on record.")],
    who: Annotated[str | None, typer.Option("--who", help="Who approves; default: you.")] = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Approve one change to the frozen main run."""
    session = open_session(workspace, json=json)
    import getpass

    from expedition.programme import freeze_approval

    session.output.result(freeze_approval(session.ws, who or getpass.getuser(), why, change))

"""`expedition incident`: list, show, acknowledge, resolve with a post-mortem; who is on duty."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

app = typer.Typer(help="Incidents, their evidence and post-mortems.", no_args_is_help=True)
IncidentArgument = Annotated[str, typer.Argument(help="Incident id.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who does it; default: the user of this system.")]


@app.command("list")
def list_all(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """All incidents with their times."""
    session = open_session(workspace, json=json)
    from expedition.watch import list_incidents, mean_times

    found = list_incidents(session.ws)
    rows = [(i["id"], i["severity"], i["status"], i["opened"][:19], i["symptom"]) for i in found]
    columns = ["id", "severity", "status", "opened", "symptom"]
    session.output.table("incidents", columns, rows, {"incidents": found, **mean_times(found)})


@app.command()
def show(incident: IncidentArgument, workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """One incident: record, diagnosis, timeline, evidence."""
    session = open_session(workspace, json=json)
    from expedition.watch import read_incident, timeline

    session.output.result({**read_incident(session.ws, incident), "timeline": timeline(session.ws, incident)})


@app.command()
def ack(
    incident: IncidentArgument, who: WhoOption = None, workspace: WorkspaceOption = "voyage", json: JsonOption = False
) -> None:
    """Say that somebody looks at it."""
    session = open_session(workspace, json=json)
    from expedition.watch import acknowledge, system_user

    session.output.result(acknowledge(session.ws, incident, who or system_user()))


@app.command()
def resolve(
    incident: IncidentArgument,
    root_cause: Annotated[str, typer.Option("--root-cause", help="Why it happened.")] = "",
    fix: Annotated[str, typer.Option("--fix", help="What was done.")] = "",
    prevention: Annotated[str, typer.Option("--prevention", help="What keeps it from coming back.")] = "",
    symptom: Annotated[str, typer.Option("--symptom", help="What was seen; default: as opened.")] = "",
    who: WhoOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Close it with its post-mortem; prints times and cost."""
    session = open_session(workspace, json=json)
    from expedition.watch import PostMortem, resolve_incident, system_user

    postmortem = PostMortem(root_cause=root_cause, fix=fix, prevention=prevention, symptom=symptom)
    session.output.result(resolve_incident(session.ws, incident, postmortem, who or system_user()))


@app.command()
def shift(
    name: Annotated[str, typer.Argument(help="Who is on duty.")],
    start: Annotated[str, typer.Option("--from", help="ISO 8601 UTC.")],
    end: Annotated[str, typer.Option("--to", help="ISO 8601 UTC.")],
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Put a person on the roster."""
    session = open_session(workspace, json=json)
    from expedition.watch import add_shift

    session.output.result(add_shift(session.ws, name, start, end))

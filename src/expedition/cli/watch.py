"""`expedition watch`: the live site; the static page, the rules and their replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import (
    JsonOption,
    PresetOption,
    ProgrammeOption,
    SetOption,
    WorkspaceOption,
    open_session,
)

app = typer.Typer(invoke_without_command=True)
RunOption = Annotated[str, typer.Option("--run", help="Run of the programme.")]


@app.callback()
def site(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = 8642,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines read the workspace: there is no password.")
    ] = False,
    refresh_s: Annotated[
        float | None,
        typer.Option("--refresh-s", min=0.2, max=300, help="Seconds between readings; 5 for a folder, 30 for S3."),
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Serve the live pages of a workspace to a browser until Ctrl-C; the verbs below do other things."""
    if context.invoked_subcommand is not None:
        return
    from expedition.cli.until_stopped import until_stopped
    from expedition.watch import site as serve
    from expedition.watch.web import Address

    session = open_session(workspace, programme, preset, sets, json)
    address = Address(host, port, allow_remote)
    if not address.loopback and allow_remote:
        session.output.note(
            f"warning: whoever reaches {host} reads this workspace, its records too; there is no password"
        )
    with serve(session.ws, session.programme, address, refresh_s) as url:
        session.output.result({"url": url, "workspace": session.ws.store.describe()}, text=f"serving {url}")
        until_stopped(session.output)


@app.command()
def page(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write the static page watch/index.html from what the workspace holds."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.watch import write_page

    health = write_page(session.ws, session.programme)
    rows = [(name, view["present"], view["fresh_s"], view["ranks"]) for name, view in health["views"].items()]
    session.output.table(f"page: {health['page']}", ["view", "present", "age (s)", "ranks"], rows, health)


@app.command()
def rules(
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Which stop rules guard a run, and what they say on its metrics so far."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.watch import rule_states

    states = rule_states(session.ws, session.programme, run)
    rows = [(s["rule"], s["armed"], s["action"], s["alarms"], s["refused"] or "") for s in states]
    session.output.table(f"rules of run {run}", ["rule", "armed", "action", "alarms", "refused because"], rows, states)


@app.command()
def replay(
    run: RunOption = "main",
    curves: Annotated[Path | None, typer.Option("--curves", help="Folder with curves of real runs.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the generated curves.")] = 7,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Prove the rules on labelled curves; writes reports/replay.json. Exit 1 if an armed rule fails."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.errors import CheckFailed
    from expedition.watch import replay_programme

    report = replay_programme(session.ws, session.programme, run, curves, seed)
    rows = [
        (rule["rule"], rule["armed"], rule["proven"], len(rule["curves"]), rule["refused"] or "")
        for rule in report["rules"]
    ]
    session.output.table("replay", ["rule", "armed", "proven", "curves", "refused because"], rows, report)
    failed = [rule["rule"] for rule in report["rules"] if rule["armed"] and not rule["proven"]]
    if failed:
        raise CheckFailed(f"not proven by replay: {', '.join(failed)}", where="reports/replay.json")

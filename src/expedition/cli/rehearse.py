"""`expedition rehearse`: sail W0–W26 end to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expedition.cli.in_process import execute
from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_programme
from expedition.cli.output import Output

if TYPE_CHECKING:
    from expedition.workspace import Workspace

app = typer.Typer(help="Sail W0–W26 end to end, on generated data or your own.")


@app.command()
def rehearse(
    workspace: WorkspaceOption = "voyage",
    data: Annotated[Path | None, typer.Option("--data", help="Your own raw files: one folder a source.")] = None,
    size: Annotated[str, typer.Option("--size", help="Generated sample: smoke (a minute), small, medium.")] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the generated sample.")] = 7,
    first: Annotated[str | None, typer.Option("--from", help="First step or phase.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="Only this step or phase, done anew.")] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="design, data, pretrain-1b, pretrain-10b, evaluate, release; or a step."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps and their commands.")] = False,
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Sail W0–W26: raw files in; a signed, evaluated model and a gate table out. The same command goes on after a stop."""
    from expedition.voyage import Orders, plan_voyage
    from expedition.voyage import rehearse as sail
    from expedition.voyage.view import View
    from expedition.workspace import Workspace

    default = "smoke" if size == "smoke" else "rehearsal"
    plan = open_programme(None, programme, preset or (default if programme is None else None), sets)
    ws = Workspace.open(workspace, create=True)
    orders = Orders(data=data, size=size, seed=seed, first=first, only=only, until=until)
    output = Output(json=json)
    steps, _ = plan_voyage(ws, plan, orders)
    if dry_run:
        shown = [
            {
                "week": step.weeks,
                "step": step.name,
                "commands": [command.text(workspace) for command in step.commands],
                "services": [command.text(workspace) for command in step.services],
            }
            for step in steps
        ]
        rows = [
            (item["week"], item["step"], "\n".join([*(f"{line} &" for line in item["services"]), *item["commands"]]))
            for item in shown
        ]
        output.table(plan.name, ["week", "step", "commands"], rows, {"steps": shown})
        return
    view = View(len(steps), quiet=json)
    begun = time.monotonic()
    records = []
    try:
        for record in sail(ws, plan, orders, execute, view):
            records.append(record)
    finally:
        view.close()
    _landfall(ws, output, records, time.monotonic() - begun)


def _landfall(ws: Workspace, output: Output, records: list[Any], wall_s: float) -> None:
    from expedition.workspace import layout

    gates: dict[str, Any] | None = None
    if records and records[-1].step.name == "landfall":
        gates = ws.read_json(layout.GATES)
    steps = [
        {"step": r.step.name, "weeks": r.step.weeks, "wall_s": round(r.wall_s, 2), "reused": r.reused} for r in records
    ]
    result: dict[str, Any] = {"steps": steps, "wall_s": round(wall_s, 1)}
    if gates is None:
        output.result(result, text=f"{len(steps)} steps in {wall_s:.0f} s")
        return
    verdicts = [item["verdict"] for item in gates["criteria"]]
    result["gates"] = {verdict: verdicts.count(verdict) for verdict in ("pass", "fail", "no evidence", "waived")}
    result["criteria"] = gates["criteria"]
    from expedition.programme.table import plain

    where = ws.store.describe()
    text = "\n".join(
        [
            plain(gates["criteria"]),
            "",
            "   ".join(f"{count} {verdict}" for verdict, count in result["gates"].items()) + f"   ({wall_s:.0f} s)",
            f"page    {where}/{layout.PAGE}",
            f"report  {where}/{layout.report_page('evaluation')}",
            f"kit     {where}/release",
        ]
    )
    output.result(result, text=text)
    raise typer.Exit(int(result["gates"]["fail"] > 0))

"""`expedition gate`: verdicts on the acceptance criteria. `expedition gate all`, `expedition gate W10`."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_session

app = typer.Typer(help="Verdicts on acceptance criteria, from evidence.")


@app.command()
def gate(
    name: Annotated[str, typer.Argument(help="all, or a milestone such as W10.", metavar="GATE")],
    strict: Annotated[bool, typer.Option("--strict", help='Exit 1 also on "no evidence".')] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Judge a gate's criteria from artefacts; exit 1 if one fails."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.programme import evaluate_gates
    from expedition.programme.gates import exit_code, summary
    from expedition.programme.table import rows

    judgements = evaluate_gates(session.ws, session.programme, name)
    counts = summary(judgements)
    title = "   ".join(f"{count} {verdict}" for verdict, count in counts.items())
    session.output.table(
        title,
        ["gate", "criterion", "verdict", "measured", "asked", "why"],
        rows(judgements),
        {"criteria": [item.record() for item in judgements], "summary": counts},
    )
    raise typer.Exit(exit_code(judgements, strict=strict))

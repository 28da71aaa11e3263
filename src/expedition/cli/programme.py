"""`expedition programme`: the programme file, schedule, cost, documents, signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, open_programme
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

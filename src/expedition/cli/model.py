"""expedition model: shapes, parameter counts, FLOPs, memory, numerics."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, open_programme
from expedition.cli.output import Output

app = typer.Typer(help="Shapes, parameter and FLOP counts, memory, numerics.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model of the programme: tiny, 1b, 10b, 10b-active.")]
Sequence = Annotated[int, typer.Option(help="Tokens in a document.", min=1)]
Vocabulary = Annotated[
    int | None, typer.Option(help="Rows of the embedding table; the programme's if not given.", min=1)
]


@app.callback()
def model() -> None:
    """Shapes, parameter and FLOP counts, memory, numerics."""


@app.command()
def show(
    name: Name = "tiny",
    sequence: Sequence = 4096,
    vocabulary: Vocabulary = None,
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """A model: its sizes, parameters by part and active ones, FLOPs of a token and of media, memory by state."""
    from expedition.model.describe import describe_model, model_lines

    found = describe_model(open_programme(None, programme, preset, sets), name, sequence, vocabulary)
    Output(json=json).result(found, text="\n".join(model_lines(found)))


@app.command()
def precision(
    name: Name = "tiny",
    run: Annotated[
        str | None, typer.Option(help="A run of the programme that trains it; the first if not given.")
    ] = None,
    capability: Annotated[
        str | None, typer.Option(help="As on a GPU of this compute capability (H100: 9.0); this machine if not given.")
    ] = None,
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Numerics module by module: type, FP8 format and recipe, which library and version multiplies, and why not FP8.

    A policy that the machine or a library cannot run is refused with the reason.
    """
    from expedition.train.reports.precision import describe_precision, machine_of, precision_lines

    machine = None if capability is None else machine_of(capability)
    found = describe_precision(open_programme(None, programme, preset, sets), name, run, machine)
    Output(json=json).result(found, text="\n".join(precision_lines(found)))

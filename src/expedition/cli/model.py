"""expedition model: shapes, parameter counts, FLOPs and memory."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, open_programme
from expedition.cli.output import Output

app = typer.Typer(help="Shapes, parameter and FLOP counts, memory.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model of the programme: tiny, 1b, 10b, 10b-active.")]
Sequence = Annotated[int, typer.Option(help="Tokens in a document.", min=1)]
Vocabulary = Annotated[
    int | None, typer.Option(help="Rows of the embedding table; the programme's if not given.", min=1)
]


@app.callback()
def model() -> None:
    """Shapes, parameter and FLOP counts, memory."""


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

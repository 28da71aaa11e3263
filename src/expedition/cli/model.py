"""expedition model: shapes, parameter counts and FLOP counts."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, open_programme
from expedition.cli.output import Output

app = typer.Typer(help="Shapes, parameter and FLOP counts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model of the programme: tiny, 1b, 10b, 10b-active.")]
Sequence = Annotated[int, typer.Option(help="Tokens in a document.", min=1)]
Vocabulary = Annotated[int | None, typer.Option(help="Rows of the embedding table; the programme's if not given.")]


@app.command()
def show(
    name: Name = "tiny",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The shape of a model: every size that the programme decides."""
    from expedition.model.describe import named_shape

    Output(json=json).result(named_shape(open_programme(None, programme, preset, sets), name).model_dump(mode="json"))


@app.command()
def counts(
    name: Name = "tiny",
    sequence: Sequence = 4096,
    vocabulary: Vocabulary = None,
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Parameters by part, active parameters, and forward FLOPs of a token with causal and with full attention."""
    from expedition.model.describe import describe_counts

    Output(json=json).result(describe_counts(open_programme(None, programme, preset, sets), name, sequence, vocabulary))

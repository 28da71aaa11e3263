"""expedition sample: a small world of raw files of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption

app = typer.Typer(help="Write a small world of raw files of all kinds.", no_args_is_help=True)


@app.command()
def sample(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 7,
    size: Annotated[str, typer.Option(help="smoke, small, medium or large.")] = "small",
    processes: Annotated[int | None, typer.Option(min=1, help="Worker processes; default one a core.")] = None,
    json: JsonOption = False,
) -> None:
    """Write raw files of all kinds, an evaluation set and the truth about what is planted in them to DIR."""
    from dataclasses import asdict

    from expedition.cli.output import Output
    from expedition.sampleworld import build_sample

    Output(json=json).result(asdict(build_sample(directory, seed, size, processes)))

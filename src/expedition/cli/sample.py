"""`expedition sample`: a small world of raw files of all kinds, and local web services that offer it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from expedition.cli.options import JsonOption


class _WriteByDefault(TyperGroup):
    """`sample DIR` is `sample write DIR`: a first word that is no verb belongs to `write`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["write", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Write a small world of raw files of all kinds; offer it by web services.",
    no_args_is_help=True,
    cls=_WriteByDefault,
)


@app.command()
def write(
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


@app.command()
def chats(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    conversations: Annotated[int, typer.Option("--conversations", min=1, help="How many.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bytes.")] = 7,
    json: JsonOption = False,
) -> None:
    """Write conversations about pictures, sounds and clips to DIR: a data folder for supervised fine-tuning."""
    from expedition.cli.output import Output
    from expedition.sampleworld import write_chats

    Output(json=json).result(write_chats(directory, conversations, seed))


@app.command()
def serve(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A sample's folder.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder to make ready for `expedition data acquire`.")
    ] = None,
    ports: Annotated[
        list[str] | None, typer.Option("--port", help="SOURCE=PORT; may be repeated; a free port where none is given.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Offer DIR by local web services in the protocols of Common Crawl, GitHub and YouTube, until Ctrl-C.

    Prints addresses, credentials for them, and the settings by which `expedition data acquire` fetches each source.
    """
    from expedition.cli.output import Output
    from expedition.cli.until_stopped import until_stopped
    from expedition.sampleworld import acquire_lines, offer_sample, ports_of, prepare_data_folder

    output = Output(json=json)
    with offer_sample(directory, ports_of(ports or ())) as offering:
        declared = [] if data is None else prepare_data_folder(offering, data)
        output.result({**offering.report(), "data": declared}, text="\n".join(acquire_lines(offering, data)))
        until_stopped(output)

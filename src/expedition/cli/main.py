"""The `expedition` command: verb groups are mounted by name and imported when they are asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click
import typer

from expedition import __version__
from expedition.errors import ExpeditionError, Interrupted

GROUPS: dict[str, tuple[str, str]] = {
    "rehearse": ("rehearse", "Sail W0–W26 end to end, on generated data or your own."),
    "programme": ("programme", "The programme file, schedule, cost, documents, signatures."),
    "gate": ("gate", "Verdicts on acceptance criteria, from evidence."),
    "sample": ("sample", "Write a small world of raw files of all kinds."),
    "compliance": ("compliance", "Approvals, refusals, revocations; the ledger."),
    "data": ("data", "Build, inspect and compare dataset versions."),
    "loader": ("load", "Look at batches; measure loading and storage."),
    "model": ("model", "Shapes, parameter and FLOP counts."),
    "train": ("train", "Run, resume, profile; proof of concept; distillation."),
    "cluster": ("cluster", "Burn-in, drills, nodes, goodput, planner."),
    "watch": ("watch", "The war room's page; rules and their replay."),
    "incident": ("incident", "Incidents, their evidence and post-mortems."),
    "evaluate": ("evaluate", "Scores, red team, long context, reports."),
    "release": ("release", "Build, sign, verify; the stranger's test."),
}
"""Group name → (module under expedition.cli, one line of help)."""


class LazyGroups(click.Group):
    """Lists all groups without importing them; imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in GROUPS:
            return None
        module = importlib.import_module(f"expedition.cli.{GROUPS[cmd_name][0]}")
        return typer.main.get_command(module.app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in GROUPS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in GROUPS:
            import difflib

            close = difflib.get_close_matches(args[0], GROUPS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"expedition {__version__}")
        ctx.exit()


ROOT = LazyGroups(
    name="expedition",
    help="Carries a multimodal pretraining programme from raw data to a signed, evaluated, reproducible MoE model.",
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
        )
    ],
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code (docs/exit-codes.md)."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors for people go to stderr, without a traceback."""
    try:
        result: Any = ROOT.main(args=arguments, prog_name="expedition", standalone_mode=False)
    except ExpeditionError as error:
        return _fail(error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _fail(Interrupted("stopped", fix="run the same command again: it goes on where it was"))
    except BrokenPipeError:
        return 0
    return result if isinstance(result, int) else 0


def _fail(error: ExpeditionError) -> int:
    from expedition.cli.output import printable

    sys.stderr.write(f"expedition: {printable(error)}\n")
    return error.exit_code

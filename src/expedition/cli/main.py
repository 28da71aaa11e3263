"""The `expedition` command: a verb group is found by name and imported when it is asked for."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from typing import Any

from expedition import __version__
from expedition.errors import ExpeditionError, Interrupted, StorageError, UsageError

GROUPS: dict[str, tuple[str, str]] = {
    "rehearse": ("rehearse", "Sail W0–W26 end to end, on generated data or your own."),
    "voyage": (
        "voyage",
        "What people do in a rehearsal: approvals, incident handling, decisions; an object store to push to.",
    ),
    "programme": ("programme", "The programme file, schedule, cost, documents, signatures."),
    "gate": ("gate", "Verdicts on acceptance criteria, from evidence."),
    "sample": ("sample", "Write a small world of raw files of all kinds; offer it by web services."),
    "compliance": ("compliance", "Approvals, refusals, revocations; the ledger."),
    "data": ("data", "Build, inspect and compare dataset versions; their order and mix."),
    "tokenizer": ("tokenizer", "Make, show and check the vocabulary and its special tokens."),
    "model": ("model", "Shapes, parameter and FLOP counts, memory."),
    "train": ("train", "Run, pause, rewind, profile; proof of concept; distillation."),
    "cluster": ("cluster", "Burn-in, drills, nodes, goodput, planner."),
    "watch": ("watch", "Live pages of a workspace; the war room's static page, rules and their replay."),
    "incident": ("incident", "Incidents, their evidence and post-mortems."),
    "evaluate": ("evaluate", "Scores, red team, long context, reports."),
    "release": ("release", "Build, export, sign, verify; the stranger's test."),
}
"""Group name → (module under expedition.cli, one line of help)."""


USAGE = """Usage: expedition [--version] [--help] GROUP VERB [OPTIONS]

Carries a multimodal pretraining programme from raw data to a signed, evaluated, reproducible MoE model.
Start with: expedition rehearse

Groups (expedition GROUP --help):
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code (docs/exit-codes.md)."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors for people go to stderr, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # OpenMP's default spins for milliseconds and makes every step many times slower where other processes share the
    # cores; no spinning at all costs a third on a free machine. Microseconds of it cost neither.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            sys.stdout.write(USAGE + "".join(f"  {name:<12}{line}\n" for name, (_, line) in GROUPS.items()))
            return 0 if arguments else 2
        if arguments[0] == "--version":
            sys.stdout.write(f"expedition {__version__}\n")
            return 0
        return _group(arguments[0], arguments[1:])
    except ExpeditionError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(Interrupted("stopped", fix="run the same command again: it goes on where it was"))
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM):
            raise
        fix = "free space or give another folder, then run the same command again; nothing committed was lost"
        return _fail(StorageError(str(error.strerror).lower(), where=str(error.filename or "disk"), fix=fix))


def _group(name: str, arguments: list[str]) -> int:
    if name not in GROUPS:
        close = difflib.get_close_matches(name, GROUPS, n=1)
        fix = f"did you mean {close[0]!r}?" if close else "expedition --help"
        raise UsageError(f"no command {name!r}", fix=fix)
    import typer

    app = importlib.import_module(f"expedition.cli.{GROUPS[name][0]}").app
    # Typer brings its own copy of click; its exceptions are reached through the names that Typer exports.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    try:
        result = typer.main.get_command(app).main(args=arguments, prog_name=f"expedition {name}", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except usage_error as error:
        error.show()
        return 2
    return result if isinstance(result, int) else 0


def _fail(error: ExpeditionError) -> int:
    from expedition.workspace.printable import printable

    sys.stderr.write(f"expedition: {printable(error)}\n")
    return error.exit_code

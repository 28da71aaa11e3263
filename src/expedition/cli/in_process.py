"""Runs a command line in this process and catches what it prints."""

from __future__ import annotations

import contextlib
import io


def execute(arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `expedition` with `arguments`."""
    from expedition.cli.main import run

    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = run(arguments)
    return code, stdout.getvalue(), stderr.getvalue()

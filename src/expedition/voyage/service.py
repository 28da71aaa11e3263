"""What runs beside a step: a command that prints where it is and serves until the step is done."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from expedition.errors import CheckFailed
from expedition.voyage.step import Command
from expedition.workspace.orphans import die_with_parent

STOP_S = 20.0
"""What a service gets to end by itself."""


@contextlib.contextmanager
def beside(services: Sequence[Command], workspace: str, logs: Path) -> Iterator[dict[str, str]]:
    """Start the services, wait until each has said that it is ready, and stop them when the block is left.

    A service prints one JSON object when it is ready. Its `env` is set in this process's environment meanwhile; its
    other texts are given, for `{name}` in the step's commands. It dies with this process. Raises CheckFailed where one
    ends before it is ready.
    """
    values: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for number, command in enumerate(services):
            told = stack.enter_context(_running(command, workspace, logs / f"service-{number}.log"))
            stack.enter_context(_environment(told.get("env") or {}))
            values.update({name: value for name, value in told.items() if isinstance(value, str)})
        yield values


def filled(command: Command, values: Mapping[str, str]) -> Command:
    """The command with `{name}` replaced by what a service said."""
    argv = list(command.argv)
    for name, value in values.items():
        argv = [part.replace(f"{{{name}}}", value) for part in argv]
    return Command(tuple(argv), command.expect, command.process, command.bare)


@contextlib.contextmanager
def _running(command: Command, workspace: str, log: Path) -> Iterator[dict[str, Any]]:
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "expedition", *command.arguments(workspace), "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        assert child.stdout is not None
        told = _document(child.stdout)
        if told is None:
            words = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
            raise CheckFailed(f"a service of this step did not start: {' '.join(words)}", where=command.text(workspace))
        yield told
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _document(lines: IO[str]) -> dict[str, Any] | None:
    """The first JSON object of a stream; None where it ends before."""
    text = ""
    for line in lines:
        text += line
        with contextlib.suppress(ValueError):
            found = json.loads(text)
            return found if isinstance(found, dict) else None
    return None


@contextlib.contextmanager
def _environment(told: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

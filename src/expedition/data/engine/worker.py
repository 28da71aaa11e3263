"""The worker's side of the local engine: receive a task, run it aside, say how it went."""

from __future__ import annotations

import ctypes
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from expedition.data.engine.commit import run_aside
from expedition.data.engine.shard import ShardFunction, Task
from expedition.errors import ExpeditionError, MissingExtra

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Finished:
    """The attempt is durable in `aside`, ready for the supervisor's rename."""

    aside: Path


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised; `reason` is one line, `details` the traceback for the quarantine record."""

    reason: str
    details: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The function raised one of our own errors: the whole call must stop with it."""

    error: ExpeditionError


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has started; only now is it given a task, so that a failing start is no task's fault."""


Answer = Finished | Failed | Refused


def attempt(function: ShardFunction, task: Task, folder: Path, number: int) -> Answer:
    """Run one attempt and turn whatever happens into an answer."""
    try:
        return Finished(run_aside(function, task, folder, number))
    except ExpeditionError as error:
        return Refused(error)
    except (ImportError, SyntaxError, NameError) as error:
        # Not the data's fault: every other task would fail alike.
        what = f"the installation is broken: {type(error).__name__}: {error}"
        return Refused(MissingExtra(what, where=task.key, fix="make venv, then run the same command again"))
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())


def work(connection: Connection, function: ShardFunction, folder: Path) -> None:
    """Serve tasks until the supervisor closes the pipe. Ctrl-C is the supervisor's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    connection.send(Ready())
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            return
        if message is None:
            return
        task, number = message
        answer = attempt(function, task, folder, number)
        try:
            connection.send(answer)
        except (BrokenPipeError, OSError):
            return


def _die_with_parent() -> None:
    """Ask Linux to end this worker with the process that forked it; elsewhere the closed pipe does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

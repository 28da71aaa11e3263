"""The worker's side: receive an attempt, run it aside, say how it went."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from expedition.data.engine.commit import compute_aside, make_durable
from expedition.data.engine.shard import Attempt, ShardFunction
from expedition.errors import ExpeditionError, MissingExtra, StorageError

_PR_SET_PDEATHSIG = 1
_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE)
_SPACE = "free space on this disk and run the same command again; nothing committed was lost"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment of a worker: the workers are the parallelism."""


@dataclass(frozen=True, slots=True)
class Computed:
    """The function has returned; the worker makes its folder durable while it is at the next task."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The attempt's folder is durable, ready for the supervisor's rename."""


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
"""How an attempt ended. Of one that has `Computed`, this says how it was saved."""


def run_attempt(function: ShardFunction, attempt: Attempt) -> Answer:
    """Run one attempt to its end and turn whatever happens into an answer."""
    answer = compute(function, attempt)
    return save(attempt) if isinstance(answer, Computed) else answer


def compute(function: ShardFunction, attempt: Attempt) -> Computed | Failed | Refused:
    """The first half of an attempt: call the function."""
    try:
        compute_aside(function, attempt)
    except ExpeditionError as error:
        return Refused(error)
    except (ImportError, SyntaxError, NameError) as error:
        # Not the data's fault: every other task would fail alike.
        what = f"the installation is broken: {type(error).__name__}: {error}"
        return Refused(MissingExtra(what, where=attempt.task.key, fix="make venv, then run the same command again"))
    except OSError as error:
        return _by_system(error, attempt)
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())
    return Computed()


def save(attempt: Attempt) -> Answer:
    """The second half: make the folder durable."""
    try:
        make_durable(attempt.aside)
    except OSError as error:
        return _by_system(error, attempt)
    return Finished()


def _by_system(error: OSError, attempt: Attempt) -> Failed | Refused:
    if error.errno not in _DISK_REFUSES:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())
    what = f"cannot write: {os.strerror(error.errno or 0).lower()}"
    return Refused(StorageError(what, where=str(attempt.aside.parent), fix=_SPACE))


def work(connection: Connection, function: ShardFunction) -> None:
    """Serve attempts until the supervisor closes the pipe. Ctrl-C is the supervisor's business.

    One folder at a time is being saved: the next one's `Computed` is said after the last one's answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    saving: threading.Thread | None = None
    # The pipe ends when the supervisor ends the call or is gone; there is nobody to tell then.
    with contextlib.suppress(EOFError, OSError):
        connection.send(Ready())
        while True:
            attempt = connection.recv()
            answer = compute(function, attempt)
            if saving is not None:
                saving.join()
            connection.send(answer)
            saving = None
            if isinstance(answer, Computed):
                saving = threading.Thread(target=_save_and_say, args=(connection, attempt), daemon=True)
                saving.start()


def _save_and_say(connection: Connection, attempt: Attempt) -> None:
    with contextlib.suppress(OSError):
        connection.send(save(attempt))


def own_memory_bytes(pid: int | str | None) -> int:
    """Resident memory of a process without pages that it shares (mapped files); 0 where /proc does not tell."""
    if pid is None or sys.platform != "linux":
        return 0
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def _die_with_parent() -> None:
    """Ask Linux to end this worker with the process that forked it; elsewhere the closed pipe does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

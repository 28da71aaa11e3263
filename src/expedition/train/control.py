"""Asking a running process to save, stop or pause: by a control file in the workspace, or by a signal.

The last request is `runs/<run>/control.json`; the first rank looks at it every `POLL_S` seconds in a thread, and all ranks
obey it at the same step boundary. A `pause` stands until somebody resumes the run, whether or not a process trains. `save`
and `stop` are meant for the process that held the run's lease when they were asked, and for no later one.

    SIGTERM, SIGINT     stop: save, then end        SIGUSR1     save and go on
    a second SIGINT     end at once; the last complete checkpoint stays

A process that has not ended `grace_s` after SIGTERM is ended: nothing that was committed is lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import IntEnum
from types import FrameType
from typing import Any, Literal

from expedition.errors import ExpeditionError, Interrupted, UsageError
from expedition.parallel.mesh import Ranks
from expedition.workspace import Workspace, layout
from expedition.workspace.events import utc_now

SCHEMA = "train.control/1"
EVENT = "train.control"
POLL_S = 0.5

Want = Literal["run", "save", "stop", "pause"]


class Ask(IntEnum):
    """What a process is asked for; the most urgent of all ranks counts."""

    NOTHING = 0
    SAVE = 1
    STOP = 2
    PAUSE = 3


_ASKS: Mapping[str, Ask] = {"run": Ask.NOTHING, "save": Ask.SAVE, "stop": Ask.STOP, "pause": Ask.PAUSE}


@dataclass(frozen=True, slots=True)
class Said:
    """Who asks or decides, and why; both are kept on record."""

    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants of a run. `lease` is the fencing token of the process that `save` and `stop` are meant for."""

    want: Want
    by: str
    why: str
    time: str
    """UTC, ISO 8601."""
    lease: int | None = None


def control_key(run: str) -> str:
    """Where the last request on a run is."""
    return f"{layout.run(run)}/control.json"


def read_request(ws: Workspace, run: str) -> Request | None:
    """The last request on a run; None if there never was one."""
    key = control_key(run)
    if not ws.store.exists(key):
        return None
    record = ws.read_json(key)
    return Request(record["want"], record["by"], record["why"], record["time"], record["lease"])


def standing_pause(ws: Workspace, run: str) -> Request | None:
    """The request of a person who wants the run to pause; None if nobody does."""
    request = read_request(ws, run)
    return request if request is not None and request.want == "pause" else None


def ask_run(ws: Workspace, run: str, want: Literal["save", "stop", "pause"], said: Said) -> Request:
    """Record a request and return it; the process obeys after its step. Idempotent.

    Raises UsageError for `save` or `stop` if no process trains the run, or it is to pause already.
    """
    standing = read_request(ws, run)
    if standing is not None and standing.want == "pause":
        if want == "pause":
            return standing
        raise UsageError(
            f"run {run} is paused by {standing.by}", fix=f"expedition train resume --run {run}, or leave it so"
        )
    holder = ws.lease(layout.run(run)).live_holder()
    if holder is None and want != "pause":
        raise UsageError(f"no process trains run {run}", fix=f"expedition train status --run {run}")
    return _record(ws, run, Request(want, said.by, said.why, utc_now(), None if holder is None else holder["token"]))


def take_back_pause(ws: Workspace, run: str, said: Said) -> None:
    """Take a standing pause back; nothing happens if there is none."""
    if standing_pause(ws, run) is not None:
        _record(ws, run, Request("run", said.by, said.why, utc_now()))


def _record(ws: Workspace, run: str, request: Request) -> Request:
    ws.write_json(control_key(run), asdict(request), schema=SCHEMA)
    ws.events("train").append(EVENT, run=run, **asdict(request))
    return request


class Control:
    """The requests that reach this process. `poll` and the signal handlers may be called from any thread."""

    def __init__(self, ws: Workspace, run: str, lease: int | None, grace_s: float) -> None:
        """`lease`: the token of this process; None on ranks that hold none, which hear signals only."""
        self._ws, self._run, self._lease, self._grace_s = ws, run, lease, grace_s
        self._ask = Ask.NOTHING
        self._save = False
        self._answered: Request | None = None
        self.cause: dict[str, Any] = {}
        """Of the most urgent request: cause, by, why."""
        self.asked_at: float | None = None
        """Monotonic clock when this process was first asked to end."""

    def heard(self) -> Ask:
        """The most urgent request so far; a `save` is given out once."""
        save, self._save = self._save, False
        return self._ask if self._ask > Ask.SAVE else Ask(int(save))

    def hear(self, found: Ask, cause: str, by: str = "", why: str = "") -> None:
        """Note a request; a less urgent one than before changes nothing."""
        if found == Ask.SAVE:
            self._save = True
        elif found > self._ask:
            self.asked_at = self.asked_at or time.monotonic()
            self._ask, self.cause = found, {"cause": cause, "by": by, "why": why}

    def poll(self) -> None:
        """Look at the control file. A store that does not answer is asked again the next time."""
        try:
            request = read_request(self._ws, self._run)
        except (ExpeditionError, OSError, KeyError):
            return
        if request is None or request == self._answered:
            return
        self._answered = request
        if request.want == "pause" or request.lease == self._lease:
            self.hear(_ASKS[request.want], f"train {request.want}", request.by, request.why)

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Python's handler, on the main thread."""
        asked = Ask.SAVE if number == signal.SIGUSR1 else Ask.STOP
        self.hear(asked, signal.Signals(number).name)

    def watch(self, wake: int, ended: threading.Event) -> None:
        """The thread's work: look at the file, and end a process that does not end by itself.

        `wake` gives a byte a signal, written by the interpreter's own handler even while the main thread is inside a
        collective that never returns.
        """
        interrupts, deadline = 0, float("inf")
        while not ended.is_set():
            if select.select([wake], [], [], POLL_S)[0]:
                signals = os.read(wake, 64)
                interrupts += signals.count(signal.SIGINT)
                if signal.SIGTERM in signals:
                    deadline = min(deadline, time.monotonic() + self._grace_s)
            if interrupts > 1:
                _end_now("a second SIGINT")
            if time.monotonic() >= deadline and not ended.is_set():
                _end_now(f"{self._grace_s:g} s after SIGTERM the step and its checkpoint were not done")
            if self._lease is not None:
                self.poll()


def _end_now(why: str) -> None:
    message = (
        f"expedition: ended at once: {why}\n  → the last complete checkpoint is kept; run the same command again\n"
    )
    with contextlib.suppress(OSError):
        os.write(2, message.encode())
    os._exit(Interrupted.exit_code)


@contextmanager
def listening(control: Control) -> Iterator[Control]:
    """Hear signals (on the main thread) and the control file until the block ends; then the old handlers come back."""
    ended = threading.Event()
    wake, told = os.pipe()
    os.set_blocking(told, False)
    main = threading.current_thread() is threading.main_thread()
    before: dict[int, Any] = {}
    fd_before = -1
    if main:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            before[number] = signal.signal(number, control.on_signal)
        fd_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    thread = threading.Thread(target=control.watch, args=(wake, ended), daemon=True, name="control")
    thread.start()
    try:
        yield control
    finally:
        if main:
            signal.set_wakeup_fd(fd_before)
            for caught, handler in before.items():
                signal.signal(caught, handler)
        ended.set()
        os.write(told, b"\0")
        thread.join()
        os.close(told)
        os.close(wake)


def agreed(ranks: Ranks, mine: Ask) -> Ask:
    """The most urgent request of any rank, the same on all. One collective where nobody asks for anything."""
    found = Ask.NOTHING
    for ask_of_any in (Ask.SAVE, Ask.STOP, Ask.PAUSE):
        if not ranks.any(mine >= ask_of_any):
            break
        found = ask_of_any
    return found

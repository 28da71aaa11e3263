"""The default engine: worker processes on this machine, supervised one task at a time.

Workers come from a fork server, so what the caller has imported (torch, say) is not in them. A worker is given its next
task as soon as it has computed the last one, and makes that durable beside it: the disk's latency costs no task's time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

from expedition.data.engine.call import Call
from expedition.data.engine.shard import Attempt, Limits
from expedition.data.engine.worker import (
    ONE_THREAD,
    Answer,
    Computed,
    Failed,
    Ready,
    compute,
    own_memory_bytes,
    save,
    work,
)
from expedition.errors import UsageError

_POLL_S = 0.1
_FAILED_STARTS = 4


@dataclass(frozen=True, slots=True)
class SerialEngine:
    """The calling process, one task after the other: same bytes, no isolation from a crash, no bound on memory or time."""

    def session(self, limits: Limits) -> AbstractContextManager[object]:
        """Nothing to hold."""
        return contextlib.nullcontext()

    def run(self, call: Call) -> None:
        """See `Engine.run`."""
        with ThreadPoolExecutor(1, "save") as thread:
            saving: tuple[Attempt, Future[Answer]] | None = None
            while call.pending or saving is not None:
                attempt = call.take() if call.pending else None
                answer = compute(call.function, attempt) if attempt is not None else None
                if saving is not None:
                    call.settle(saving[0], saving[1].result())
                    saving = None
                if attempt is None or answer is None:
                    continue
                if isinstance(answer, Computed):
                    saving = attempt, thread.submit(save, attempt)
                else:
                    call.settle(attempt, answer)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Processes on this machine."""

    def session(self, limits: Limits) -> AbstractContextManager[object]:
        """Nothing to hold: workers belong to one call."""
        return contextlib.nullcontext()

    def run(self, call: Call) -> None:
        """See `Engine.run`. Raises UsageError where worker processes cannot start."""
        crew = _Crew(call)
        try:
            crew.run()
        finally:
            crew.end()


class _Crew:
    """The workers of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._context = _context(call.limits.preload)
        self._failed_starts = 0
        self._workers: list[_Worker] = []

    def run(self) -> None:
        call = self._call
        for _ in range(min(call.limits.workers, len(call.pending))):
            self._workers.append(_Worker(self._context, call))
        watched = time.monotonic()
        while call.pending or any(worker.busy for worker in self._workers):
            handles: dict[Any, int] = {}
            for index, worker in enumerate(self._workers):
                handles[worker.connection] = handles[worker.process.sentinel] = index
            spoke = multiprocessing.connection.wait(list(handles), timeout=_POLL_S)
            look = {handles[handle] for handle in spoke}
            if time.monotonic() - watched >= _POLL_S:
                # Limits are checked by the clock, not at each answer: many quick workers would cost much reading.
                watched, look = time.monotonic(), set(range(len(self._workers)))
            for index in sorted(look):
                self._workers[index] = self._look(self._workers[index])

    def end(self) -> None:
        for worker in self._workers:
            worker.end()

    def _look(self, worker: _Worker) -> _Worker:
        """Settle what a worker has said; return it, or a fresh one in a dead one's place."""
        # Asked first: what a worker says before it dies is read below.
        alive = worker.process.is_alive()
        settled: list[tuple[Attempt, Answer]] = []
        for message in worker.messages():
            if isinstance(message, Ready):
                worker.ready = True
            elif worker.saving is not None:
                settled.append((worker.saving, message))
                worker.saving = None
            elif isinstance(message, Computed):
                worker.saving, worker.attempt = worker.attempt, None
            elif worker.attempt is not None:
                settled.append((worker.attempt, message))
                worker.attempt = None
        failed = worker.over(self._call.limits) if alive else Failed(f"worker died ({_exit_words(worker.process)})", "")
        if failed is None:
            self._feed(worker)
        else:
            worker = self._replace(worker, failed, settled)
        for attempt, answer in settled:
            self._call.settle(attempt, answer)
        self._feed(worker)
        return worker

    def _replace(self, worker: _Worker, failed: Failed, settled: list[tuple[Attempt, Answer]]) -> _Worker:
        """A fresh worker for a dead one: what that was at has failed, what it was saving is no fault of its task."""
        if worker.saving is not None:
            self._call.give_back(worker.saving)
        if worker.attempt is not None:
            settled.append((worker.attempt, failed))
        if not worker.ready:
            self._failed_starts += 1
        if self._failed_starts >= _FAILED_STARTS:
            raise UsageError(
                f"worker processes cannot start ({_exit_words(worker.process)})",
                fix='their own message is above; a script that builds data needs: if __name__ == "__main__":',
            )
        worker.end()
        return _Worker(self._context, self._call)

    def _feed(self, worker: _Worker) -> None:
        if worker.ready and worker.attempt is None and self._call.pending:
            worker.give(self._call.take(), self._call.limits)


class _Worker:
    """One worker process, the attempt it is at, and the one that it is saving beside."""

    def __init__(self, context: ForkServerContext, call: Call) -> None:
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, call.function), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.attempt: Attempt | None = None
        self.saving: Attempt | None = None
        self._allowed_s = self._deadline = 0.0

    def give(self, attempt: Attempt, limits: Limits) -> None:
        self.attempt = attempt
        self._allowed_s = limits.task_s + attempt.task.extra_s
        self._deadline = time.monotonic() + self._allowed_s
        # A dead worker cannot be sent to; the supervisor sees it at its next look.
        with contextlib.suppress(BrokenPipeError, OSError):
            self.connection.send(attempt)

    @property
    def busy(self) -> bool:
        """Whether an attempt of the call is still with this worker."""
        return self.attempt is not None or self.saving is not None

    def messages(self) -> Iterator[Any]:
        """What the worker has said since the last look."""
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll():
                yield self.connection.recv()

    def over(self, limits: Limits) -> Failed | None:
        """Which limit the attempt under way has passed, if any: the worker is ended then."""
        if self.attempt is None:
            return None
        if time.monotonic() > self._deadline:
            self.end()
            return Failed(f"took longer than {self._allowed_s:g} s", "")
        if own_memory_bytes(self.process.pid) > limits.memory_bytes:
            self.end()
            return Failed(f"held more than {limits.memory_bytes} bytes of memory", "")
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _context(preload: Sequence[str]) -> ForkServerContext:
    """A fork server whose children use one CPU thread each.

    The variables are set only while the server starts, so that the caller keeps its own thread counts.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["expedition.data.engine.worker", *preload])
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context


def _exit_words(process: BaseProcess) -> str:
    process.join(timeout=1.0)
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

"""The default engine: worker processes on this machine, supervised one task at a time.

The supervisor, not a worker, renames finished folders into place; a worker that outlives a killed supervisor can
therefore never publish anything. Workers come from a fork server, so what the caller has imported (torch, say) is not
in them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from expedition.data.engine.commit import clear_aside, commit, commit_quarantine, read_outcome
from expedition.data.engine.shard import Limits, Outcome, Progress, ProgressCallback, ShardFunction, Task, unique_keys
from expedition.data.engine.worker import Answer, Failed, Finished, Ready, Refused, attempt, work
from expedition.errors import UsageError

_POLL_S = 0.1
_FAILED_STARTS = 4
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Processes on this machine within `limits`."""

    limits: Limits = Limits()

    def map(
        self, function: ShardFunction, tasks: Sequence[Task], folder: Path, progress: ProgressCallback | None = None
    ) -> list[Outcome]:
        """See `map_shards`."""
        return map_shards(function, tasks, folder, self.limits, progress)


@dataclass(frozen=True, slots=True)
class SerialEngine:
    """The calling process, one task after the other: same bytes, no isolation from a crash."""

    limits: Limits = Limits(workers=0)

    def map(
        self, function: ShardFunction, tasks: Sequence[Task], folder: Path, progress: ProgressCallback | None = None
    ) -> list[Outcome]:
        """See `map_shards`; the limits on memory and time do not apply in one process."""
        return map_shards(function, tasks, folder, Limits(workers=0, attempts=self.limits.attempts), progress)


def map_shards(
    function: ShardFunction,
    tasks: Sequence[Task],
    folder: Path,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
) -> list[Outcome]:
    """Run `function` over `tasks`, one committed folder `folder/<key>` each; return outcomes in the tasks' order.

    Blocking and idempotent: committed tasks are skipped, and a call that was killed is finished by the same call. A
    task that fails `limits.attempts` times (worker dead, too much memory or time, or an exception) is quarantined with
    its reason and the others go on. An ExpeditionError raised by `function` stops the call and is raised here. Only
    one call may work in `folder` at a time.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    clear_aside(folder)
    run = _Run(function, folder, limits, progress, len(tasks))
    for task in unique_keys(tasks):
        outcome = read_outcome(folder, task.key)
        if outcome is None:
            run.pending.append(task)
        else:
            run.report(outcome)
    if run.pending:
        _serial(run) if limits.workers == 0 else _supervise(run)
    return [run.outcomes[task.key] for task in tasks]


class _Run:
    """What one call knows: tasks to do, attempts so far, outcomes. Lives in the supervisor only."""

    def __init__(
        self, function: ShardFunction, folder: Path, limits: Limits, progress: ProgressCallback | None, total: int
    ) -> None:
        self.function, self.folder, self.limits, self.progress, self.total = function, folder, limits, progress, total
        self.pending: deque[Task] = deque()
        self.attempts: dict[str, int] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.failed_starts = 0

    def report(self, outcome: Outcome) -> None:
        self.outcomes[outcome.key] = outcome
        if self.progress is not None:
            self.progress(Progress(len(self.outcomes), self.total, outcome.key, outcome.quarantined))

    def take(self) -> tuple[Task, int]:
        task = self.pending.popleft()
        self.attempts[task.key] = self.attempts.get(task.key, 0) + 1
        return task, self.attempts[task.key]

    def settle(self, task: Task, answer: Answer) -> None:
        """Commit, retry or quarantine after one attempt. Raises what a Refused answer carries."""
        if isinstance(answer, Finished):
            self.report(commit(answer.aside, self.folder, task.key))
        elif isinstance(answer, Refused):
            raise answer.error
        elif self.attempts[task.key] < self.limits.attempts:
            self.pending.append(task)
        else:
            self.report(commit_quarantine(self.folder, task.key, answer.reason))


def _serial(run: _Run) -> None:
    while run.pending:
        task, number = run.take()
        run.settle(task, attempt(run.function, task, run.folder, number))


class _Worker:
    """One worker process and the task it holds."""

    def __init__(self, context: ForkServerContext, run: _Run) -> None:
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, run.function, run.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.task: Task | None = None
        self.deadline = 0.0

    def give(self, task: Task, number: int, task_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + task_s
        # A dead worker cannot be sent to; the supervisor sees it at its next look.
        with contextlib.suppress(BrokenPipeError, OSError):
            self.connection.send((task, number))

    def answer(self, limits: Limits) -> Answer | None:
        """The answer if there is one, a Failed if the worker is dead or over its limits, else None."""
        if self.connection.poll():
            try:
                received: Answer = self.connection.recv()
                return received
            except (EOFError, OSError):
                pass
        if not self.process.is_alive():
            return Failed(f"worker died ({_exit_words(self.process)})", "")
        if time.monotonic() > self.deadline:
            self.end()
            return Failed(f"took longer than {limits.task_s:g} s", "")
        if _resident_bytes(self.process.pid) > limits.memory_bytes:
            self.end()
            return Failed(f"held more than {limits.memory_bytes} bytes of memory", "")
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _supervise(run: _Run) -> None:
    context = _context(run.limits.preload)
    crew: list[_Worker] = []
    try:
        crew = [_Worker(context, run) for _ in range(min(run.limits.workers, len(run.pending)))]
        while run.pending or any(worker.task for worker in crew):
            _hand_out(run, crew)
            waiting: list[Any] = [item for worker in crew for item in (worker.connection, worker.process.sentinel)]
            multiprocessing.connection.wait(waiting, timeout=_POLL_S)
            for index, worker in enumerate(crew):
                crew[index] = _look(context, run, worker)
    finally:
        for worker in crew:
            worker.end()


def _hand_out(run: _Run, crew: list[_Worker]) -> None:
    for worker in crew:
        if worker.ready and worker.task is None and run.pending:
            worker.give(*run.take(), run.limits.task_s)


def _look(context: ForkServerContext, run: _Run, worker: _Worker) -> _Worker:
    """Settle what a worker says; return it, or a fresh one in a dead one's place."""
    if worker.task is None:
        return _look_idle(context, run, worker)
    answer = worker.answer(run.limits)
    if answer is None:
        return worker
    task, worker.task = worker.task, None
    run.settle(task, answer)
    if worker.process.is_alive():
        return worker
    worker.end()
    return _Worker(context, run)


def _look_idle(context: ForkServerContext, run: _Run, worker: _Worker) -> _Worker:
    """Greet a worker that has started, replace one that died without a task. Raises UsageError if none can start."""
    if not worker.ready and worker.connection.poll():
        with contextlib.suppress(EOFError, OSError):
            worker.ready = isinstance(worker.connection.recv(), Ready)
    if worker.process.is_alive():
        return worker
    if not worker.ready:
        run.failed_starts += 1
    if run.failed_starts >= _FAILED_STARTS:
        raise UsageError(
            f"worker processes cannot start ({_exit_words(worker.process)})",
            fix='their own message is above; a script that builds data needs: if __name__ == "__main__":',
        )
    worker.end()
    return _Worker(context, run)


def _context(preload: Sequence[str]) -> ForkServerContext:
    """A fork server whose children use one CPU thread each: the workers are the parallelism.

    The variables are set only while the server starts, so that the caller keeps its own thread counts.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["expedition.data.engine.worker", *preload])
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
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


def _resident_bytes(pid: int | None) -> int:
    """Resident memory of a process; 0 where /proc does not tell."""
    if pid is None or sys.platform != "linux":
        return 0
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

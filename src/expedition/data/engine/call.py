"""One call of an engine: what is committed, what is to do, which attempt it is, when a task is given up.

An engine decides only where an attempt runs. Everything that a result could depend on is decided here, in the calling
process: it alone renames a finished folder into place, so whatever outlives it can never publish anything.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from expedition.data.engine.commit import commit, commit_quarantine, new_aside, only_user, read_outcome
from expedition.data.engine.shard import (
    Attempt,
    Limits,
    Outcome,
    Progress,
    ProgressCallback,
    ShardFunction,
    Task,
    unique_keys,
)
from expedition.data.engine.worker import Answer, Finished, Refused
from expedition.errors import UsageError

ENGINES = {
    "local": "expedition.data.engine.local:LocalEngine",
    "ray": "expedition.data.engine.ray:RayEngine",
    "serial": "expedition.data.engine.local:SerialEngine",
}


class Engine(Protocol):
    """Where attempts run. Made without arguments."""

    def session(self, limits: Limits) -> AbstractContextManager[object]:
        """Hold what several calls can share (a cluster's connection); entering it again inside is free."""
        ...

    def run(self, call: Call) -> None:
        """Take attempts until none is pending and none is under way; settle each. Raises what `settle` raises."""
        ...


class Call:
    """Tasks to do, attempts so far and outcomes of one `map_shards`. Lives in the calling process only."""

    def __init__(
        self, function: ShardFunction, folder: Path, limits: Limits, progress: ProgressCallback | None, weights: int
    ) -> None:
        self.function, self.folder, self.limits = function, folder, limits
        self.pending: deque[Task] = deque()
        self.outcomes: dict[str, Outcome] = {}
        self._progress = progress or limits.report
        self._attempts: dict[str, int] = {}
        self._total = 0
        self._weight_total, self._weight_done = weights, 0

    def begin(self, tasks: Sequence[Task]) -> None:
        """Report the tasks that the folder holds already and queue the others."""
        self._total = len(tasks)
        with os.scandir(self.folder) as entries:
            there = {entry.name for entry in entries}
        for task in unique_keys(tasks):
            outcome = read_outcome(self.folder, task.key) if task.key in there else None
            if outcome is None:
                self.pending.append(task)
            else:
                self._report(task, outcome, fresh=False)

    def take(self) -> Attempt:
        """The next attempt; it counts from now on."""
        task = self.pending.popleft()
        self._attempts[task.key] = self._attempts.get(task.key, 0) + 1
        return Attempt(task, self._attempts[task.key], new_aside(self.folder, task.key))

    def give_back(self, attempt: Attempt) -> None:
        """An attempt that ended by no fault of its task (its node is gone) does not count."""
        self._attempts[attempt.task.key] -= 1
        self.pending.appendleft(attempt.task)

    def settle(self, attempt: Attempt, answer: Answer) -> None:
        """Commit, retry or quarantine after one attempt. Raises what a Refused answer carries."""
        task = attempt.task
        if isinstance(answer, Finished):
            self._report(task, commit(attempt.aside, self.folder, task.key), fresh=True)
        elif isinstance(answer, Refused):
            raise answer.error
        elif self._attempts[task.key] < self.limits.attempts:
            self.pending.append(task)
        else:
            self._report(task, commit_quarantine(self.folder, task.key, answer.reason), fresh=True)

    def _report(self, task: Task, outcome: Outcome, *, fresh: bool) -> None:
        self.outcomes[outcome.key] = outcome
        self._weight_done += task.weight
        if self._progress is not None:
            self._progress(
                Progress(
                    done=len(self.outcomes),
                    total=self._total,
                    key=outcome.key,
                    quarantined=outcome.quarantined,
                    step=self.folder.name,
                    fresh=fresh,
                    weight_done=self._weight_done,
                    weight_total=self._weight_total,
                    counts=outcome.summary.get("counts", {}),
                )
            )


def map_shards(
    function: ShardFunction,
    tasks: Sequence[Task],
    folder: Path,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
) -> list[Outcome]:
    """Run `function` over `tasks`, one committed folder `folder/<key>` each; return outcomes in the tasks' order.

    Blocking and idempotent: committed tasks are skipped, and a call that was killed is finished by the same call, on
    whichever engine. A task that fails `limits.attempts` times (worker dead, too much memory or time, or an exception)
    is quarantined with its reason and the others go on. An ExpeditionError raised by `function` stops the call and is
    raised here. Raises WorkspaceBusy if another call works in `folder`.
    """
    limits = limits or Limits()
    with only_user(folder):
        call = Call(function, folder, limits, progress, sum(task.weight for task in tasks))
        call.begin(tasks)
        if call.pending:
            engine_of(limits).run(call)
    return [call.outcomes[task.key] for task in tasks]


@contextlib.contextmanager
def engine_session(limits: Limits) -> Iterator[None]:
    """Hold what the calls within can share: with Ray, one connection, or one instance started here."""
    with engine_of(limits).session(limits):
        yield


def engine_of(limits: Limits) -> Engine:
    """The engine that the limits name. Raises UsageError for a name that leads to none."""
    chosen = "serial" if limits.workers == 0 else limits.engine
    module, _, name = ENGINES.get(chosen, chosen).partition(":")
    try:
        found: Engine = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        known = ", ".join(sorted(ENGINES))
        raise UsageError(
            f"there is no engine {limits.engine!r}: {error}", fix=f"one of {known}, or package.module:Class"
        ) from error
    return found

"""The unit of work: one task in, one committed folder out.

A task is a key and a payload; its function writes files into an empty folder that it is handed and returns a small
JSON-like summary. The folder becomes visible under the task's key in one rename, so a task is either finished or
absent, and a rerun does only what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from expedition.errors import UsageError

Summary = dict[str, Any]
"""What a shard function returns: JSON values only, kept beside the files it wrote."""

ShardFunction = Callable[[Any, Path], Summary]
"""`function(payload, folder) -> Summary`. Must be picklable (module level, or a frozen dataclass with `__call__`),
deterministic in its payload, and must write nowhere but into `folder`. It may run more than once."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work. `key` names its folder (letters, digits, `._-`); `payload` is pickled to the worker."""

    key: str
    payload: Any

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise UsageError(
                f"task key {self.key!r} cannot be a folder name", fix="use 1 to 200 letters, digits, dots, dashes"
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: a committed `folder` with its `summary`, or the reason why it is quarantined."""

    key: str
    folder: Path
    summary: Summary = field(default_factory=dict)
    quarantined: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one engine call."""

    workers: int = 2
    """Worker processes; 0 runs every task in the calling process, one after the other."""
    attempts: int = 3
    """A task whose worker dies (or that raises) this many times is quarantined."""
    memory_bytes: int = 3 << 30
    """Resident memory one worker may hold; above it the worker is ended and the attempt counts as a death."""
    task_s: float = 900.0
    """Wall seconds one attempt may take."""
    preload: tuple[str, ...] = ()
    """Modules that the fork server imports once, so that workers start warm."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of an engine call, handed to the caller's callback in the calling process."""

    done: int
    total: int
    key: str
    quarantined: str | None = None


ProgressCallback = Callable[[Progress], None]


class Engine(Protocol):
    """Runs shard functions. `map` blocks until every task is committed or quarantined and keeps the tasks' order.

    Two are built in: `LocalEngine` (processes) and `SerialEngine` (the calling process).
    """

    def map(
        self,
        function: ShardFunction,
        tasks: Sequence[Task],
        folder: Path,
        progress: ProgressCallback | None = None,
    ) -> list[Outcome]:
        """Run every task that `folder` does not hold yet."""
        ...


def unique_keys(tasks: Sequence[Task]) -> Iterator[Task]:
    """Yield the tasks. Raises UsageError on a key that comes twice: two tasks would share a folder."""
    seen: set[str] = set()
    for task in tasks:
        if task.key in seen:
            raise UsageError(f"two tasks have the key {task.key!r}", fix="give every task of a call its own key")
        seen.add(task.key)
        yield task

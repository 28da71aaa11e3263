"""The unit of work: one task in, one committed folder out.

A task is a key and a payload; its function writes files into an empty folder that it is handed and returns a small
JSON-like summary. The folder becomes visible under the task's key in one rename, so a task is either finished or
absent, and a rerun does only what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    weight: int = 1
    """Expected cost against the other tasks of a call, in any unit (bytes to read, say): estimates of time use it."""
    extra_s: float = 0.0
    """Wall seconds that an attempt may take beyond `Limits.task_s`: a large input that cannot be cut needs them."""

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
    """Where an engine call runs, and its bounds: at most `workers * memory_bytes` and the supervisor's own memory."""

    workers: int = 2
    """Worker processes; 0 runs every task in the calling process, one after the other."""
    attempts: int = 3
    """A task whose worker dies (or that raises) this many times is quarantined."""
    memory_bytes: int = 3 << 30
    """Memory of its own that one worker may hold; above it the worker is ended and the attempt counts as a death."""
    task_s: float = 900.0
    """Wall seconds one attempt may take, a task's `extra_s` apart."""
    preload: tuple[str, ...] = ()
    """Modules that the fork server imports once, so that workers start warm."""
    engine: str = "local"
    """`local`, `ray`, `serial` (the calling process), or `package.module:Class` of your own. The bytes are the same."""
    address: str | None = None
    """Cluster to connect to, for engines that have one; None lets the engine choose."""
    report: ProgressCallback | None = field(default=None, compare=False)
    """Told of every step of every call that is not given a callback of its own. Stays in the calling process."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of an engine call, handed to the caller's callback in the calling process."""

    done: int
    total: int
    key: str
    quarantined: str | None = None
    step: str = ""
    """Name of the call's folder."""
    fresh: bool = True
    """Whether this call did the task; False when an earlier one had."""
    weight_done: int = 0
    weight_total: int = 0
    counts: Mapping[str, Any] = field(default_factory=dict)
    """The summary's `counts`: records_in, records_out, read_bytes, rejects {reason: records}; empty if it has none."""


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a task: its number from 1, and the private folder that it fills."""

    task: Task
    number: int
    aside: Path


def unique_keys(tasks: Sequence[Task]) -> Iterator[Task]:
    """Yield the tasks. Raises UsageError on a key that comes twice: two tasks would share a folder."""
    seen: set[str] = set()
    for task in tasks:
        if task.key in seen:
            raise UsageError(f"two tasks have the key {task.key!r}", fix="give every task of a call its own key")
        seen.add(task.key)
        yield task

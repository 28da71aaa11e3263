"""What the ranks of a run tell one another about a checkpoint, beside training: over gloo, from any one thread.

Errors are shared: what one rank raises, every rank raises, so that no rank waits for one that has given up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from expedition import errors
from expedition.errors import ExpeditionError, StorageError

TIMEOUT = timedelta(hours=1)
"""Longest that a rank waits for the slowest writer; a rank that died is noticed at once."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Agreement:
    """A group of ranks that writes or reads checkpoints together. `ALONE` is the group of one process.

    Every method is a collective where there is a group: all ranks call the same ones in the same order, each rank from
    one thread at a time. Values are JSON.
    """

    rank: int
    world: int
    group: dist.ProcessGroup | None

    @classmethod
    def join(cls, rank: int, world: int) -> Agreement:
        """All ranks of the run in a gloo group of their own, apart from the groups that training uses."""
        if world == 1:
            return ALONE
        return cls(rank, world, dist.new_group(backend="gloo", timeout=TIMEOUT))

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank."""
        if self.group is None:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, json.dumps(value), group=self.group)
        return [json.loads(text) for text in found]

    def all(self, work: Callable[[], Value]) -> list[Value]:
        """Do `work` on every rank; every rank's result. Raises on every rank what the first failing rank raised."""
        mine: Value | None = None
        caught: Exception | None = None
        try:
            mine = work()
        except Exception as error:
            caught = error
        outcomes = self.gather([_plain(caught), mine if caught is None else None])
        self._raise_first(outcomes, caught)
        return [result for _, result in outcomes]

    def first(self, work: Callable[[], Value]) -> Value:
        """Do `work` on the first rank; its result, or its error, on every rank."""
        mine: Value | None = None
        caught: Exception | None = None
        if self.is_first:
            try:
                mine = work()
            except Exception as error:
                caught = error
        outcomes = self.gather([_plain(caught), mine])
        self._raise_first(outcomes, caught)
        result: Value = outcomes[0][1]
        return result

    def _raise_first(self, outcomes: list[Any], caught: Exception | None) -> None:
        """An own error is raised as it is, with its traceback."""
        for rank, (error, _) in enumerate(outcomes):
            if error is None:
                continue
            if rank == self.rank and caught is not None:
                raise caught
            kind, what, where, fix = error
            raise getattr(errors, kind)(f"rank {rank}: {what}", where=where, fix=fix)


ALONE = Agreement(rank=0, world=1, group=None)


def _plain(error: Exception | None) -> list[str | None] | None:
    """An error as JSON: class in `expedition.errors`, what, where, fix."""
    if error is None:
        return None
    if isinstance(error, ExpeditionError):
        known = type(error).__name__ in errors.__all__
        kind = type(error).__name__ if known else _known_parent(type(error))
        return [kind, error.what, error.where, error.fix]
    if isinstance(error, OSError):
        return [StorageError.__name__, str(error), None, None]
    return [ExpeditionError.__name__, f"{type(error).__name__}: {error}", None, None]


def _known_parent(kind: type) -> str:
    return next(parent.__name__ for parent in kind.__mro__ if parent.__name__ in errors.__all__)

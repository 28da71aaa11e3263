"""Which shards the next steps read: brought into the cache ahead, and given up when their window is over."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from expedition.data.loading.cache import FETCHERS, ShardReader
from expedition.errors import ExpeditionError


@dataclass(frozen=True, slots=True)
class ShardUse:
    """One sequence's shard: its key, the pass over its kind, and how many sequences the shard has in a pass."""

    key: str
    epoch: int
    sequences: int


Uses = Callable[[int], Iterable[ShardUse]]
"""step → the shard of each sequence of its global batch; pure arithmetic, nothing is read."""


class ShardForecast:
    """Follows the steps that are loaded, `steps_ahead` before them: one background thread looks, `FETCHERS` fetch.

    Errors of fetching ahead are left to the read that needs the shard.
    """

    def __init__(self, uses: Uses, shards: ShardReader, steps_ahead: int) -> None:
        self._uses = uses
        self._shards = shards
        self._steps_ahead = steps_ahead
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forecast")
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch-ahead")
        self._lock = threading.Lock()
        self._next = -1
        self._left: dict[tuple[str, int], int] = {}
        self._over: deque[tuple[int, str]] = deque()

    def at(self, step: int) -> None:
        """The loader makes `step` now: look on to `step + steps_ahead`. Returns at once."""
        with self._lock:
            if step > self._next or step < self._next - 4 * self._steps_ahead - 8:
                self._next = step
                self._left.clear()
            begin, self._next = self._next, max(self._next, step + self._steps_ahead + 1)
        if begin < self._next:
            self._thread.submit(self._look, range(begin, self._next), step)

    def close(self) -> None:
        """Stop; what is being fetched is finished."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._fetchers.shutdown(wait=True, cancel_futures=True)

    def _look(self, steps: range, now: int) -> None:
        try:
            for step in steps:
                wanted: dict[str, None] = {}
                for use in self._uses(step):
                    wanted.setdefault(use.key)
                    self._count(use, step)
                for _ in self._fetchers.map(self._shards.fetch_ahead, wanted):
                    pass
            while self._over and self._over[0][0] < now:
                self._shards.retire(self._over.popleft()[1])
        except ExpeditionError:
            return

    def _count(self, use: ShardUse, step: int) -> None:
        """A shard whose last sequence of a pass was seen is over once that step was made."""
        name = (use.key, use.epoch)
        left = self._left.get(name, use.sequences) - 1
        self._left[name] = left
        if left <= 0:
            del self._left[name]
            self._over.append((step, use.key))

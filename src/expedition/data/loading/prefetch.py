"""Results of a pure function for a row of arguments, made ahead in the background, given out in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from expedition.data.loading.shared import WorkerPool

Made = TypeVar("Made")
Make = Callable[[int], Made]


@dataclass(slots=True)
class Waiting:
    """How long a consumer waited for results. The first of a row is apart: it pays for starting."""

    results: int = 0
    starved_s: float = 0.0
    longest_s: float = 0.0
    first_s: float = 0.0

    def add(self, seconds: float, *, is_first: bool) -> None:
        """Count one wait."""
        self.results += 1
        if is_first:
            self.first_s += seconds
        else:
            self.starved_s += seconds
            self.longest_s = max(self.longest_s, seconds)


def ahead(
    make: Make[Made], numbers: Iterable[int], depth: int, workers: int, waiting: Waiting | None = None
) -> Generator[Made, None, None]:
    """`make(n)` for each n, in order; up to `depth` results wait at a time, `workers` threads make them.

    `make` must be pure and thread-safe: then neither `depth` nor `workers` changes what comes out. An exception of
    `make` is raised where its result would have come. Closing the iterator drops what was not begun. `depth` 0 makes
    each when it is asked for. `waiting` is told how long the consumer waited.
    """
    counts = waiting if waiting is not None else Waiting()
    if depth < 1 or workers < 1:
        for number in numbers:
            yield _timed(partial(make, number), counts, is_first=False)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as executor:
        under_way: deque[Future[Made]] = deque()
        is_first = True
        try:
            for number in numbers:
                under_way.append(executor.submit(make, number))
                if len(under_way) > depth:
                    yield _timed(under_way.popleft().result, counts, is_first=is_first)
                    is_first = False
            while under_way:
                yield _timed(under_way.popleft().result, counts, is_first=is_first)
                is_first = False
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def ahead_in_processes(
    start: Callable[[], Make[Made]],
    numbers: Iterable[int],
    depth: int,
    workers: int,
    waiting: Waiting | None = None,
) -> Generator[Made, None, None]:
    """The same from `workers` fresh processes, each of which calls `start` once for its own `make`.

    For machines whose cores one interpreter cannot fill. Arrays come through shared memory, which is reused once they
    are gone: what a consumer keeps costs memory, never a standstill. `start` must be picklable and cheap to send.
    Raises what `start` or `make` raises, and InputError for a number that ends its process again and again.
    """
    counts = waiting if waiting is not None else Waiting()
    limit = max(depth, workers)
    pool = WorkerPool(start, workers)
    asked = taken = 0
    try:
        for number in numbers:
            pool.ask(asked, number)
            asked += 1
            if asked - taken > limit:
                yield _timed(partial(pool.take, taken), counts, is_first=taken == 0)
                taken += 1
        while taken < asked:
            yield _timed(partial(pool.take, taken), counts, is_first=taken == 0)
            taken += 1
    finally:
        pool.close()


def _timed(take: Callable[[], Made], counts: Waiting, *, is_first: bool) -> Made:
    started = time.perf_counter()
    result = take()
    counts.add(time.perf_counter() - started, is_first=is_first)
    return result

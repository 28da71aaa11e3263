"""Results of a pure function for a row of arguments, made ahead in the background, given out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Made = TypeVar("Made")
Make = Callable[[int], Made]

_made_here: list[Make[Any]] = []
"""In a worker process: the function that `Start` gave; empty everywhere else."""


def ahead(make: Make[Made], numbers: Iterable[int], depth: int, workers: int) -> Iterator[Made]:
    """`make(n)` for each n, in order; up to `depth` results wait at a time, `workers` threads make them.

    `make` must be pure and thread-safe: then neither `depth` nor `workers` changes what comes out. An exception of
    `make` is raised where its result would have come. Closing the iterator drops what was not begun. `depth` 0 makes
    each when it is asked for.
    """
    if depth < 1 or workers < 1:
        yield from map(make, numbers)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as executor:
        yield from _in_order(executor, make, numbers, depth)


def ahead_in_processes(
    start: Callable[[], Make[Made]], numbers: Iterable[int], depth: int, workers: int
) -> Iterator[Made]:
    """The same from `workers` fresh processes, each of which calls `start` once for its own `make`.

    For machines whose cores one interpreter cannot fill. `start` must be picklable and cheap to send. Raises what
    `start` or `make` raises.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(start,)) as executor:
        yield from _in_order(executor, _make_here, numbers, max(depth, workers))


def _in_order(executor: Executor, make: Make[Made], numbers: Iterable[int], depth: int) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    try:
        for number in numbers:
            waiting.append(executor.submit(make, number))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin(start: Callable[[], Make[Any]]) -> None:
    _made_here.append(start())


def _make_here(number: int) -> Any:
    return _made_here[0](number)

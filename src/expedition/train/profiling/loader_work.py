"""How much processor time making batches takes: of the loader's threads and processes, read from the system.

A loader that sleeps (waits for storage) takes none; one that decodes takes as much as it can get.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

THREADS = "loader"
"""Names of the loader's threads begin so."""


@dataclass(frozen=True, slots=True)
class LoaderWork:
    """Between two moments."""

    wall_s: float
    busy_s: float
    """Processor time of the loader's threads and worker processes, and the time that they waited for a processor."""
    workers: int
    """Threads that share one interpreter count as one; processes each."""

    @property
    def busy_share(self) -> float:
        """Of the time that its workers had."""
        return self.busy_s / (self.wall_s * self.workers) if self.wall_s > 0 else 0.0


class LoaderClock:
    """Measures between `start` and `stop`. Workers that end in between are counted up to where they were seen last."""

    def __init__(self, of_waiting_thread: Callable[[], float] = lambda: 0.0) -> None:
        """`of_waiting_thread`: seconds so far that the thread which asks for batches worked on them itself."""
        self._of_waiting_thread = of_waiting_thread
        self._begin: dict[str, float] = {}
        self._inline = 0.0
        self._started = 0.0

    def start(self) -> None:
        """Begin."""
        self._started, self._begin, self._inline = time.perf_counter(), _busy(), self._of_waiting_thread()

    def stop(self) -> LoaderWork | None:
        """What was done since `start`; None where the system does not tell."""
        wall_s, now = time.perf_counter() - self._started, _busy()
        if not now and not Path("/proc/self/schedstat").exists():
            return None
        busy_s = sum(max(0.0, seconds - self._begin.get(key, 0.0)) for key, seconds in now.items())
        busy_s += self._of_waiting_thread() - self._inline
        processes = len(multiprocessing.active_children())
        return LoaderWork(wall_s, busy_s, max(1, processes))


def thread_busy_s() -> float:
    """Seconds so far that the calling thread was on a processor or waited for one; the former alone where the system
    does not tell the latter."""
    found: dict[str, float] = {}
    _read(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat"), found)
    return next(iter(found.values()), time.thread_time())


def _busy() -> dict[str, float]:
    """Seconds on a processor and in its queue, by thread of the loader and by thread of its processes."""
    found: dict[str, float] = {}
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS) and thread.native_id is not None:
            _read(Path(f"/proc/self/task/{thread.native_id}/schedstat"), found)
    for process in multiprocessing.active_children():
        tasks = Path(f"/proc/{process.pid}/task")
        with contextlib.suppress(OSError):
            for task in tasks.iterdir():
                _read(task / "schedstat", found)
    return found


def _read(path: Path, found: dict[str, float]) -> None:
    """`schedstat`: nanoseconds on a processor, nanoseconds runnable and waiting for one, times that it ran."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ran, queued = path.read_text().split()[:2]
        found[str(path)] = (int(ran) + int(queued)) / 1e9

"""What a host says once for all its URLs (robots.txt, tdmrep.json), fetched once and kept for a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from expedition.data.connectors.url import origin_of

DAY_S = 86_400.0
UNREACHABLE_S = 600.0
"""How long it is remembered that a host gave no answer."""
MAX_HOSTS = 100_000

T = TypeVar("T")


class HostCache(Generic[T]):
    """Values by origin. Thread-safe; two threads that ask for the same host at once cause one fetch."""

    def __init__(self, load: Callable[[str], T], age_s: Callable[[T], float] = lambda value: DAY_S) -> None:
        self._load = load
        self._age_s = age_s
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._values: dict[str, tuple[float, T]] = {}

    def of(self, url: str) -> T:
        """The value for the host of `url`; what `load` raises is not kept."""
        origin = origin_of(url)
        with self._lock:
            lock = self._locks.setdefault(origin, threading.Lock())
        with lock:
            found = self._values.get(origin)
            if found is not None and time.monotonic() < found[0]:
                return found[1]
            value = self._load(origin)
            with self._lock:
                if len(self._values) >= MAX_HOSTS:
                    oldest = min(self._values, key=lambda name: self._values[name][0])
                    del self._values[oldest]
                    self._locks.pop(oldest, None)
                self._values[origin] = (time.monotonic() + self._age_s(value), value)
            return value

"""Requests to one host at a time and at its pace: a token bucket a host, shared by all threads of a client."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Tokens of one host. `take` is pure but for the bucket's own state: the clock is given."""

    rate_per_s: float
    burst: int
    tokens: float
    updated_s: float
    blocked_until_s: float = 0.0

    def take(self, now_s: float) -> float:
        """Take one token, in advance if need be; returns the seconds to wait before the request may go."""
        self.tokens = min(float(self.burst), self.tokens + (now_s - self.updated_s) * self.rate_per_s)
        self.updated_s = max(self.updated_s, now_s)
        self.tokens -= 1.0
        wait = -self.tokens / self.rate_per_s if self.tokens < 0 else 0.0
        return max(wait, self.blocked_until_s - now_s)


class Pace:
    """Buckets by host. Thread-safe."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}

    def wait_s(self, host: str, rate_per_s: float, now_s: float) -> float:
        """Seconds until the next request to `host` may go; the request is counted."""
        with self._lock:
            return self._bucket(host, rate_per_s, now_s).take(now_s)

    def slow_down(self, host: str, rate_per_s: float, now_s: float) -> None:
        """`host` asked for a slower pace (Crawl-delay): no bursts any more."""
        with self._lock:
            bucket = self._bucket(host, rate_per_s, now_s)
            if rate_per_s < bucket.rate_per_s:
                bucket.rate_per_s, bucket.burst, bucket.tokens = rate_per_s, 1, min(bucket.tokens, 0.0)

    def block(self, host: str, rate_per_s: float, until_s: float, now_s: float) -> None:
        """`host` said when to come back (Retry-After): nothing goes there before, from any thread."""
        with self._lock:
            bucket = self._bucket(host, rate_per_s, now_s)
            bucket.blocked_until_s = max(bucket.blocked_until_s, until_s)

    def _bucket(self, host: str, rate_per_s: float, now_s: float) -> Bucket:
        if host not in self._buckets:
            self._buckets[host] = Bucket(rate_per_s, self._burst, float(self._burst), now_s)
        return self._buckets[host]

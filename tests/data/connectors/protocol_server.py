"""The sample world's services with faults planned by path, and a record of all that was asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from expedition.sampleworld.services.protocol import Answer, Asked, ProtocolServer, as_json, ranged, serving

__all__ = ["Answer", "Asked", "FaultyServer", "ProtocolServer", "as_json", "cut_short", "ranged", "serving"]


class FaultyServer(ProtocolServer):
    """Everything that was asked is in `asked`, in order. Put before a service among a class's bases."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self.asked: list[Asked] = []
        self._faults: list[tuple[re.Pattern[str], list[Callable[[Answer], Answer]]]] = []

    def fail(self, path_pattern: str, *faults: Answer | Callable[[Answer], Answer]) -> None:
        """The next requests for matching paths (with their query) get these replies, one each, then the real ones."""
        made = [fault if callable(fault) else (lambda _, fault=fault: fault) for fault in faults]
        self._faults.append((re.compile(path_pattern), list(made)))

    def count(self, path_pattern: str) -> int:
        """How many requests had a matching path."""
        return sum(re.search(path_pattern, one.path) is not None for one in self.asked)

    def respond(self, target: str, headers: dict[str, str]) -> Answer:
        """The reply to a request, faults applied."""
        parts = urlsplit(target)
        with self.lock:
            self.asked.append(Asked(parts.path, parse_qs(parts.query, keep_blank_values=True), headers))
            fault = next(
                (waiting.pop(0) for pattern, waiting in self._faults if waiting and pattern.search(target)), None
            )
        real = super().respond(target, headers)
        return real if fault is None or parts.path == "/robots.txt" else fault(real)


def cut_short(answer: Answer) -> Answer:
    """The reply with half of its body missing."""
    return Answer(answer.status, answer.body, answer.headers, cut=max(1, len(answer.body) // 2))

"""A real local HTTP server in a thread, for servers that speak one service's protocol; faults are planned by path."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def one(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Answer:
    """A reply. `cut` bytes of the body are announced and not sent; the connection then closes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A JSON reply."""
    return Answer(
        status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    )


def ranged(asked: Asked, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """`body`, or the part of it that a Range header asks for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
    if found is None:
        return Answer(200, body, {"Accept-Ranges": "bytes", **(headers or {})})
    first = int(found.group(1))
    last = min(int(found.group(2)) if found.group(2) else len(body) - 1, len(body) - 1)
    if first >= len(body):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
    return Answer(
        206, body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}", **(headers or {})}
    )


class ProtocolServer:
    """Answers by `answer`; everything that was asked is in `asked`, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._faults: list[tuple[re.Pattern[str], list[Callable[[Answer], Answer]]]] = []
        self.lock = threading.Lock()
        self.url = ""

    def fail(self, path_pattern: str, *faults: Answer | Callable[[Answer], Answer]) -> None:
        """The next requests for matching paths (with their query) get these replies, one each, then the real ones."""
        made = [fault if callable(fault) else (lambda _, fault=fault: fault) for fault in faults]
        self._faults.append((re.compile(path_pattern), list(made)))

    def answer(self, asked: Asked) -> Answer:
        """The protocol."""
        raise NotImplementedError

    def count(self, path_pattern: str) -> int:
        """How many requests had a matching path."""
        return sum(re.search(path_pattern, one.path) is not None for one in self.asked)

    def respond(self, target: str, headers: dict[str, str]) -> Answer:
        """The reply to a request, faults applied."""
        parts = urlsplit(target)
        asked = Asked(parts.path, parse_qs(parts.query, keep_blank_values=True), headers)
        with self.lock:
            self.asked.append(asked)
            fault = next(
                (waiting.pop(0) for pattern, waiting in self._faults if waiting and pattern.search(target)), None
            )
        if parts.path == "/robots.txt":
            return Answer(404)
        real = self.answer(asked)
        return real if fault is None else fault(real)


Server = TypeVar("Server", bound=ProtocolServer)


def cut_short(answer: Answer) -> Answer:
    """The reply with half of its body missing."""
    return Answer(answer.status, answer.body, answer.headers, cut=max(1, len(answer.body) // 2))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """`server` on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = server.respond(self.path, {name.lower(): value for name, value in self.headers.items()})
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) - answer.cut])
                if answer.cut:
                    self.close_connection = True
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

"""A local HTTP server whose answers are a function of the request: what every service here is built on."""

from __future__ import annotations

import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in; names of headers are lower case."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def one(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes [first, first + size) of a file, read when they are sent."""

    path: Path
    first: int
    size: int

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply. `cut` bytes of the body are announced and not sent; the connection then closes."""

    status: int = 200
    body: bytes | FilePart = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A JSON reply."""
    return Answer(
        status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    )


def ranged(asked: Asked, body: bytes | Path, headers: dict[str, str] | None = None) -> Answer:
    """`body` (a file's content for a path), or the part of it that a Range header asks for."""
    size = len(body) if isinstance(body, bytes) else body.stat().st_size
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
    if found is None:
        return Answer(200, _part(body, 0, size), {"Accept-Ranges": "bytes", **(headers or {})})
    first = int(found.group(1))
    last = min(int(found.group(2)) if found.group(2) else size - 1, size - 1)
    if first >= size:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    told = {"Content-Range": f"bytes {first}-{last}/{size}", **(headers or {})}
    return Answer(206, _part(body, first, last - first + 1), told)


def _part(body: bytes | Path, first: int, size: int) -> bytes | FilePart:
    return body[first : first + size] if isinstance(body, bytes) else FilePart(body, first, size)


class ProtocolServer(ABC):
    """A service: `answer` is its protocol. Called in many threads at once; `lock` guards what a subclass changes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url = ""
        """Where it is served, set by `serving`."""

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """The reply to a request."""

    def respond(self, target: str, headers: dict[str, str]) -> Answer:
        """The reply to a request line's target. No service here has rules for crawlers."""
        parts = urlsplit(target)
        if parts.path == "/robots.txt":
            return Answer(404)
        return self.answer(Asked(parts.path, parse_qs(parts.query, keep_blank_values=True), headers))


Server = TypeVar("Server", bound=ProtocolServer)


@contextmanager
def serving(server: Server, port: int = 0) -> Iterator[Server]:
    """`server` on a port of 127.0.0.1 (0: a free one), in threads of this process; OSError where it is taken."""

    class Handler(_Handler):
        service = server

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together: else the body of each small reply waits for the head's acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    service: ProtocolServer

    def do_GET(self) -> None:
        answer = self.service.respond(self.path, {name.lower(): value for name, value in self.headers.items()})
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self._send(answer.body, len(answer.body) - answer.cut)
            self.wfile.flush()
            if answer.cut:
                self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, body: bytes | FilePart, size: int) -> None:
        if isinstance(body, bytes):
            self.wfile.write(body[:size])
            return
        with body.path.open("rb") as file:
            file.seek(body.first)
            while size > 0 and (piece := file.read(min(_PIECE_BYTES, size))):
                self.wfile.write(piece)
                size -= len(piece)

    def log_message(self, *_: object) -> None:
        """Quiet."""

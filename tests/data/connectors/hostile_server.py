"""A real local HTTP server that serves files well (ETag, ranges, If-Range) and, where it is told to, lies.

Run as a script it prints its port and serves until it is killed; tests use it in a thread.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


class HostileServer:
    """Files by path, and behaviours by path that take the whole request into their hands. Use with `with`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        """Further headers by path."""
        self.behaviours: dict[str, Callable[[Any], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.etags = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                try:
                    if path in server.behaviours:
                        server.behaviours[path](self)
                    else:
                        server.serve(self, path)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """Headers of every request for a path."""
        return [headers for asked, headers in self.requests if urlsplit(asked).path == path]

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: Any, path: str) -> None:
        """An honest answer."""
        if path not in self.files:
            self.answer(handler, 404, b"not here")
            return
        body = self.files[path]
        headers = dict(self.headers.get(path, {}))
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.etags:
            headers.setdefault("ETag", etag)
        asked = handler.headers.get("Range")
        valid = handler.headers.get("If-Range") in (None, headers.get("ETag"))
        if asked is None or not valid:
            self.answer(handler, 200, body, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) if last else len(body) - 1, len(body) - 1)
        if start >= len(body):
            self.answer(handler, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        self.answer(handler, 206, body[start : end + 1], headers)

    @staticmethod
    def answer(handler: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers or {}):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def breaks_off(body: bytes, at: int, times: int = 1) -> Callable[[Any], None]:
    """Announces `body`, closes after `at` bytes; the first `times` times, then serves ranges honestly."""
    left = [times]
    server = HostileServer()
    server.files["/x"] = body

    def behave(handler: Any) -> None:
        if left[0] <= 0:
            server.serve(handler, "/x")
            return
        left[0] -= 1
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Length": str(len(body) - start), "ETag": etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        HostileServer.answer(handler, 206 if start else 200, body[start : start + at], headers)
        handler.close_connection = True

    server._server.server_close()
    return behave


def endless(handler: Any) -> None:
    """A body without an end, in chunks."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    piece = b"x" * 65_536
    while True:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def slow_drip(handler: Any) -> None:
    """A byte now and then, always within the read limit."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def slow_headers(handler: Any) -> None:
    """A status line, then header bytes one by one."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(1000):
        handler.wfile.write(b"y")
        handler.wfile.flush()
        time.sleep(0.05)


def header_bomb(handler: Any) -> None:
    """Headers without an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        handler.wfile.write(b"X-%d: %s\r\n" % (number, b"a" * 100))


def no_http(handler: Any) -> None:
    """Not HTTP at all."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 10)
    handler.close_connection = True


def two_lengths(handler: Any) -> None:
    """Two Content-Length headers that differ (request smuggling)."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello")
    handler.close_connection = True


def silent(handler: Any) -> None:
    """Takes the request and says nothing."""
    time.sleep(5)


def gzip_bomb(size: int = 64 << 20) -> Callable[[Any], None]:
    """Zeros as a thousandth of their size of gzip."""
    body = gzip.compress(bytes(size), 6)
    return lambda handler: HostileServer.answer(handler, 200, body, {"Content-Encoding": "gzip"})


def redirect(location: str, status: int = 302) -> Callable[[Any], None]:
    """Sends elsewhere."""
    return lambda handler: HostileServer.answer(handler, status, b"", {"Location": location})


def statuses(*answers: tuple[int, dict[str, str]], then: bytes) -> Callable[[Any], None]:
    """These statuses with their headers, one a request, then an honest body."""
    left = list(answers)

    def behave(handler: Any) -> None:
        if left:
            status, headers = left.pop(0)
            HostileServer.answer(handler, status, b"", headers)
        else:
            HostileServer.answer(handler, 200, then)

    return behave


def paced(body: bytes, piece: int, wait_s: float) -> Callable[[Any], None]:
    """An honest body with ranges, slowly: time enough to be killed in the middle."""

    def behave(handler: Any) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Length": str(len(body) - start), "ETag": etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        HostileServer.answer(handler, 206 if start else 200, b"", headers)
        for at in range(start, len(body), piece):
            handler.wfile.write(body[at : at + piece])
            handler.wfile.flush()
            time.sleep(wait_s)

    return behave

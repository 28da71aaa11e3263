"""A proxy in front of a real object server that does to requests what a bad day does.

    with fault_proxy(endpoint, [Fault("status", method="PUT", times=3), Fault("truncate", path=r"\\.tar$")]) as proxy:
        ...                              # use proxy.endpoint as the endpoint
        proxy.script.append(Fault(...))  # change the weather at any time
        proxy.log                        # (method, path, action or "") of every request

Everything that no fault touches is forwarded byte for byte, Host header included, so signatures of requests hold. The
first fault in the script that fits a request and is not used up is applied. Actions:

    status      answer `status` with the S3 error `code`; nothing is forwarded          (500, SlowDown, AccessDenied …)
    reset       close the connection without an answer; nothing is forwarded
    lose        acknowledge a PUT or part with 200 and an ETag; nothing is stored
    no-answer   forward, then close without an answer: the store did it, the client does not know
    truncate    answer with the right Content-Length and break off after half of the body
    short       answer with half of the body as if that were all
    flip        flip one bit of the answer's body
    slow        wait `seconds`, then forward
    stale       answer a GET with what the same path and query gave when it was first seen through this proxy
"""

from __future__ import annotations

import http.client
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Fault:
    """One rule of the script: what is done to which requests, from when on and how often."""

    action: str
    method: str | None = None
    path: str = ""
    """Regular expression, searched in the unquoted path with query (`/bucket/key?list-type=2&…`)."""
    after: int = 0
    """Requests that fit and pass unharmed first."""
    times: int | None = 1
    """How often the fault strikes; None: for ever."""
    probability: float = 1.0
    status: int = 500
    code: str = "InternalError"
    seconds: float = 0.5
    seen: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)


class FaultProxy:
    """The proxy's state: its script, what happened, and its address."""

    def __init__(self, upstream: str, script: list[Fault], seed: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.script = script
        self.log: list[tuple[str, str, str]] = []
        self.first: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self.endpoint = ""
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def choose(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this request, if any; counts and logs it."""
        with self._lock:
            for fault in self.script:
                if fault.method not in (None, method) or not re.search(fault.path, path):
                    continue
                fault.seen += 1
                used_up = fault.times is not None and fault.struck >= fault.times
                if fault.seen <= fault.after or used_up or self._random.random() >= fault.probability:
                    continue
                fault.struck += 1
                self.log.append((method, path, fault.action))
                return fault
            self.log.append((method, path, ""))
            return None

    def count(self, method: str, path: str = "", action: str | None = None) -> int:
        """Requests so far of a method whose path fits, all or those that an action struck."""
        with self._lock:
            return sum(m == method and bool(re.search(path, p)) and action in (None, a) for m, p, a in self.log)


@contextmanager
def fault_proxy(upstream: str, script: list[Fault] | None = None, seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy in front of `upstream` (an endpoint URL) in threads of this process."""
    proxy = FaultProxy(upstream, [] if script is None else script, seed)

    class Handler(_Handler):
        faults = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on stderr: clients that are killed break their connections."""


class _Handler(BaseHTTPRequestHandler):
    faults: FaultProxy
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def handle_any(self) -> None:
        path = unquote(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.choose(self.command, path)
        action = "" if fault is None else fault.action
        if fault is not None and action == "status":
            self._error(fault)
        elif action == "reset":
            self.close_connection = True
        elif action == "lose":
            self._reply(200, [("ETag", '"d41d8cd98f00b204e9800998ecf8427e"')], b"")
        elif action == "stale" and self.path in self.faults.first:
            self._reply(*self.faults.first[self.path])
        else:
            if fault is not None and action == "slow":
                threading.Event().wait(fault.seconds)
            self._forward(body, action)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def _forward(self, body: bytes, action: str) -> None:
        connection = http.client.HTTPConnection(str(self.faults.upstream.netloc), timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in HOP]
            if action == "no-answer":
                self.close_connection = True
                return
            self._pass_on(answer, headers, action)
        finally:
            connection.close()

    def _pass_on(self, answer: Any, headers: list[tuple[str, str]], action: str) -> None:
        if self.command == "HEAD":
            self._start(answer.status, headers)
            return
        data = answer.read()
        others = [(name, value) for name, value in headers if name.lower() != "content-length"]
        if self.command == "GET" and "list-type" in self.path:
            self.faults.first.setdefault(self.path, (answer.status, others, data))
        if action == "truncate" and data:
            self._start(answer.status, [*others, ("Content-Length", str(len(data)))])
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        if action == "short":
            data = data[: len(data) // 2]
        elif action == "flip" and data:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        self._reply(answer.status, others, data)

    def _reply(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        self._start(status, kept if status == 204 else [*kept, ("Content-Length", str(len(data)))])
        if self.command != "HEAD":
            self.wfile.write(data)

    def _start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _error(self, fault: Fault) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>made for a test</Message></Error>"
        self._reply(fault.status, [("Content-Type", "application/xml")], text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr: the log is in `FaultProxy.log`."""

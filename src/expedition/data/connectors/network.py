"""Connections that cannot be led into the private network: the address that is checked is the one connected to.

A name is resolved here, each address is judged, and the connection goes to that very address, so that a second answer
of the name server (DNS rebinding) has no effect. Every read and write also ends at the deadline of the try that it
belongs to, headers included.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from expedition.data.connectors.failure import FetchFailed, FetchReason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32")
)
"""Link-local and cloud metadata: no setting allows these."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddress(Exception):
    """The name leads to an address that may not be connected to."""


class DeadlinePassed(Exception):
    """The try's total time is used up."""


def inner_address(address: Address) -> Address:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 address, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def may_connect(address: Address, *, allow_private: bool = False, networks: Iterable[str] = ()) -> bool:
    """Whether a connection to `address` is allowed: globally routed, or allowed by name. Pure."""
    judged = inner_address(address)
    if any(judged.version == network.version and judged in network for network in _METADATA):
        return False
    if judged.is_multicast or judged.is_unspecified:
        return False
    if allow_private or judged.is_global:
        return True
    allowed = (ipaddress.ip_network(text) for text in networks)
    return any(judged.version == network.version and judged in network for network in allowed)


_TICK_S = 1e-3


class Deadline:
    """The monotonic time at which the calling thread's try ends. One object serves all threads."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Every read and write of this thread ends `seconds` from now. Nested: the nearer one holds."""
        before: float | None = self._local.__dict__.get("at")
        at = time.monotonic() + seconds
        self._local.at = at if before is None else min(at, before)
        try:
            yield
        finally:
            self._local.at = before

    def left(self, timeout: float | None) -> float | None:
        """`timeout` cut to what is left. Raises DeadlinePassed."""
        at: float | None = self._local.__dict__.get("at")
        if at is None:
            return timeout
        rest = at - time.monotonic()
        if rest <= _TICK_S:
            raise DeadlinePassed
        return rest if timeout is None else min(timeout, rest)


class _Stream(httpcore.NetworkStream):
    """A network stream whose every operation ends at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._inner.read(max_bytes, self._deadline.left(timeout))
        except httpcore.TimeoutException:
            self._deadline.left(None)
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to judged addresses only. Safe for many threads."""

    def __init__(self, deadline: Deadline, *, allow_private: bool, networks: tuple[str, ...]) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline
        self._allow_private = allow_private
        self._networks = networks

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._judged(host, port)
        for number, address in enumerate(addresses, start=1):
            try:
                stream = self._inner.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
                continue
            return _Stream(stream, self._deadline)
        raise httpcore.ConnectError(f"no address for {host}")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise PrivateAddress("a socket of this machine")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _judged(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address ({error})") from error
        texts = list(dict.fromkeys(str(entry[4][0]).split("%", 1)[0] for entry in found))
        allowed = [
            text
            for text in texts
            if may_connect(ipaddress.ip_address(text), allow_private=self._allow_private, networks=self._networks)
        ]
        if not allowed:
            raise PrivateAddress(f"{host} is {', '.join(texts[:4])}, which is not a public address")
        return allowed


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport over guarded connections. Follows no redirect, keeps no cookie, uses no proxy."""

    def __init__(self, backend: GuardedBackend, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections * 4,
            max_keepalive_connections=connections,
            keepalive_expiry=15.0,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; the body is read from the response's stream. Raises httpcore's errors and ours."""
        reply = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        stream: Any = reply.stream
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(stream), extensions=reply.extensions)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Turn what the transport raises into FetchFailed, by name and reason."""
    try:
        yield
    except PrivateAddress as error:
        raise FetchFailed(FetchReason.PRIVATE_ADDRESS, str(error), url) from error
    except DeadlinePassed as error:
        raise FetchFailed(FetchReason.TOO_SLOW, "the total time is used up", url) from error
    except httpcore.ConnectTimeout as error:
        raise FetchFailed(FetchReason.TIMEOUT, "no connection in time", url) from error
    except httpcore.TimeoutException as error:
        raise FetchFailed(FetchReason.TIMEOUT, "no bytes in time", url) from error
    except httpcore.ConnectError as error:
        raise FetchFailed(FetchReason.UNREACHABLE, str(error) or "no connection", url) from error
    except httpcore.RemoteProtocolError as error:
        raise FetchFailed(_protocol_reason(str(error)), str(error)[:200], url) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise FetchFailed(FetchReason.PROTOCOL, str(error)[:200] or type(error).__name__, url) from error


def _protocol_reason(message: str) -> FetchReason:
    low = message.lower()
    if "too long" in low or "too many" in low or "too much" in low:
        return FetchReason.HEADERS_TOO_LARGE
    if "without sending complete message body" in low or "incomplete chunked read" in low:
        return FetchReason.TRUNCATED
    return FetchReason.PROTOCOL

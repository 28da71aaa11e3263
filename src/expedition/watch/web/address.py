"""Where the site listens, and which requests are answered: by default those of this machine's own browsers alone."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from expedition.errors import UsageError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = (
    # The framework compiles its templates in the browser and writes inline scripts, so these two are allowed. Nothing
    # may come from, or go to, another host.
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; "
        b"base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port to listen on."""

    host: str = "127.0.0.1"
    port: int = 8642
    """0: any free one."""
    allow_remote: bool = False
    """Answer other machines too. There is no password: whoever reaches the port reads the workspace."""

    def checked(self) -> Address:
        """Itself. Raises UsageError for a host that others reach, unless that is allowed."""
        if not self.loopback and not self.allow_remote:
            raise UsageError(
                f"{self.host} can be reached by other machines, and the page has no password",
                fix="leave --host out and use a tunnel (ssh -L), or add --allow-remote",
            )
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the host."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def bound(self) -> socket.socket:
        """A listening socket. Raises UsageError if the host or port cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except (OSError, OverflowError) as error:
            listener.close()
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"cannot listen on {self.host} port {self.port}: {why.lower()}",
                fix="give another port, or --port 0 for any free one",
            ) from None
        listener.listen()
        return listener


def url_of(host: str, port: int) -> str:
    """The page's URL for a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def answered(host: str | None, origin: str | None, allowed: Iterable[str] | None) -> bool:
    """Whether a request is answered, by its Host and Origin headers.

    A name that was made to point here (DNS rebinding) is not in `allowed`; another site's script has another origin.
    `allowed` None: any host, as other machines may call this one by any name.
    """
    name = _name(host)
    if name is None or (allowed is not None and name not in allowed):
        return False
    return origin is None or urlsplit(origin).netloc == host


def _name(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


class Guard:
    """ASGI middleware: refuses what `answered` refuses, and adds `HEADERS` to every answer."""

    def __init__(self, app: App, allowed: frozenset[str] | None) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not answered(headers.get(b"host"), headers.get(b"origin"), self._allowed):
            await _refuse(scope, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, receive, guarded)


async def _refuse(scope: Scope, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": b"this page answers its own address only\n"})

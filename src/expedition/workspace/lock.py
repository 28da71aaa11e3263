"""A lease with a fencing token: one live writer for each part of a workspace.

A lease is a folder of create-only keys `leases/<name>/<token>.json`; the highest token holds it. A holder renews by
rewriting its own key from a thread. Who wants the lease takes the next token once the holder has released it, its process is
dead (same host), or its renewal is older than `expires_s`. A holder that was overtaken learns it from `check()`
before it commits: its token is no longer the highest, so a paused or partitioned writer cannot overwrite the new one.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from expedition.errors import StorageError, WorkspaceBusy
from expedition.workspace.hashes import canonical_json
from expedition.workspace.layout import LEASES
from expedition.workspace.store import AlreadyExists, NotFound, Store

EXPIRES_S = 60.0
RENEW_S = 10.0


class Lease:
    """Held from `acquire` to `release`; use as a context manager. `token` grows with every holder."""

    def __init__(
        self, store: Store, name: str, *, expires_s: float = EXPIRES_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._folder = f"{LEASES}/{name.replace('/', '.')}"
        self._name = name
        self._expires_s = expires_s
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.token = 0

    def acquire(self) -> Lease:
        """Take the lease. Raises WorkspaceBusy, naming the holder, if another live process has it."""
        holder = self._holder()
        if holder is not None and self._alive(holder):
            raise WorkspaceBusy(
                f"{self._name} is in use by process {holder['pid']} on {holder['host']}",
                where=self._store.describe(),
                fix="wait for it or stop it; a lease of a dead process ends by itself",
            )
        self.token = (holder["token"] if holder is not None else 0) + 1
        try:
            self._store.create(self._key(self.token), self._body(released=False))
        except AlreadyExists as error:
            raise WorkspaceBusy(f"{self._name} was taken by another process just now", fix="run it again") from error
        self._thread = threading.Thread(target=self._renew, daemon=True, name=f"lease {self._name}")
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise WorkspaceBusy if another holder has overtaken this one. Call it before each commit."""
        holder = self._holder()
        if holder is None or holder["token"] != self.token:
            raise WorkspaceBusy(
                f"{self._name}: this process lost its lease (token {self.token})",
                where=self._store.describe(),
                fix="another process went on; nothing was overwritten",
            )

    def live_holder(self) -> dict[str, Any] | None:
        """The record (host, pid, renewed …) of the live process that holds this lease; None if there is none."""
        holder = self._holder()
        return holder if holder is not None and self._alive(holder) else None

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            with suppress(StorageError):  # the lease of a process that is gone ends by itself
                self._store.write(self._key(self.token), self._body(released=True))

    def __enter__(self) -> Lease:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _key(self, token: int) -> str:
        return f"{self._folder}/{token:010d}.json"

    def _body(self, released: bool) -> bytes:
        return canonical_json(
            {
                "schema": "workspace.lease/1",
                "token": self.token,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "process_start": _process_start(os.getpid()),
                "renewed": self._clock(),
                "released": released,
            }
        )

    def _holder(self) -> dict[str, Any] | None:
        keys = list(self._store.list(self._folder))
        if not keys:
            return None
        try:
            holder: dict[str, Any] = json.loads(self._store.read(keys[-1]))
        except NotFound:
            return None
        return holder

    def _alive(self, holder: dict[str, Any]) -> bool:
        if holder["released"]:
            return False
        if holder["host"] == socket.gethostname():
            start = _process_start(holder["pid"])
            return start is not None and start == holder["process_start"]
        return bool(self._clock() - holder["renewed"] < self._expires_s)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            with suppress(StorageError):  # tried again at the next turn; a lease that stays unrenewed expires
                self._store.write(self._key(self.token), self._body(released=False))


def _process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None if it is gone or a zombie: a reused pid differs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return _portable_start(pid)
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _portable_start(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0

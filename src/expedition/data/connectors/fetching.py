"""A source's items from their origin into its landing: list, ask the ledger, fetch many at once, record each, register.

One thread lists, decides and records; `connections` threads fetch, no host getting more than its share. The ledger is
asked again every few items, so a revocation stops a run under way.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from expedition.data.connectors.client import Client, Downloaded
from expedition.data.connectors.connector import Connector, Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.landing import Landing
from expedition.data.connectors.policy import FetchPolicy
from expedition.data.connectors.url import host_of
from expedition.data.sources.provenance import ItemRecord
from expedition.errors import ComplianceRefused, ExpeditionError, Interrupted
from expedition.workspace import Workspace

_ASK_ITEMS = 32
_ASK_S = 2.0
"""The ledger is asked again after so many items, or so many seconds."""
_REGISTER_ITEMS = 4096
_REGISTER_S = 60.0
_WAITING = 1000
"""Items listed ahead, so that other hosts go on while one is slow."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be fetched, and how."""

    source: str
    connector: Connector
    config: Any
    base: Path
    policy: FetchPolicy = field(default_factory=lambda: FetchPolicy())
    scope: str = "training"
    licence: str | None = None
    """Licence of items that carry none of their own."""
    verify: bool = False
    """Hash what is there before it is taken as there."""
    again: bool = False
    """Ask anew for items that were refused before."""
    limit: int | None = None
    """Stop after so many new items."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a run is, for people."""

    kept: int
    already_there: int
    refused: int
    failed: int
    bytes: int
    read_bytes_per_s: float
    last: ItemRecord | None


Progress = Callable[[Progressed], None]


def run(
    ws: Workspace,
    data_dir: Path,
    order: Order,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fetch what `order` says into `data_dir/<source>/`; resumable at any moment by the same call.

    Returns what was kept, was there already, was refused and has failed (by reason), and the first failed items.
    Raises ComplianceRefused (without an approval, or when it ends in mid-run), WorkspaceBusy (the source is being
    fetched by another process), Interrupted (with everything recorded), InputError, StorageError; FetchFailed where
    the origin's listing cannot be had.
    """
    with (
        ws.lease(f"acquire.{order.source}"),
        Client(order.policy) as client,
        Landing(ws, data_dir, order.source, order.connector.name, order.scope) as landing,
    ):
        told = note or (lambda text: None)
        context = Context(client, order.base, landing.state_dir(), told)
        under_way = _Run(ws, order, landing, context, progress)
        with _signals_stop(under_way.stop):
            return under_way.go()


@contextmanager
def _signals_stop(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop`, so that nothing is torn; a second one interrupts at once.

    In other threads than the main one signals are somebody else's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """One run under way."""

    def __init__(
        self, ws: Workspace, order: Order, landing: Landing, context: Context, progress: Progress | None
    ) -> None:
        self._order = order
        self._landing = landing
        self._context = context
        self._progress = progress
        self._events = ws.events("data")
        self._started = time.monotonic()
        self._asked = self._registered = self._started
        self._since_asked = 0
        self._failed: list[dict[str, Any]] = []
        self._listing_ended: ExpeditionError | None = None
        self._stopped = False

    def stop(self) -> None:
        """End soon, with everything that has come in recorded; may be called from a signal handler."""
        self._stopped = True
        self._context.client.stop()

    def go(self) -> dict[str, Any]:
        order, landing = self._order, self._landing
        self._events.append("data.acquire.started", source=order.source, connector=order.connector.name)
        queue = _Queue(order.policy.connections)
        pool = ThreadPoolExecutor(order.policy.connections, thread_name_prefix="fetch")
        try:
            self._fetch_all(pool, queue)
            if self._stopped:
                raise Interrupted(
                    f"stopped after {landing.counts.kept} new items",
                    where=str(landing.folder),
                    fix="run the same command again: it goes on where it was",
                )
            if self._listing_ended is not None:
                raise self._listing_ended
        finally:
            self._wind_up(pool, queue)
        return self._summary()

    def _wind_up(self, pool: ThreadPoolExecutor, queue: _Queue) -> None:
        """Let nothing that has come in be lost: end the fetches, record what is finished, register it."""
        self._context.client.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        for future, item in queue.running.items():
            if future.done() and not future.cancelled():
                self._record(item, future, winding_up=True)
        try:
            self._landing.register()
        except ComplianceRefused:
            self._landing.discard_parts()
            raise
        self._events.append("data.acquire.finished", source=self._order.source, **asdict(self._landing.counts))

    def _fetch_all(self, pool: ThreadPoolExecutor, queue: _Queue) -> None:
        items, listed, limit = self._wanted(), True, self._order.limit
        while (listed or queue) and not self._stopped:
            while listed and len(queue) < _WAITING and (limit is None or limit > 0):
                item = next(items, None)
                if item is None:
                    listed = False
                    break
                limit = None if limit is None else limit - 1
                queue.add(item)
                if queue.has_room() and len(queue) >= self._order.policy.connections:
                    break
            listed = listed and (limit is None or limit > 0)
            for item in queue.ready():
                self._ask_again()
                queue.started(pool.submit(self._bring, item), item)
            for future, item in queue.finished(0.0 if listed and queue.has_room() else 0.5):
                self._record(item, future)
            self._landing.sync()
            self._register_in_time()

    def _wanted(self) -> Iterator[RemoteItem]:
        """Items that are listed and not there yet; refused ones are recorded on the way."""
        for item in self._listed():
            if self._stopped:
                return
            try:
                self._landing.target(item)
                if not self._landing.wants(item, verify=self._order.verify, again=self._order.again):
                    continue
                if item.refused is not None:
                    raise FetchFailed(FetchReason.NO_LICENCE, item.refused, item.url)
            except FetchFailed as failure:
                self._turn_down(item, failure)
                continue
            yield item

    def _listed(self) -> Iterator[RemoteItem]:
        """What the connector lists; where its listing ends in an error, what was listed before is fetched first."""
        try:
            yield from self._order.connector.items(self._context, self._order.config)
        except (FetchFailed, Interrupted) as error:
            self._listing_ended = error

    def _bring(self, item: RemoteItem) -> Downloaded:
        target = self._landing.target(item)
        return self._order.connector.fetch(self._context, self._order.config, item, target)

    def _record(self, item: RemoteItem, future: Future[Downloaded], *, winding_up: bool = False) -> None:
        try:
            done = future.result()
        except FetchFailed as failure:
            if failure.reason is not FetchReason.STOPPED:
                self._turn_down(item, failure)
            return
        except BaseException:
            if winding_up:
                return
            raise
        self._tell(self._landing.keep(item, done, self._order.licence))

    def _turn_down(self, item: RemoteItem, failure: FetchFailed) -> None:
        record = self._landing.turn_down(item, failure)
        if not failure.refused and len(self._failed) < _SHOWN:
            told = {"path": item.key, "url": item.url, "reason": record.reason, "detail": record.detail}
            self._failed.append(told)
        self._tell(record)

    def _ask_again(self) -> None:
        self._since_asked += 1
        now = time.monotonic()
        if self._since_asked >= _ASK_ITEMS or now - self._asked >= _ASK_S:
            self._landing.confirm()
            self._since_asked, self._asked = 0, now

    def _register_in_time(self) -> None:
        now = time.monotonic()
        if self._landing.unregistered >= _REGISTER_ITEMS or (
            self._landing.unregistered and now - self._registered >= _REGISTER_S
        ):
            self._landing.register()
            self._registered = now

    def _tell(self, record: ItemRecord | None) -> None:
        if self._progress is None:
            return
        counts = self._landing.counts
        elapsed = max(time.monotonic() - self._started, 1e-9)
        self._progress(
            Progressed(
                kept=counts.kept,
                already_there=counts.already_there,
                refused=sum(counts.refused.values()),
                failed=sum(counts.failed.values()),
                bytes=counts.bytes,
                read_bytes_per_s=counts.bytes / elapsed,
                last=record,
            )
        )

    def _summary(self) -> dict[str, Any]:
        counts, elapsed = self._landing.counts, time.monotonic() - self._started
        return {
            "source": self._order.source,
            "connector": self._order.connector.name,
            "kept": counts.kept,
            "already_there": counts.already_there,
            "bytes": counts.bytes,
            "wall_s": round(elapsed, 3),
            "read_bytes_per_s": round(counts.bytes / max(elapsed, 1e-9)),
            "refused": dict(sorted(counts.refused.items())),
            "failed": dict(sorted(counts.failed.items())),
            "failed_items": self._failed,
        }


class _Queue:
    """Items that wait, by host, and fetches that run: no host has more than half of the connections if others wait."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._waiting: dict[str, deque[RemoteItem]] = {}
        self._count = 0
        self._running_by_host: dict[str, int] = {}
        self.running: dict[Future[Downloaded], RemoteItem] = {}

    def __len__(self) -> int:
        return self._count + len(self.running)

    def add(self, item: RemoteItem) -> None:
        self._waiting.setdefault(host_of(item.url), deque()).append(item)
        self._count += 1

    def has_room(self) -> bool:
        return len(self.running) < self._connections

    def ready(self) -> Iterator[RemoteItem]:
        """Items to start now: hosts take turns, the one with fewest fetches first."""
        while self._count and self.has_room():
            host = min(self._waiting, key=lambda name: self._running_by_host.get(name, 0))
            share = self._connections if len(self._waiting) == 1 else max(1, self._connections // 2)
            if self._running_by_host.get(host, 0) >= share:
                return
            item = self._waiting[host].popleft()
            if not self._waiting[host]:
                del self._waiting[host]
            self._count -= 1
            yield item

    def started(self, future: Future[Downloaded], item: RemoteItem) -> None:
        self.running[future] = item
        host = host_of(item.url)
        self._running_by_host[host] = self._running_by_host.get(host, 0) + 1

    def finished(self, timeout_s: float) -> list[tuple[Future[Downloaded], RemoteItem]]:
        """Fetches that have ended, waiting for the first of them at most so long."""
        if not self.running:
            return []
        done, _ = wait(self.running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        ended = [(future, self.running.pop(future)) for future in list(self.running) if future in done]
        for _, item in ended:
            host = host_of(item.url)
            self._running_by_host[host] -= 1
            if not self._running_by_host[host]:
                del self._running_by_host[host]
        return ended

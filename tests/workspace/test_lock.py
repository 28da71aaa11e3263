"""Leases: one live writer, dead holders, fencing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from expedition.errors import WorkspaceBusy
from expedition.workspace import Workspace
from expedition.workspace.lock import Lease


def test_second_holder_is_told_who_has_it(place: str) -> None:
    ws = Workspace.open(place, create=True)
    with ws.lease("data"):
        with pytest.raises(WorkspaceBusy, match=str(os.getpid())):
            ws.lease("data").acquire()
        with ws.lease("train"):
            pass
    with ws.lease("data") as lease:
        lease.check()


def _hold(place: str, ready: multiprocessing.synchronize.Event) -> None:  # type: ignore[name-defined]
    Workspace.open(place).lease("data").acquire()
    ready.set()
    time.sleep(60)


def test_lease_of_a_killed_process_ends(place: str) -> None:
    ws = Workspace.open(place, create=True)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(place, ready))
    process.start()
    assert ready.wait(60)
    with pytest.raises(WorkspaceBusy):
        ws.lease("data").acquire()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with ws.lease("data") as lease:
        assert lease.token == 2


def test_overtaken_holder_is_fenced(place: str) -> None:
    """A holder that stopped renewing and was overtaken must not commit."""
    ws = Workspace.open(place, create=True)
    old = Lease(ws.store, "data").acquire()
    old._stop.set()
    key = f"leases/data/{old.token:010d}.json"
    ws.store.write(
        key, ws.store.read(key).replace(b'"host":"', b'"host":"elsewhere-').replace(b'"renewed":', b'"renewed":-')
    )
    new = Lease(ws.store, "data").acquire()
    assert new.token == old.token + 1
    new.check()
    with pytest.raises(WorkspaceBusy, match="lost its lease"):
        old.check()
    new.release()


def test_live_holder_on_another_host_is_respected_until_it_expires(place: str) -> None:
    ws = Workspace.open(place, create=True)
    old = Lease(ws.store, "data").acquire()
    old._stop.set()
    key = f"leases/data/{old.token:010d}.json"
    ws.store.write(key, ws.store.read(key).replace(b'"host":"', b'"host":"elsewhere-'))
    with pytest.raises(WorkspaceBusy, match="elsewhere-"):
        Lease(ws.store, "data").acquire()
    later = Lease(ws.store, "data", clock=lambda: time.time() + 3600)
    assert later.acquire().token == old.token + 1
    later.release()

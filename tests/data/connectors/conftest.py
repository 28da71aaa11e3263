"""A hostile server a test, and policies that wait milliseconds where real ones wait seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from expedition.data.connectors import Client, FetchPolicy
from tests.data.connectors.hostile_server import HostileServer

QUICK = {
    "allow_private": True,
    "requests_per_s": 1000.0,
    "burst": 1000,
    "attempts": 3,
    "backoff_s": 0.01,
    "connect_s": 2.0,
    "read_s": 1.0,
    "total_s": 5.0,
    "slow_after_s": 0.4,
    "sync_bytes": 1 << 16,
}


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """Makes clients with a quick policy, some fields of which a test may set."""
    made: list[Client] = []

    def make(**fields: object) -> Client:
        made.append(Client(FetchPolicy(**{**QUICK, **fields})))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def noise() -> bytes:
    """Bytes that do not repeat."""
    return random.Random(5).randbytes(600_000)

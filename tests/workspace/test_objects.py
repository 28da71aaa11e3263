"""Large objects under bad weather: parts, resumed bodies, retries, denials; a real server behind a faulty proxy."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.object_faults import Fault, FaultProxy, fault_proxy

from expedition.errors import StorageError, UsageError
from expedition.workspace import AccessDenied, NotFound, Workspace
from expedition.workspace.objects import MAX_PARTS, MIN_PART_BYTES, ObjectStore, expected_etag, part_bytes

BIG = bytes(range(256)) * (20 << 12)  # 20 MiB


@pytest.fixture
def weather(s3_endpoint: str) -> Iterator[FaultProxy]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(weather: FaultProxy, tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"s3://expedition/{tmp_path.name}?endpoint={weather.endpoint}&retry_s=1")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)
    return path


def test_large_file_goes_up_in_parts_and_its_etag_is_foreseen(
    store: ObjectStore, weather: FaultProxy, big: Path
) -> None:
    store.upload("big", big)
    assert weather.count("PUT", "partNumber=") == 3
    assert store.tag("big").strip('"') == expected_etag(big)
    assert hashlib.sha256(b"".join(store.stream("big"))).digest() == hashlib.sha256(BIG).digest()
    small = big.with_name("small")
    small.write_bytes(b"small")
    store.upload("small", small)
    assert store.tag("small").strip('"') == expected_etag(small) == hashlib.md5(b"small").hexdigest()


def test_body_that_breaks_off_is_gone_on_with(store: ObjectStore, weather: FaultProxy, big: Path) -> None:
    store.upload("big", big)
    weather.script.append(Fault("truncate", method="GET", path="/big", times=3))
    assert b"".join(store.stream("big")) == BIG
    assert weather.count("GET", "/big", "truncate") == 3


def test_body_that_never_comes_whole_is_an_error_and_leaves_no_file(store: ObjectStore, weather: FaultProxy) -> None:
    weather.script.append(Fault("truncate", method="GET", path="/cut", times=None))
    weather.script.append(Fault("reset", method="GET", path="/none", times=None))
    store.write("cut", b"abc")
    store.write("none", b"abc")
    for key in ("cut", "none"):
        with pytest.raises(StorageError, match=key):
            store.local(key)
    assert not [path for path in store.cache.rglob("*") if path.is_file()]


def test_server_errors_and_slow_down_are_tried_again(store: ObjectStore, weather: FaultProxy, big: Path) -> None:
    weather.script += [
        Fault("status", method="PUT", path="partNumber=2", status=503, code="SlowDown", times=2),
        Fault("status", method="POST", path="uploads", status=500),
        Fault("no-answer", method="PUT", path="partNumber=1"),
        Fault("status", method="GET", path="/big", status=503, code="SlowDown", times=2),
    ]
    store.upload("big", big)
    assert b"".join(store.stream("big")) == BIG
    assert {action for _, _, action in weather.log} == {"", "status", "no-answer"}


def test_errors_without_end_are_reported_in_bounded_time(store: ObjectStore, weather: FaultProxy) -> None:
    short = ObjectStore(f"{store.url.rsplit('&', 1)[0]}&retry_s=0.5")
    weather.script.append(Fault("status", method="PUT", times=None))
    with pytest.raises(StorageError, match="refused k"):
        short.write("k", b"x")


def test_denied_is_said_at_once_and_not_tried_again(store: ObjectStore, weather: FaultProxy) -> None:
    weather.script.append(Fault("status", status=403, code="AccessDenied", times=None))
    for call in (lambda: store.write("k", b"x"), lambda: store.read("k"), lambda: list(store.stream("k"))):
        with pytest.raises(AccessDenied, match="rights"):
            call()
    assert len(weather.log) == 3


def test_object_replaced_in_mid_read_is_not_mixed(store: ObjectStore, weather: FaultProxy, big: Path) -> None:
    store.upload("big", big)
    weather.script.append(Fault("truncate", method="GET", path="/big"))
    pieces = store.stream("big")
    next(pieces)
    store.write("big", b"other")
    with pytest.raises(StorageError):
        list(pieces)


def test_local_copy_takes_bounded_memory(s3_endpoint: str, tmp_path: Path, big: Path) -> None:
    store = ObjectStore(f"s3://expedition/{tmp_path.name}?endpoint={s3_endpoint}")
    store.upload("big", big)
    tracemalloc.start()
    path = store.local("big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.read_bytes() == BIG
    assert peak < 12 << 20
    assert store.local("big") == path


def test_hash_of_a_workspace_streams(place: str) -> None:
    ws = Workspace.open(place, create=True)
    ws.store.write("k", BIG[:100_000])
    assert ws.hash("k") == hashlib.sha256(BIG[:100_000]).hexdigest()
    assert b"".join(ws.bytes_of("k")) == BIG[:100_000]
    before = ws.store.tag("k")
    ws.store.write("k", b"other")
    assert ws.store.tag("k") != before
    with pytest.raises(NotFound):
        list(ws.store.stream("none"))


def test_parts_fit_what_stores_take() -> None:
    for size in (0, 1, MIN_PART_BYTES, 10**9, 80 << 30, 5 << 40):
        part = part_bytes(size)
        assert part >= MIN_PART_BYTES and part % (1 << 20) == 0 and -(-size // part) <= MAX_PARTS


def test_option_that_is_no_number_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="retry_s"):
        ObjectStore("s3://bucket/prefix?retry_s=soon")

"""The cache on local disk: never a cut-off or wrong shard, within its limit, shared, through kills and full disks."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from expedition.data.loading.cache import ShardReader
from expedition.data.loading.tier import Content, DiskTier
from expedition.errors import InputError, UsageError


def body(number: int, size: int = 10_000) -> bytes:
    return bytes([number]) * size


def content(data: bytes) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data))


def source(data: bytes, calls: list[int] | None = None):
    def fetch():
        for start in range(0, len(data), 1000):
            if calls is not None:
                calls.append(start)
            yield data[start : start + 1000]

    return fetch


def read(tier: DiskTier, data: bytes, calls: list[int] | None = None, **options) -> bytes | None:
    descriptor = tier.open(content(data), source(data, calls), **options)
    tier.flush()
    if descriptor is None:
        return None
    try:
        return os.pread(descriptor, len(data) + 1, 0)
    finally:
        os.close(descriptor)


def test_a_shard_is_fetched_once_and_then_read_from_disk(tmp_path) -> None:
    tier, calls = DiskTier(tmp_path), []
    data = os.urandom(10_500)
    assert read(tier, data, calls) == data and sorted(calls) == list(range(0, 10_500, 1000))
    assert read(DiskTier(tmp_path), data, calls) == data and len(calls) == 11
    assert read(tier, b"") == b""
    assert (tier.counts.fetched, tier.counts.opened) == (2, 0)


@pytest.mark.parametrize("wrong", [b"\1" * 10_000, b"\0" * 9_999, b"", b"\0" * 10_001])
def test_wrong_bytes_from_the_store_never_enter(tmp_path, wrong) -> None:
    tier, right = DiskTier(tmp_path), body(0)
    with pytest.raises(InputError, match="manifest"):
        tier.open(content(right), source(wrong))
    assert tier.used_bytes() == 0
    assert read(tier, right) == right


def test_cut_off_file_is_fetched_again(tmp_path) -> None:
    tier, data = DiskTier(tmp_path), body(3)
    read(tier, data)
    os.truncate(tier.path(content(data)), 5)
    assert read(tier, data) == data and tier.counts.damaged == 1


def test_limit_holds_and_finished_shards_go_first_then_the_least_recently_used(tmp_path) -> None:
    tier = DiskTier(tmp_path, 45_000)
    shards = [body(number) for number in range(6)]
    for number in range(4):
        read(tier, shards[number])
        os.utime(tier.path(content(shards[number])), (1e9 + number, 1e9 + number))
    tier.retire(content(shards[2]))
    read(tier, shards[4])
    assert [tier.has(content(shard)) for shard in shards] == [True, True, False, True, True, False]
    read(tier, shards[5])
    assert [tier.has(content(shard)) for shard in shards] == [False, True, False, True, True, True]
    assert tier.used_bytes() <= 45_000 and tier.counts.evicted == 2
    assert read(tier, body(9), evict=False) is None, "what is fetched ahead pushes nothing out that is in use"
    assert read(tier, body(7, 50_000)) is None and tier.counts.bypassed_too_large == 1


def test_threads_and_processes_fetch_a_shard_once(tmp_path) -> None:
    tier, calls, data = DiskTier(tmp_path), [], os.urandom(50_000)

    def slow():
        calls.append(0)
        time.sleep(0.05)
        yield data

    def work() -> None:
        os.close(tier.open(content(data), slow) or 0)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert calls == [0]


CHILD = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.data.loading.test_tier import body, content
from expedition.data.loading.tier import DiskTier
def fetch():
    print("fetching", flush=True)
    time.sleep(60)
    yield b""
tier = DiskTier(Path({folder!r}))
tier.open(content(body(1)), fetch)
"""


def test_killed_writer_leaves_nothing_that_is_served_or_counted(tmp_path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(root=root, folder=str(tmp_path))], stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == b"fetching\n"
    tier = DiskTier(tmp_path, 15_000)
    assert tier.used_bytes() == 10_000, "a fetch reserves its room"
    assert read(tier, body(2)) is None, "and is not evicted"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read(tier, body(2)) == body(2), "the room of a dead writer is taken back"
    assert read(DiskTier(tmp_path), body(1)) == body(1)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.data.loading.test_tier import body, read
from expedition.data.loading.tier import DiskTier
tier = DiskTier(Path({folder!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
assert read(tier, body(1)) is None and read(tier, body(2)) is None
assert tier.counts.bypassed_disk_full == 2 and "refused" in tier.counts.reasons[0], tier.counts
assert tier.used_bytes() == 0
"""


def test_full_disk_is_said_in_the_counts_and_read_around(tmp_path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    subprocess.run([sys.executable, "-c", FULL.format(root=root, folder=str(tmp_path))], check=True)


def test_reader_goes_round_a_cache_that_cannot_hold_a_shard(tmp_path, s3_endpoint) -> None:
    from expedition.workspace import Workspace

    ws = Workspace.open(f"s3://expedition/{tmp_path.name}?endpoint={s3_endpoint}", create=True)
    data = os.urandom(5000)
    ws.store.write("v/shard.tar", data)
    manifest = {"shards": [{"path": "shard.tar", "bytes": 5000, "sha256": hashlib.sha256(data).hexdigest()}]}
    for limit, hits in ((4000, 0), (6000, 1)):
        reader = ShardReader(ws.store, tier=DiskTier(tmp_path / str(limit), limit))
        reader.expect("v", manifest)
        assert reader.read("v/shard.tar", 10, 100) == data[10:110]
        assert reader.read("v/shard.tar", 4000, 1000) == data[4000:]
        assert (reader.counts.hits, reader.counts.misses) == (hits, 2 - hits)
    with pytest.raises(InputError, match="the shard ends at"):
        reader.read("v/shard.tar", 4990, 20)
    reader.tier.flush()
    path = reader.tier.path(content(data))
    path.write_bytes(bytes(5000))
    assert reader.read("v/shard.tar", 0, 10) == bytes(10), "a copy that rotted in place"
    assert reader.reject("v/shard.tar") and reader.read("v/shard.tar", 0, 10) == data[:10]
    assert not reader.reject("v/shard.tar")


def test_negative_limit_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="-1 bytes"):
        DiskTier(tmp_path, -1)

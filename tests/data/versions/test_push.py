"""A version at another place: whole or not at all, whatever the store does and whenever the push is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition.data.compliance import Statement, append
from expedition.data.versions import examine_version, pull_version, push_version
from expedition.data.versions.plan import HELDOUT
from expedition.data.versions.verification import CLAIM
from expedition.errors import CheckFailed, ComplianceRefused, StorageError, UsageError
from expedition.workspace import AccessDenied, Workspace, layout, store_at
from tests.object_faults import Fault, FaultProxy, fault_proxy

from .outputs import approved_version
from .worldlet import documents

FOLDER = layout.dataset("v0.1")
MANIFEST = layout.manifest("v0.1")
TAR = r"\.tar$"


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return approved_version(tmp_path_factory.mktemp("pushed"))


@pytest.fixture
def weather(s3_endpoint: str) -> Iterator[FaultProxy]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def there(weather: FaultProxy, tmp_path: Path) -> str:
    return f"s3://expedition/{tmp_path.name}?endpoint={weather.endpoint}&retry_s=2"


def whole(ws: Workspace, place: str) -> bool:
    """Whether every data set of the version is at the place, without a problem."""
    found = examine_version("v0.1", ws=ws, at=place)
    return [item.dataset for item in found] == [HELDOUT, layout.DATASET] and not any(item.problems for item in found)


def test_pushed_version_is_whole_and_pushing_again_sends_nothing(ws: Workspace, place: str) -> None:
    first = push_version(ws, "v0.1", place)["datasets"][layout.DATASET]
    # The public key is there already: the held-out set came first and is signed with it too.
    assert first["sent_files"] == first["files"] - 1 > 10 and not first["was_published"]
    assert whole(ws, place)
    again = push_version(ws, "v0.1", place)["datasets"][layout.DATASET]
    assert (again["sent_files"], again["was_published"]) == (0, True)
    assert not [key for key in store_at(place).list("data") if key.endswith(CLAIM)]
    assert (store_at(place).read(MANIFEST), examine_version("v0.1", at=place)[1].problems) == (
        ws.store.read(MANIFEST),
        [],
    )


def test_push_without_journal_reads_what_is_there_instead_of_sending_it(ws: Workspace, there: str) -> None:
    push_version(ws, "v0.1", there)
    for path in ws.scratch("push").iterdir():
        path.write_bytes(b'{"path": "torn')
    again = push_version(ws, "v0.1", there)["datasets"][layout.DATASET]
    assert (again["sent_files"], again["files"] > 10) == (0, True)


@pytest.mark.parametrize("action", ["lose", "flip", "short"])
def test_what_comes_back_wrong_is_sent_again(ws: Workspace, weather: FaultProxy, there: str, action: str) -> None:
    weather.script.append(Fault(action, method="PUT" if action == "lose" else "GET", path=TAR, times=2))
    done = push_version(ws, "v0.1", there)["datasets"]
    assert sum(part["resent"] for part in done.values()) == 2
    assert whole(ws, there)


def test_store_that_always_loses_a_file_is_named_and_publishes_nothing(
    ws: Workspace, weather: FaultProxy, there: str
) -> None:
    weather.script.append(Fault("lose", method="PUT", path="web-00000.tar", times=None))
    with pytest.raises(StorageError, match=r"web-00000\.tar 3 times.*it is not there") as caught:
        push_version(ws, "v0.1", there)
    assert "same command again" in str(caught.value.fix) and caught.value.exit_code == 2
    with pytest.raises(UsageError, match="there is no"):
        examine_version("v0.1", at=there)
    weather.script.clear()
    push_version(ws, "v0.1", there)
    assert whole(ws, there)


def test_lost_manifest_is_noticed_and_put_again(ws: Workspace, weather: FaultProxy, there: str) -> None:
    weather.script.append(Fault("lose", method="PUT", path=r"/dataset/v0\.1/manifest\.json"))
    push_version(ws, "v0.1", there)
    assert whole(ws, there)


def test_denied_in_mid_push_keeps_what_is_there(ws: Workspace, weather: FaultProxy, there: str) -> None:
    weather.script.append(Fault("status", method="PUT", path=TAR, status=403, code="AccessDenied", after=4, times=None))
    with pytest.raises(AccessDenied, match="rights") as caught:
        push_version(ws, "v0.1", there, threads=1)
    assert "files are there" in str(caught.value.fix)
    assert not store_at(there).exists(MANIFEST)
    sent = {path for method, path, action in weather.log if method == "PUT" and path.endswith(".tar") and not action}
    weather.script.clear()
    weather.log.clear()
    push_version(ws, "v0.1", there)
    assert len(sent) == 4 and not sent & {path for method, path, _ in weather.log if method == "PUT"}
    assert whole(ws, there)


def test_slow_down_errors_and_lost_answers_are_survived(ws: Workspace, weather: FaultProxy, there: str) -> None:
    weather.script += [
        Fault("status", method="PUT", status=503, code="SlowDown", probability=0.5, times=8),
        Fault("no-answer", method="PUT", path=r"manifest\.json", times=2),
        Fault("no-answer", method="PUT", path=TAR, times=2),
        Fault("truncate", method="GET", path=TAR, times=3),
    ]
    push_version(ws, "v0.1", there)
    assert weather.count("PUT", "", "status") == 8
    assert whole(ws, there)


def test_stale_list_is_a_hint_only(ws: Workspace, weather: FaultProxy, there: str) -> None:
    weather.script.append(Fault("stale", method="GET", path="list-type", times=None))
    push_version(ws, "v0.1", there)
    push_version(ws, "v0.1", there)
    assert weather.count("GET", "list-type", "stale") > 1
    assert whole(ws, there)


def test_other_version_of_the_same_name_is_refused(ws: Workspace, there: str, tmp_path: Path) -> None:
    gone = next(item for item in documents() if item.kind == "web")
    other = approved_version(tmp_path / "other", without=frozenset([gone.id]))
    push_version(ws, "v0.1", there)
    with pytest.raises(UsageError, match="never replaced"):
        push_version(other, "v0.1", there)
    assert whole(ws, there)


def test_two_pushes_of_different_versions_do_not_mix(ws: Workspace, there: str) -> None:
    store_at(there).create(f"{FOLDER}/{CLAIM}", b'{"manifest_sha256": "another"}\n')
    with pytest.raises(UsageError, match="is being pushed") as caught:
        push_version(ws, "v0.1", there, dataset=layout.DATASET)
    assert str(caught.value.where).endswith(CLAIM)
    assert not store_at(there).exists(MANIFEST)


def test_file_that_was_damaged_before_the_push_is_not_published(there: str, tmp_path: Path) -> None:
    ws = approved_version(tmp_path)
    shard = next(key for key in ws.store.list(FOLDER) if key.endswith(".tar"))
    data = bytearray(ws.store.read(shard))
    data[700] ^= 1
    ws.store.write(shard, bytes(data))
    with pytest.raises(CheckFailed, match="changed") as caught:
        push_version(ws, "v0.1", there)
    assert caught.value.where == shard
    assert not store_at(there).exists(MANIFEST)


def test_revoked_source_is_not_pushed(there: str, tmp_path: Path) -> None:
    ws = approved_version(tmp_path)
    append(ws, Statement("revoke", "pictures", "Ada", "the photographer asked"))
    with pytest.raises(ComplianceRefused, match="pictures"):
        push_version(ws, "v0.1", there)
    assert not list(store_at(there).list("data"))


def test_check_by_head_reads_nothing_back_and_says_so(ws: Workspace, weather: FaultProxy, there: str) -> None:
    told = push_version(ws, "v0.1", there, check="head")
    assert "not read back" in told["checked_by"]
    assert weather.count("GET", TAR) == 0
    weather.log.clear()
    assert push_version(ws, "v0.1", there)["datasets"][layout.DATASET]["sent_files"] == 0
    assert weather.count("GET", TAR) > 0


def test_check_by_head_notices_other_content(ws: Workspace, weather: FaultProxy, there: str) -> None:
    shard = next(key for key in ws.store.list(FOLDER) if key.endswith(".tar"))
    size = ws.store.size(shard)
    store_at(there).write(shard, b"x" * size)
    done = push_version(ws, "v0.1", there, check="head")["datasets"][layout.DATASET]
    assert done["sent_files"] == done["files"] - 1
    assert whole(ws, there)


def test_version_travels_from_store_to_store_and_back(ws: Workspace, s3_endpoint: str, tmp_path: Path) -> None:
    first = f"s3://expedition/{tmp_path.name}-a?endpoint={s3_endpoint}"
    second = f"s3://expedition/{tmp_path.name}-b?endpoint={s3_endpoint}"
    push_version(ws, "v0.1", str(tmp_path / "copy"))
    remote = Workspace.open(first, create=True)
    pull_version(remote, "v0.1", str(tmp_path / "copy"))
    for source in ("pages", "code", "pictures", "clips", "speech"):
        append(remote, Statement("approve", source, "Ada", "made for tests"))
    push_version(remote, "v0.1", second)
    back = Workspace.open(tmp_path / "back", create=True)
    pull_version(back, "v0.1", second)
    for key in ws.store.list(FOLDER):
        assert back.store.read(key) == ws.store.read(key)
    assert not any(item.problems or item.conditions for item in examine_version("v0.1", ws=back))
    assert pull_version(back, "v0.1", second)["datasets"][layout.DATASET]["sent_files"] == 0


def test_pull_refuses_what_is_not_as_it_was_signed(ws: Workspace, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy")
    push_version(ws, "v0.1", copy)
    shard = next(key for key in store_at(copy).list(FOLDER) if key.endswith(".tar"))
    data = bytearray(store_at(copy).read(shard))
    data[-1] ^= 1
    store_at(copy).write(shard, bytes(data))
    mine = Workspace.open(tmp_path / "mine", create=True)
    with pytest.raises(CheckFailed, match="signed"):
        pull_version(mine, "v0.1", copy)
    assert not mine.store.exists(MANIFEST) and not mine.store.exists(shard)


def test_killed_push_goes_on(ws: Workspace, weather: FaultProxy, there: str) -> None:
    """Killed at several moments: nothing is seen before all is there, and nothing verified is sent twice."""
    command = [sys.executable, "-m", "expedition", "data", "push", "v0.1", there, "--json", "--threads", "2"]
    command += ["--workspace", ws.place]
    slow = Fault("slow", method="PUT", seconds=0.15, times=None)
    weather.script.append(slow)
    killed = 0
    for puts in (5, 14, 24):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while weather.count("PUT") < puts and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not store_at(there).exists(MANIFEST)
    slow.seconds = 0.0
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    assert json.loads(done.stdout)["datasets"][layout.DATASET]["files"] > 10
    assert killed == 3
    sent = Counter(path for method, path, _ in weather.log if method == "PUT" and path.endswith((".tar", ".parquet")))
    assert sum(count - 1 for count in sent.values()) <= 2 * killed
    assert whole(ws, there)

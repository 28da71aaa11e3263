"""The voyage: one smoke voyage shared by many tests; kills in the middle reach the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition.cli.in_process import execute
from expedition.errors import UsageError
from expedition.plan import load_programme
from expedition.programme import evaluate_gates
from expedition.voyage import Orders, plan_voyage, rehearse
from expedition.voyage.step import PHASES
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_file

pytestmark = pytest.mark.voyage
SMOKE = load_programme("smoke")


def command(workspace: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "expedition", "rehearse", "--size", "smoke", "--workspace", str(workspace), *more]


@pytest.fixture(scope="session")
def voyage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, dict[str, Any]]]:
    """A finished smoke voyage and what the command printed."""
    folder = tmp_path_factory.mktemp("voyage") / "ws"
    done = subprocess.run(command(folder, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    yield Workspace.open(folder), json.loads(done.stdout)


def content_hashes(ws: Workspace) -> dict[str, str]:
    """Hashes of what must be equal between two voyages: raw files, shards, indexes, weights, scores; not times, costs,
    signatures, nor where the services were."""
    raw = ws.scratch("raw") / "sample-smoke"
    hashes = {
        f"raw/{path.relative_to(raw).as_posix()}": sha256_file(path)
        for path in sorted(raw.glob("*/**/*"))
        if path.is_file() and ".acquire" not in path.parts
    }
    for key in ws.store.list("data/dataset"):
        if "/shards/" in key or key.endswith("documents.parquet"):
            hashes[key] = ws.hash(key)
    for key in ws.store.list("data/dataset"):
        if key.endswith("/manifest.json"):
            hashes[key] = ws.read_json(key)["content_hash"]
    for key in [*ws.store.list("runs"), *ws.store.list("release")]:
        if key.endswith(".safetensors"):
            hashes[key] = ws.hash(key)
    for key in ws.store.list("evaluations"):
        if key.endswith("/results.json"):
            hashes[key] = ws.read_json(key)["digest"]
    return hashes


def test_every_phase_has_steps_and_every_step_is_done(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    ws, printed = voyage
    steps, _ = plan_voyage(ws, SMOKE, Orders(size="smoke"))
    assert {step.phase for step in steps} == set(PHASES)
    assert [item["step"] for item in printed["steps"]] == [step.name for step in steps]


def test_gates_are_judged_and_none_fails(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    ws, printed = voyage
    assert printed["gates"]["fail"] == 0, [c for c in printed["criteria"] if c["verdict"] == "fail"]
    assert printed["gates"]["pass"] >= 25
    wanted = {
        "id", "gate", "verdict", "measured", "threshold", "chapter_threshold", "scaled", "conditions", "blocking", "unit",
        "evidence",
    }  # fmt: skip
    for criterion in printed["criteria"]:
        assert wanted <= set(criterion)
        for item in criterion["evidence"]:
            assert ws.store.exists(item["path"])
    by_id = {criterion["id"]: criterion for criterion in printed["criteria"]}
    pipeline = by_id["data.pipeline_stages"]
    assert pipeline["verdict"] == "pass" and "local servers" in pipeline["conditions"]
    for never in ("poc.gpus", "cluster.burnin_hours", "cluster.burnin_nodes", "data.pipeline_hours", "main.mfu"):
        assert by_id[never]["verdict"] == "no evidence"


def test_planted_incident_was_caught_and_resolved(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    ws, _ = voyage
    incidents = [ws.read_json(key) for key in ws.store.list("incidents") if key.endswith("/incident.json")]
    assert [incident["status"] for incident in incidents] == ["resolved"]
    assert incidents[0]["run"] == "main" and incidents[0]["diagnosis"]["samples"]
    assert ws.read_json("runs/main/summary.json")["finished"]


def test_event_log_is_whole(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    assert voyage[0].verify_events() == []


def test_edited_artefacts_fail_the_gates(voyage: tuple[Workspace, dict[str, Any]], tmp_path: Path) -> None:
    """One byte of a shard, a checkpoint, the release, a report, the ledger: each is noticed, in a copy of the voyage."""
    import shutil

    ws, _ = voyage
    copy = tmp_path / "copy"
    shutil.copytree(ws.path(""), copy, ignore=shutil.ignore_patterns(".scratch", "leases"))
    edited = Workspace.open(copy)
    targets = {
        "shard": next(key for key in edited.store.list("data/dataset/v0.1/shards") if key.endswith(".tar")),
        "weights": next(key for key in edited.store.list("runs/main/checkpoints") if key.endswith("model.safetensors")),
        "release": next(key for key in edited.store.list("release") if key.endswith(".safetensors")),
        "report": "reports/poc.json",
        "ledger": "compliance/ledger.jsonl",
    }
    for name, key in targets.items():
        path = copy / key
        before = path.read_bytes()
        os.chmod(path, 0o644)
        place = len(before) // 2
        path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        failed = [item for item in evaluate_gates(edited, SMOKE, "all") if item.verdict == "fail"]
        assert failed, f"an edited {name} ({key}) was not noticed"
        path.write_bytes(before)


def test_finished_steps_are_reused(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    ws, _ = voyage
    records = list(rehearse(ws, SMOKE, Orders(size="smoke", until="data"), execute))
    assert records and all(record.reused for record in records)


def test_one_workspace_one_voyage(voyage: tuple[Workspace, dict[str, Any]]) -> None:
    ws, _ = voyage
    with pytest.raises(UsageError, match="was begun with"):
        list(rehearse(ws, SMOKE, Orders(size="smoke", seed=8), execute))


def test_names_of_steps_are_checked(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "ws", create=True)
    with pytest.raises(UsageError, match="phases: design"):
        plan_voyage(ws, SMOKE, Orders(size="smoke", until="desing"))


KILLS = {
    "acquisition": "acquire",
    "data": "dataset-v0.1",
    "push": "push-v0.1",
    "training": "run-1b",
    "checkpoint": "main-to-the-end",
    "release": "release",
}


@pytest.mark.parametrize("place", list(KILLS))
def test_killed_voyage_reaches_the_same_hashes(
    place: str, voyage: tuple[Workspace, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """kill -9 in the middle of a step, then the same command: the hashes of an uninterrupted voyage.

    The voyages of all places share one workspace, so that each place costs one kill and the steps after it.
    """
    folder = tmp_path_factory.getbasetemp() / "killed" / "ws"
    step = KILLS[place]
    killed = _kill_in(folder, step, wait_s=0.8)
    done = subprocess.run(command(folder, "--until", step), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert killed
    mine, other = content_hashes(Workspace.open(folder)), content_hashes(voyage[0])
    assert mine
    assert {key: other.get(key) for key in mine} == mine
    if place == "release":
        assert set(mine) == set(other)


def _kill_in(folder: Path, step: str, wait_s: float) -> bool:
    """Start the voyage, wait until it is in `step`, kill everything; True if the step was not finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(command(folder), stderr=output, stdout=output, start_new_session=True)
    record = folder / "voyage" / "steps"
    names = [item.name for item in plan_voyage(Workspace.open(folder, create=True), SMOKE, Orders(size="smoke"))[0]]
    before = names[names.index(step) - 1]
    deadline = time.monotonic() + 300
    while not (record / f"{before}.json").exists():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return not (record / f"{step}.json").exists()

"""Drills on a real process: killed or frozen without warning, it comes back, and the times are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from expedition.cluster.drills import DrillPlan, drill_kind, run_drill, train_command
from expedition.cluster.goodput import write_goodput
from expedition.cluster.nodes import list_nodes
from expedition.errors import CheckFailed, UsageError
from expedition.workspace import Workspace

JOB = """
import sys, time
from expedition.workspace import Workspace, NotFound
ws = Workspace.open(sys.argv[1])
steps, every = int(sys.argv[2]), 10
log = ws.events("train")
try:
    start = ws.read_json("runs/main/state.json")["step"]
except NotFound:
    start = 0
log.append("train.started", run="main", step=start, setup_s=0.01, restore_s=0.005)
for step in range(start, steps):
    time.sleep(0.01)
    if (step + 1) % 5 == 0:
        log.append("train.step_window", run="main", first_step=step - 4, last_step=step, wall_s=0.05)
    if (step + 1) % every == 0:
        ws.write_json("runs/main/state.json", {"step": step + 1}, schema="test.state/1")
        log.append("train.checkpoint.complete", run="main", step=step + 1)
log.append("train.finished.summary", run="main", step=steps)
"""


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


def job(ws: Workspace, steps: int) -> list[str]:
    return [sys.executable, "-c", JOB, ws.place, str(steps)]


def test_killed_job_resumes_and_is_measured(ws: Workspace) -> None:
    result = run_drill(ws, DrillPlan("main", job(ws, 120), after_step=25, node="local-3"))
    assert result.ok, result.problem
    assert 0 <= result.detect_s < 2
    assert result.restore_s == 0.005 and result.restart_s is not None and 0 < result.restart_s < 30
    assert result.lost_steps is not None and 0 <= result.lost_steps <= 10
    assert [(node["node"], node["state"]) for node in list_nodes(ws)] == [("local-3", "isolated")]
    report = ws.read_json("reports/drill.json")
    assert report["drills"][0]["removed_node"] == "local-3" and "local processes" in report["conditions"]
    goodput = write_goodput(ws)
    assert goodput["buckets"]["fault"] > 0


def test_a_frozen_job_is_found_by_its_silence(ws: Workspace) -> None:
    result = run_drill(ws, DrillPlan("main", job(ws, 120), kind="hang", after_step=15, silence_s=0.7))
    assert result.ok, result.problem
    assert 0.6 < result.detect_s < 5
    run_drill(ws, DrillPlan("main", [*job(ws, 400)], after_step=150, node="local-1"))
    assert [drill["kind"] for drill in ws.read_json("reports/drill.json")["drills"]] == ["hang", "kill"]


def test_a_job_that_does_not_come_back_fails_the_drill(ws: Workspace) -> None:
    once = f"import os; os.path.exists({ws.place!r} + '/runs/main/state.json') and exit(9)\n" + JOB
    result = run_drill(ws, DrillPlan("main", [sys.executable, "-c", once, ws.place, "200"], after_step=15))
    assert not result.ok and result.problem is not None and "ended with 9" in result.problem
    assert ws.read_json("reports/drill.json")["drills"][0]["ok"] is False


def test_a_job_that_ends_too_early_cannot_be_drilled(ws: Workspace) -> None:
    with pytest.raises(CheckFailed, match="before the drill"):
        run_drill(ws, DrillPlan("main", [sys.executable, "-c", "print('no such run')"]))


def test_words_of_the_command_line() -> None:
    command = " ".join(train_command("1b", "voyage", preset="rehearsal", sets=("a=1",))[1:])
    assert command == "-m expedition train run --run 1b --workspace voyage --preset rehearsal --set a=1"
    assert drill_kind("hang") == "hang"
    with pytest.raises(UsageError):
        drill_kind("smash")

"""`expedition train` as people and schedulers use it: kill -9 and resume, dry run, verbs that steer, clean JSON."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.train.cli_kills import ended_as, kill_until_done, prepare

from expedition.cli.main import run
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace


def test_the_command_killed_at_random_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, killed = prepare(tmp_path / "whole"), prepare(tmp_path / "killed")
    assert run(["train", "run", "-w", whole.place]) == 0
    assert kill_until_done(killed, 2, random.Random(2)) >= 1
    found, wanted = ended_as(killed), ended_as(whole)
    for part, value in wanted.items():
        assert found[part] == value, part


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("command") / "w")


def everything(ws: Workspace) -> list[str]:
    return list(ws.store.list())


def test_a_dry_run_tells_the_plan_and_writes_nothing(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(ws)
    assert run(["train", "run", "--dry-run", "-w", ws.place, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 60 and told["tokens"] == 60 * 6 * 256
    assert told["learning_rate"][-1]["step"] == 59 and told["learning_rate"][-1]["learning_rate"] == 2e-4
    assert [entry["step"] for entry in told["checkpoints"]["permanent"]] == [20, 40, 60]
    assert sum(group["parameters"] for group in told["optimizer"]["groups"]) == told["model"]["total"]
    assert sum(told["planned_tokens_by_kind"].values()) == pytest.approx(told["tokens"])
    assert told["goes_on"] == {"step": 0, "checkpoint": None, "parent": None, "decisions": 0, "paused_by": None}
    assert everything(ws) == before


def test_the_steering_verbs_have_the_exit_codes_of_a_pause(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "stop", "-w", ws.place]) == 2, "no process trains"
    assert run(["train", "pause", "-w", ws.place, "--by", "ada", "--why", "power"]) == 0
    capsys.readouterr()
    assert run(["train", "run", "-w", ws.place]) == 3
    told = capsys.readouterr()
    assert "paused by ada" in told.err and "power" in told.err and "train resume" in told.err and not told.out
    assert run(["train", "status", "-w", ws.place, "--json", "--attempts"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "paused" and status["held"]["why"] == "power" and status["attempts"] == []
    sets = ["--set", "runs.main.length=4 steps"]
    assert run(["train", "resume", "-w", ws.place, "--json", *sets]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["finished"] and "step 4/4" in told.err and "by kind" in told.err
    assert run(["train", "fork", "-w", ws.place, "--run", "twin", "--change", "length=6 steps", *sets]) == 0
    assert run(["train", "run", "-w", ws.place, "--run", "twin"]) == 0
    assert run(["train", "rewind", "-w", ws.place, "--to", "2", "--skip", "3-3", *sets]) == 2
    assert "--abandon" in capsys.readouterr().err
    assert run(["train", "rewind", "-w", ws.place, "--to", "2", "--skip", "3-3", "--abandon", *sets]) == 0
    assert run(["train", "run", "-w", ws.place, *sets]) == 0


def test_torchrun_as_it_is_starts_ranks_and_one_process_goes_on(tmp_path: Path) -> None:
    ws = prepare(tmp_path / "w")
    sets = ["--set", "runs.main.length=4 steps"]
    spread = ["--set", "runs.main.parallel.tp=2", "--set", "runs.main.parallel.recompute=layers"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    # Not --run main: torchrun's own parser takes that for its --run-path.
    command = [*torchrun, "expedition", "train", "run", "main", "-w", ws.place, *sets, *spread]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=one_thread())
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert run(["train", "resume", "main", "-w", ws.place, "--set", "runs.main.length=6 steps"]) == 0
    steps = read_metrics(ws, "main", ["loss"])["step"].tolist()
    assert steps == list(range(6))
    assert run(["train", "run", "main", "--run", "other", "-w", ws.place]) == 2


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "src")}

"""MFU over a run's life with restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.train.reports.utilisation import Machine, utilisation
from expedition.watch.segments import MetricWriter
from expedition.workspace import Workspace
from tests.train.tiny import tiny_run


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


def attempt(ws: Workspace, first: int, steps: int, step_s: float, setup_s: float) -> None:
    """A process that began at step `first` and recorded `steps` steps."""
    ws.events("train").append("train.started", run="main", step=first, setup_s=setup_s)
    with MetricWriter(ws, "main", from_step=first) as writer:
        for step in range(first, first + steps):
            writer.append(step, step, {"step_s": step_s}, time_s=float(step))


def test_a_restart_costs_what_is_done_again_and_the_time_in_between(ws: Workspace) -> None:
    run = tiny_run(length="40 steps")
    machine = Machine(flops_per_position=1e6, peak_flops=1e9)
    attempt(ws, 0, 20, 0.5, setup_s=0.0)
    whole = utilisation(ws, run, "main", machine)
    positions = run.batch_tokens_at(0)
    assert whole["restarts"] == 0 and whole["mfu"] == pytest.approx(positions * 1e6 / (0.5 * 1e9))
    ws.events("train").append("train.started", run="main", step=20, setup_s=1.0)  # died before its first row
    attempt(ws, 15, 10, 0.25, setup_s=2.0)
    found = utilisation(ws, run, "main", machine)
    assert [row["kept_rows"] for row in found["attempts"]] == [15, 10]
    assert found["restarts"] == 1
    assert found["training_s"] == pytest.approx(15 * 0.5 + 10 * 0.25)
    assert found["repeated_s"] == pytest.approx(5 * 0.5)
    assert found["setup_s"] == pytest.approx(2.0)
    assert found["wall_s"] == pytest.approx(sum(found[p] for p in ("training_s", "repeated_s", "setup_s", "down_s")))
    assert found["mfu"] == pytest.approx(25 * positions * 1e6 / (found["wall_s"] * 1e9))
    assert found["mfu"] < found["attempts"][1]["mfu"]
    assert [point["kept"] for point in found["curve"]] == [True] * 15 + [False] * 5 + [True] * 10


def test_without_a_known_peak_the_rate_is_given_and_mfu_is_unknown(ws: Workspace) -> None:
    attempt(ws, 0, 4, 0.5, setup_s=0.1)
    found = utilisation(ws, tiny_run(), "main", Machine(1e6, None))
    assert found["mfu"] is None and found["positions_per_s"] > 0

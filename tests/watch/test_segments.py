"""Metric segments: what a kill, a restart and many ranks must not spoil."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import InputError
from expedition.watch.segments import MetricWriter, attempts, ranks, read_metrics, read_vectors, runs
from expedition.workspace import Workspace


@pytest.fixture
def ws(place: str) -> Workspace:
    return Workspace.open(place, create=True)


def test_rows_come_back_as_written(ws: Workspace) -> None:
    with MetricWriter(ws, "main", flush_rows=7) as writer:
        for step in range(20):
            writer.append(step, step * 100, {"loss": 5 - step * 0.1, **({"mfu": 0.5} if step % 2 else {})})
    columns = read_metrics(ws, "main")
    assert columns["step"].tolist() == list(range(20))
    assert columns["tokens"].dtype == np.int64
    np.testing.assert_allclose(columns["loss"], 5 - np.arange(20) * 0.1)
    assert np.isnan(columns["mfu"][0]) and columns["mfu"][1] == 0.5


def test_restart_supersedes_and_loses_nothing(ws: Workspace) -> None:
    first = MetricWriter(ws, "main", flush_rows=4)
    for step in range(50):
        first.append(step, step, {"loss": 1.0})
    first.flush()
    second = MetricWriter(ws, "main", flush_rows=4)
    for step in range(30, 40):
        second.append(step, step, {"loss": 2.0})
    second.flush()
    third = MetricWriter(ws, "main")
    third.append(35, 35, {"loss": 3.0})
    third.flush()
    assert (first.attempt, second.attempt, third.attempt) == (1, 2, 3)
    columns = read_metrics(ws, "main", ["loss"])
    assert columns["step"].tolist() == list(range(36))
    assert columns["loss"].tolist() == [1.0] * 30 + [2.0] * 5 + [3.0]


def test_an_attempt_that_died_before_its_first_flush_changes_nothing(ws: Workspace) -> None:
    with MetricWriter(ws, "main") as writer:
        writer.append(0, 0, {"loss": 1.0})
    MetricWriter(ws, "main").append(0, 0, {"loss": 9.0})
    assert read_metrics(ws, "main")["loss"].tolist() == [1.0]


def test_training_time_goes_on_without_the_downtime(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with MetricWriter(ws, "main") as writer:
        for step in range(10):
            writer.append(step, step, {}, time_s=100.0 * step)
    with MetricWriter(ws, "main") as writer:
        assert 400.0 <= writer.append(5, 5, {}) < 401.0


def test_steps_must_grow_within_an_attempt(tmp_path: Path) -> None:
    writer = MetricWriter(Workspace.open(tmp_path / "w", create=True), "main")
    writer.append(3, 3, {})
    with pytest.raises(InputError, match="growing steps"):
        writer.append(3, 3, {})


def test_vectors_keep_their_shape(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    counts_LE = np.arange(8).reshape(2, 4)
    with MetricWriter(ws, "main", flush_rows=2) as writer:
        writer.append(0, 0, {"loss": 1.0}, {"expert_tokens": counts_LE})
        writer.append(1, 1, {"loss": 1.0})
        writer.append(2, 2, {"loss": 1.0}, {"expert_tokens": counts_LE * 2})
    steps, values = read_vectors(ws, "main", "expert_tokens")
    assert steps.tolist() == [0, 2]
    np.testing.assert_array_equal(values, [counts_LE, counts_LE * 2])


def test_many_ranks_write_side_by_side(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    for rank in range(0, 256, 17):
        with MetricWriter(ws, "main", rank) as writer:
            writer.append(1, 1, {"gpu_power_w": float(rank)})
    assert ranks(ws, "main") == list(range(0, 256, 17))
    assert read_metrics(ws, "main", rank=255)["gpu_power_w"].tolist() == [255.0]
    assert runs(ws) == ["main"]


def test_a_run_without_metrics_is_empty(tmp_path: Path) -> None:
    columns = read_metrics(Workspace.open(tmp_path / "w", create=True), "nothing", ["loss"])
    assert columns["step"].size == 0 and columns["loss"].size == 0


WRITER = """
import sys, time
from expedition.watch.segments import MetricWriter
from expedition.workspace import Workspace
writer = MetricWriter(Workspace.open(sys.argv[1]), "main", flush_rows=3)
for step in range(int(sys.argv[2]), 100000):
    writer.append(step, step, {"loss": 1.0})
    print(step, flush=True)
    time.sleep(0.002)
"""


def test_kill_9_leaves_whole_segments(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    for start in (0, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "w"), str(start)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(60)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        steps = read_metrics(ws, "main")["step"]
        assert steps.tolist() == list(range(len(steps)))
        assert len(steps) > seen[-1] - 6
    time.sleep(0)


@settings(max_examples=25, deadline=None)
@given(starts=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=4))
def test_the_newest_attempt_wins_for_every_step(
    tmp_path_factory: pytest.TempPathFactory, starts: list[tuple[int, int]]
) -> None:
    ws = Workspace.open(tmp_path_factory.mktemp("w") / "w", create=True)
    expected: dict[int, float] = {}
    for attempt, (start, length) in enumerate(starts):
        expected = {step: value for step, value in expected.items() if step < start}
        with MetricWriter(ws, "main", flush_rows=5) as writer:
            for step in range(start, start + length):
                writer.append(step, step, {"loss": float(attempt)})
                expected[step] = float(attempt)
    columns = read_metrics(ws, "main")
    assert dict(zip(columns["step"].tolist(), columns["loss"].tolist(), strict=True)) == expected


def test_rows_of_an_abandoned_line_do_not_come_back_where_the_new_one_writes_fewer(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with MetricWriter(ws, "main", from_step=0) as writer:
        for step in (3, 7, 9):
            writer.append(step, step + 1, {"loss": float(step)})
    with MetricWriter(ws, "main", from_step=8) as writer:
        writer.append(11, 12, {"loss": 11.5})
    assert read_metrics(ws, "main")["step"].tolist() == [3, 7, 11], "row 9 is of the line that was left at step 8"
    found = [(a.number, a.from_step, a.last_step, a.rows, a.kept_rows) for a in attempts(ws, "main")]
    assert found == [(1, 0, 9, 3, 2), (2, 8, 11, 1, 1)]
    assert read_metrics(ws, "main", ["loss"], attempt=1)["loss"].tolist() == [3.0, 7.0, 9.0]
    with pytest.raises(InputError, match="no attempt 3"):
        read_metrics(ws, "main", attempt=3)

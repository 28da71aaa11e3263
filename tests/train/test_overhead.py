"""The measurement of what the trainer costs runs both sides and divides what they took."""

from __future__ import annotations

import pytest
import torch
from benchmarks.train.overhead import SETTLING, Saved, figures_of, measure
from benchmarks.train.rows import ROWS, tiny


def test_both_sides_are_run_and_compared() -> None:
    found = measure(tiny(ROWS["1b"]), torch.device("cpu"), 12)
    assert found["steps"] == 12 and found["peak_memory_gib"] is None
    assert found["ratio"] == pytest.approx(found["bare_step_s"] / found["trainer_step_s"])
    assert 0 < found["data_share"] + found["callbacks_share"] < 1
    assert 0 < found["setup_s"] < found["wall_s"]


def test_what_a_checkpoint_costs_is_counted_and_kept_out_of_the_steps() -> None:
    """Steps of 1 s; the one that saves a second longer; 1.25 s while 10 s are written; the first and last anything."""
    rows = [{"step_s": 1.0, "data_s": 0.01, "other_s": 0.02} for _ in range(20)]
    rows[0] = rows[19] = {"step_s": 30.0, "data_s": 20.0, "other_s": 9.0}
    for row in rows[12:19]:
        row["step_s"] = 1.25
    rows[11] = {"step_s": 2.0, "data_s": 0.01, "other_s": 1.02}
    assert SETTLING > 0
    found = figures_of(rows, 0.98, Saved(11, 10.0), setup_s=3.0, wall_s=99.0)
    assert found["ratio"] == pytest.approx(0.98)
    assert found["data_share"] == pytest.approx(0.01) and found["callbacks_share"] == pytest.approx(0.02)
    assert found["checkpoint_s"] == pytest.approx(1.25 + 2.0) and found["checkpoint_share"] == pytest.approx(3.25 / 600)

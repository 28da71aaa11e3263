"""The comparison of FP8 with bf16, small: its statistics, its pieces, and the stress that the fall-back must survive."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from benchmarks.train.fp8_convergence import arms, cells, page, stress
from benchmarks.train.fp8_convergence.arms import ARMS, SHAPE, config_of, counting, run_of
from benchmarks.train.fp8_convergence.cells import Cell, all_cells, run_cell
from benchmarks.train.fp8_convergence.graphed import stretches, train_graphed
from benchmarks.train.fp8_convergence.loop import train_counted
from benchmarks.train.fp8_convergence.picture import draw_curves, draw_stress
from benchmarks.train.fp8_convergence.text import Corpus
from hypothesis import given
from hypothesis import strategies as st

from expedition.model.counts import count_parameters
from expedition.parallel.mesh import Ranks
from expedition.train.setup import build, fix_numerics

SMALL = {
    "hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32, "experts": 4, "top_k": 2, "expert_inner": 32,
    "mrope_section": (8, 4, 4),
}  # fmt: skip
CHANGES: dict[str, Any] = {"device": "cpu", "sequence_length": 32, "threads": 1}


def corpus() -> Corpus:
    """Phrases of a short text in any order: what follows can be learnt."""
    random = np.random.default_rng(0)
    text = random.integers(0, 60, 400)
    phrases = [text[start : start + 40] for start in random.integers(0, 360, 400)]
    return Corpus(
        np.concatenate(phrases).astype(np.uint16), 80, {"sha256": "made", "text": "made", "torch": "-", "tokens": 1}
    )


def test_the_shape_is_what_it_says() -> None:
    counts = count_parameters(config_of(SHAPE, 16_320))
    assert counts.total >= 100e6 and round(counts.total / 1e6) == 112 and round(counts.active / 1e6) == 24


@given(st.integers(0, 50), st.integers(1, 6))
def test_windows_show_each_part_once_in_a_pass(seed: int, rows: int) -> None:
    made = Corpus(np.arange(33, dtype=np.uint16), 40, {})
    seen = [window for step in range(16 // rows) for window in made.windows(seed, rows, 2, step)]
    starts = [int(window[0]) for window in seen]
    assert len(set(starts)) == len(starts) and all(start % 2 == 0 for start in starts)
    assert all((window == np.arange(window[0], window[0] + 3)).all() for window in seen)


def made_cells(shift: dict[str, float]) -> dict[tuple[str, int], dict[str, Any]]:
    """Loss curves that fall alike, one arm `shift` higher."""
    curve = [3 + math.exp(-step / 50) for step in range(400)]
    return {
        (arm, seed): {
            "losses": [(1 + shift[arm]) * (value + 0.01 * seed) for value in curve], "dropped": 0, "seconds": 1.0, "steps": 400,
        }
        for arm in shift
        for seed in (1, 2, 3)
    }  # fmt: skip


@pytest.mark.parametrize(("shift", "within"), [(0.004, True), (-0.004, True), (0.006, False)])
def test_an_arm_passes_within_half_a_per_cent(shift: float, within: bool) -> None:
    found = page.compare(made_cells({"bf16": 0.0, "e4m3": shift}))
    assert found["e4m3"]["difference"] == pytest.approx(shift, rel=1e-6) and found["e4m3"]["within"] is within
    assert found["e4m3"]["half_width"] == pytest.approx(0, abs=1e-9)
    assert all(value == pytest.approx(shift, rel=1e-6) for value in found["e4m3"]["difference_curve"])
    assert "e5m2" not in found and "difference" not in found["bf16"]


def test_intervals_are_students() -> None:
    assert page.interval([1.0]) == (1.0, None)
    mean, half = page.interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.303 / math.sqrt(3))


def test_what_has_a_result_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces: each begins where the one before ended; what was cut short is done again."""
    begun: list[Cell] = []

    class Job:
        def __init__(self, cell: Cell) -> None:
            begun.append(cell)
            if cell.arm != "e5m2" or len(begun) > len(ARMS):
                cell.path(tmp_path).write_text("{}")

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(cells, "_start", lambda cell, corpus, folder, steps: Job(cell))
    left = cells.run_missing(tmp_path, tmp_path, 1, minutes=1, together=9)
    assert left == [Cell("e5m2", 1)] and begun == all_cells()
    assert cells.run_missing(tmp_path, tmp_path, 1, minutes=1, together=2) == [] and begun[-1] == Cell("e5m2", 1)
    assert cells.run_missing(tmp_path, tmp_path, 1, minutes=0, together=2) == [] and len(begun) == 10


def test_arms_differ_in_precision_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(arms, "ROWS", 4)
    shape = SHAPE.model_copy(update=SMALL)
    found = {arm: run_cell(Cell(arm, 1), corpus(), 40, shape, **CHANGES) for arm in ARMS}
    losses = {arm: found[arm]["losses"] for arm in ARMS}
    # Gradients differ between the FP8 arms, so the first loss does not.
    assert losses["e4m3"][0] == losses["e5m2"][0] == pytest.approx(losses["bf16"][0], rel=0.01)
    assert losses["e4m3"][0] != losses["bf16"][0] and losses["e4m3"][5] != losses["e5m2"][5]
    assert {found[arm]["fp8_modules"] for arm in ("e4m3", "e5m2")} == {2 * 5} and found["bf16"]["fp8_modules"] == 0
    assert all(curve[-1] < 0.97 * curve[0] for curve in losses.values())
    rows = page.lost_by_layer({(arm, 1): cell for arm, cell in found.items()})
    assert set(rows) == {"e4m3", "e5m2"} and [row["layer"] for row in rows["e4m3"]] == [0, 1]
    assert all(0 < row["saturated"] < 0.5 and row["experts"]["hidden"] < 0.1 for row in rows["e4m3"])
    assert "experts: hidden" in page.lost_table({"lost": rows})
    json.dumps(found)


@pytest.mark.parametrize("arm", ["bf16", "e5m2"])
def test_recorded_steps_are_the_trainers(arm: str) -> None:
    """Where the learning rate stays anyway: the same losses bit for bit, and the same counts of what FP8 loses."""
    run = run_of(
        counting(ARMS[arm], 10), 20, 1, learning_rate={"peak": 1e-3, "floor": 1e-3, "warmup": "0 steps"}, **CHANGES
    )
    found = []
    for train in (train_graphed, train_counted):
        fix_numerics(run)
        built = build(config_of(SHAPE.model_copy(update=SMALL), 80), run, Ranks(0, 1), torch.device("cpu"))
        found.append(train(built, run, corpus()))
    assert found[0]["losses"] == found[1]["losses"] and found[0]["gradient_norms"] == found[1]["gradient_norms"]
    counts = [[counted["modules"] for counted in one["counted"][-1:]] for one in found]
    assert counts[0] == counts[1] and bool(counts[0]) is (arm != "bf16")


def test_a_learning_rate_is_held_for_a_stretch() -> None:
    spans = list(stretches(run_of({"compute": "bf16"}, 2000, 1)))
    assert (
        [first for first, _ in spans[1:]] == [end for _, end in spans[:-1]]
        and spans[0][0] == 0
        and spans[-1][1] == 2000
    )
    assert {end - first for first, end in spans if first < 100} == {10} and {e - f for f, e in spans if f >= 100} == {
        100
    }


def test_forced_outliers_break_fp8_and_the_fall_back_saves_it() -> None:
    """bf16 does not notice them; without them FP8 is as good; with them it is not; modules given back make it so again."""
    torch.set_num_threads(1)
    plan = stress.Stress(before=60, steps=40, double_every=1, count_every=4, last=10)
    found = stress.run_stress(corpus(), stress.SHAPE.model_copy(update=SMALL), plan, **CHANGES)
    assert found["ok"] and found["degraded"] > stress.DEGRADED and abs(found["saved"]) < arms.BOUND
    assert found["ends"]["plain"] == pytest.approx(found["ends"]["bf16"], rel=arms.BOUND)
    assert found["alignment"] > 0.9
    saved, broken = found["arms"]["saved"], found["arms"]["fp8"]
    assert {fall["module"] for fall in saved["fallen"]} == {f"model.layers.{n}.mlp.experts" for n in (0, 1)}
    assert all("hidden" in fall["reason"] for fall in saved["fallen"])
    assert max(row["worst"] for row in broken["counted"]) > 0.5 and broken["fallen"] == []
    assert max(row["worst"] for row in found["arms"]["plain"]["counted"]) < 0.1
    ElementTree.fromstring(draw_stress(found))
    assert "after steps" in page.stress_text(found)


def test_the_picture_and_the_table_show_every_arm() -> None:
    results = {
        "device": "a device", "torch": "2", "sources_sha256": "s", "parameters": {"total": 115e6, "active": 26e6},
        "steps": 400, "tokens_a_step": 64, "corpus": corpus().about, "last_steps": 100, "window": page.WINDOW,
        "arms": page.compare(made_cells({"bf16": 0.0, "e4m3": 0.001, "e5m2": 0.01})),
    }  # fmt: skip
    drawn = ElementTree.fromstring(draw_curves(results))
    lines = [element for element in drawn if element.tag.endswith("polyline") and element.get("stroke")]
    assert len(lines) == 3 + 2
    table = page.table(results)
    assert table.count("\n| ") == 1 + 3 and "+0.10 %" in table and table.rstrip().endswith("| no | 0 |")

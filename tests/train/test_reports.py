"""Proof of concept, performance and distillation on a tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import UsageError
from expedition.train.reports.distill import distil, sign_flip_p_value
from expedition.train.reports.performance import performance_report
from expedition.train.reports.poc import largest_jump, proof_of_concept
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace, layout
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run


def test_the_proof_of_concept_answers_its_questions(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    run = tiny_run(length="20 steps", precision={"fp8": {"modules": ("*_proj", "*.experts"), "recipe": "rowwise"}})
    report = proof_of_concept(ws, programme_with(poc=run), inputs=Inputs(CountingSource(run), tiny_config()))
    assert ws.read_json(layout.report("poc")) == {**report, "schema": "train.poc/1"}
    assert report["steps"] == 20 and report["gpus"] == 0
    assert report["loss_last"] < report["loss_first"]
    assert report["largest_jump"] <= report["jump_bound"]
    assert report["nonfinite"] == 0
    assert report["loader_headroom"] > 1
    assert report["reproducible"]["hash_a"] == report["reproducible"]["hash_b"]
    assert 0 < report["fp8"]["relative_difference"] < 0.05
    assert {"cpu", "emulated fp8", "short run"} <= set(report["conditions"])
    router = report["router"]
    assert router["experts_with_gradient"] == router["experts"] == 8
    assert router["finite_difference_error"] <= router["bound"]


def test_the_parts_of_the_performance_report_add_up_to_the_step(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    run = tiny_run()
    programme = programme_with(main=run)
    with pytest.raises(UsageError, match="no timed steps"):
        performance_report(ws, programme, "main")
    train_run(ws, programme, "main", inputs=Inputs(CountingSource(run), tiny_config()))
    report = performance_report(ws, programme, "main")
    assert report["parts_sum_ratio"] == pytest.approx(1.0, abs=0.02)
    assert report["mfu"] is None
    assert report["flops_per_s"] > 0
    assert "cpu" in report["conditions"]
    assert "Bottleneck" in ws.store.read(layout.report_page("performance")).decode()


def test_a_student_with_a_teacher_is_compared_with_one_without(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    teacher, student = tiny_run(length="30 steps"), tiny_run(length="8 steps", teacher={"run": "main", "weight": 0.7})
    programme = programme_with(main=teacher, student=student)
    inputs = Inputs(CountingSource(teacher), tiny_config())
    with pytest.raises(UsageError, match="no complete checkpoint"):
        distil(ws, programme, inputs=inputs)
    train_run(ws, programme, "main", inputs=inputs)
    report = distil(ws, programme, inputs=inputs)
    assert report["sequences"] == 32
    assert report["gain_nats"] == pytest.approx(report["baseline"]["loss"] - report["student"]["loss"])
    assert 0 < report["p_value"] <= 1


def test_the_paired_test_tells_a_gain_from_noise() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    noise = generator.normal(size=64)
    assert sign_flip_p_value(noise - noise.mean(), 3) == pytest.approx(0.5, abs=0.02)
    assert sign_flip_p_value(noise + 1.0, 3) < 1e-3
    assert sign_flip_p_value(noise - 1.0, 3) > 0.999


@given(st.integers(0, 2**32), st.integers(10, 60))
def test_a_falling_noisy_curve_has_no_jump_and_a_step_up_has_one(seed: int, steps: int) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    curve = 8.0 * np.exp(-np.arange(steps) / 20) + generator.normal(scale=0.02, size=steps)
    jump, bound = largest_jump(curve, 8.0, 0.5)
    assert jump is not None and bound is not None and jump <= bound
    curve[steps // 2 :] += 3.0
    jump, bound = largest_jump(curve, 8.0, 0.5)
    assert jump is not None and bound is not None and jump > bound

"""Replay: generated troubles are caught in time, real healthy runs are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.errors import InputError
from expedition.plan.rules import RulesPlan
from expedition.watch.curves import read_curves
from expedition.watch.replay import MIN_ROWS, replay, replay_real
from expedition.watch.rules import RunShape
from expedition.watch.rules.arm import RULE_NAMES
from expedition.workspace import Workspace

MOE = RunShape(experts=64, top_k=8)
CURVES = Path(__file__).resolve().parents[3] / "shared" / "data" / "validation" / "curves"
needs_curves = pytest.mark.skipif(not CURVES.is_dir(), reason="curves of real runs are not beside this checkout")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


@pytest.mark.parametrize("seed", [1, 7, 99])
def test_the_chapters_rules_are_proven(ws: Workspace, seed: int) -> None:
    report = replay(ws, RulesPlan(), MOE, seed=seed)
    assert {rule["rule"]: rule["proven"] for rule in report["rules"]} == dict.fromkeys(RULE_NAMES, True)
    assert ws.read_json("reports/replay.json")["rules"] == report["rules"]


@pytest.mark.parametrize("unit,value", [("steps", 60), ("steps", 5000), ("tokens", 2e6)])
def test_scaled_rules_are_proven_at_their_own_scale(ws: Workspace, unit: str, value: float) -> None:
    span = {"span": {"value": value, "unit": unit}, "bins": 12}
    plan = RulesPlan.model_validate({"rise": span, "plateau": {**span, "min_fall_nats": 0.05}})
    report = replay(ws, plan, MOE)
    assert all(rule["proven"] for rule in report["rules"]), report


def test_a_refused_rule_is_neither_armed_nor_proven(ws: Workspace) -> None:
    report = replay(ws, RulesPlan(), RunShape(experts=4, top_k=2))
    last = report["rules"][-1]
    assert (last["rule"], last["armed"], last["proven"]) == ("expert_imbalance", False, False)
    assert "at most" in last["refused"]


@needs_curves
def test_real_healthy_runs_are_left_alone() -> None:
    healthy = [curve for curve in read_curves(CURVES) if curve.healthy and len(curve.rows) >= MIN_ROWS]
    assert len(healthy) > 15
    for curve in healthy:
        for rule, step in replay_real(RulesPlan(), curve).items():
            listed = step is not None and any(abs(step - outlier) <= 5 for outlier in curve.outlier_steps)
            assert step is None or listed, f"{rule} fired at {step} on {curve.name}"


@needs_curves
def test_real_spikes_and_nans_are_caught() -> None:
    caught = 0
    for curve in read_curves(CURVES):
        if curve.healthy or curve.onset_step is None or len(curve.rows) < 100:
            continue
        fired = replay_real(RulesPlan(), curve)["spike"]
        assert fired is not None, curve.name
        caught += 1
    assert caught >= 8
    nan = next(curve for curve in read_curves(CURVES) if curve.name == "issue_nanogpt_215_v100_fp16")
    assert replay_real(RulesPlan(), nan)["nan"] == nan.onset_step


def test_logs_of_real_runs_are_read(open_data: Path) -> None:
    curves = read_curves(open_data / "logs")
    assert len(curves) == 3 and all(len(curve.rows) > 1000 for curve in curves)
    for curve in curves:
        assert replay_real(RulesPlan(), curve)["nan"] is None


def test_a_folder_without_curves_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no curves"):
        read_curves(tmp_path)

"""The stop rules: each fires on its trouble, none on health, and what cannot fire is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import ProgrammeError
from expedition.plan.rules import ExpertImbalanceRulePlan, NanRulePlan, RulesPlan, SpikeRulePlan
from expedition.watch.rules import (
    Observation,
    RunShape,
    arm,
    observe,
    refusals,
    top_expert_share,
    warm,
)
from expedition.watch.rules.expert_imbalance import ExpertImbalanceRule, reachable_shares
from expedition.watch.rules.nan import NanRule
from expedition.watch.rules.spike import SpikeRule
from expedition.watch.rules.trend import mann_kendall_z, theil_sen
from expedition.watch.segments import MetricWriter
from expedition.workspace import Workspace

MOE = RunShape(experts=16, top_k=2)


def row(step: int, **values: float) -> Observation:
    return Observation(step, step * 1000, float(step), values)


@pytest.mark.parametrize("values", [{"loss": math.nan}, {"loss": math.inf}, {"loss": 2.0, "gradient_norm": math.nan},
                                    {"loss": 2.0, "nonfinite": 1.0}])  # fmt: skip
def test_nan_rule_sees_every_form_of_non_finite(values: dict[str, float]) -> None:
    rule = NanRule(NanRulePlan())
    assert rule.observe(row(0, loss=2.0, gradient_norm=1.0, nonfinite=0.0)) is None
    alarm = rule.observe(row(1, **values))
    assert alarm is not None and alarm.pauses and alarm.step == 1


def test_nan_rule_counts_only_consecutive_steps() -> None:
    rule = NanRule(NanRulePlan(consecutive_steps=3))
    fired = [rule.observe(row(s, loss=math.nan if s % 3 else 2.0)) for s in range(19)]
    assert not any(fired)
    fired = [rule.observe(row(s, loss=math.nan)) for s in range(20, 25)]
    assert [alarm is not None for alarm in fired] == [False, False, True, False, False]
    assert fired[2] is not None and fired[2].began_step == 20


def test_spike_needs_to_last() -> None:
    rule = SpikeRule(SpikeRulePlan())
    for step in range(40):
        assert rule.observe(row(step, loss=3.0 + 0.01 * (step % 3))) is None
    assert rule.observe(row(40, loss=6.0)) is None
    assert rule.observe(row(41, loss=3.0)) is None
    alarms = [rule.observe(row(42 + n, loss=6.0)) for n in range(4)]
    assert [alarm is not None for alarm in alarms] == [False, False, True, False]
    assert alarms[2] is not None and alarms[2].began_step == 42 and alarms[2].value == 6.0


def test_fast_early_descent_is_no_spike() -> None:
    rule = SpikeRule(SpikeRulePlan())
    assert not any(rule.observe(row(s, loss=2 + 9 * math.exp(-s / 30))) for s in range(300))


def test_share_counts_assignments_not_tokens() -> None:
    balanced_LE = np.full((3, 64), 100)
    assert top_expert_share(balanced_LE) == pytest.approx(7 / 64)
    skewed_LE = balanced_LE.copy()
    skewed_LE[1, :7] = 10_000
    assert top_expert_share(skewed_LE) == pytest.approx(70_000 / (70_000 + 57 * 100))


def test_imbalance_rule_looks_at_the_first_tokens_only() -> None:
    plan = ExpertImbalanceRulePlan(until_tokens=100_000, window_observations=5)
    late = ExpertImbalanceRule(plan)
    assert not any(late.observe(row(s, top10_expert_share=0.9)) for s in range(101, 140))
    early = ExpertImbalanceRule(plan)
    assert any(early.observe(row(s, top10_expert_share=0.9)) for s in range(50))


@pytest.mark.parametrize(("experts", "top_k"), [(4, 2), (8, 2), (10, 2)])
def test_a_rule_that_cannot_fire_is_refused(experts: int, top_k: int) -> None:
    with pytest.raises(ProgrammeError, match="cannot guard") as error:
        arm(RulesPlan(), RunShape(experts=experts, top_k=top_k))
    assert error.value.fix is not None and "max_share" in error.value.fix


def test_a_span_longer_than_the_run_is_refused() -> None:
    plan = RulesPlan.model_validate({"rise": {"span": {"value": 500, "unit": "steps"}}})
    assert [r.rule for r in refusals(plan, RunShape(experts=16, top_k=2, steps=400))] == ["rise"]
    assert refusals(plan, RunShape(experts=16, top_k=2, steps=4000)) == []


def test_a_dense_model_has_no_expert_rule() -> None:
    assert [rule.name for rule in arm(RulesPlan(), RunShape())] == ["nan", "spike", "rise", "plateau"]
    assert [rule.name for rule in arm(RulesPlan(), MOE, only=("nan", "spike"))] == ["nan", "spike"]


@settings(deadline=None)
@given(experts=st.integers(2, 128), data=st.data())
def test_no_routing_leaves_the_reachable_shares(experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, min(experts, 8)))
    seed = data.draw(st.integers(0, 2**16))
    random = np.random.Generator(np.random.PCG64(seed))
    preference = random.normal(size=experts) * random.uniform(0, 4)
    scores_TE = preference + random.gumbel(size=(50, experts))
    chosen_TK = np.argsort(scores_TE, axis=1)[:, -top_k:]
    counts_LE = np.bincount(chosen_TK.ravel(), minlength=experts)[None]
    least, most = reachable_shares(experts, top_k, 0.1)
    assert least - 1e-9 <= top_expert_share(counts_LE) <= most + 1e-9


def test_state_after_resume_equals_state_without_a_kill(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    plan = RulesPlan.model_validate({"rise": {"span": {"value": 48, "unit": "steps"}}})
    losses = [2 + 0.02 * max(0, s - 60) for s in range(200)]
    whole = arm(plan, MOE)
    alarms = [(a.rule, a.step) for s, loss in enumerate(losses) for a in observe(whole, row(s, loss=loss))]
    with MetricWriter(ws, "main") as writer:
        for step in range(80):
            writer.append(step, step * 1000, {"loss": losses[step]}, time_s=float(step))
    resumed = arm(plan, MOE)
    assert warm(resumed, ws, "main", before_step=80) == 80
    again = [(a.rule, a.step) for s in range(80, 200) for a in observe(resumed, row(s, loss=losses[s]))]
    assert again == [alarm for alarm in alarms if alarm[1] >= 80] and any(rule == "rise" for rule, _ in alarms)


@settings(deadline=None)
@given(slope=st.floats(-5, 5), noise=st.integers(0, 1000))
def test_theil_sen_ignores_a_quarter_of_outliers(slope: float, noise: int) -> None:
    at = np.arange(24, dtype=np.float64)
    values = slope * at
    outliers = np.random.Generator(np.random.PCG64(noise)).choice(24, 5, replace=False)
    values[outliers] += 1000.0
    assert theil_sen(at, values) == pytest.approx(slope, abs=abs(slope) * 0.2 + 60)
    clean = theil_sen(at, slope * at)
    assert clean == pytest.approx(slope, abs=1e-9)


def test_mann_kendall_is_symmetric() -> None:
    values = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0])
    assert mann_kendall_z(values) == pytest.approx(-mann_kendall_z(-values))
    assert mann_kendall_z(np.arange(12.0)) == pytest.approx(65 / math.sqrt(12 * 11 * 29 / 18))

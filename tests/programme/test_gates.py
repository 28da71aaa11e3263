"""Verdicts: from evidence only, never from its absence, and never from evidence that another hand changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import UsageError
from expedition.plan import dump_programme, load_programme
from expedition.plan.criteria import CriterionPlan
from expedition.programme import evaluate_gates, sign, waive, write_cost, write_design
from expedition.programme.criteria import QUERIES
from expedition.programme.gates import exit_code, holds
from expedition.workspace import Workspace, layout

PROGRAMME = load_programme("rehearsal")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def verdict(ws: Workspace, criterion: str) -> str:
    return next(item.verdict for item in evaluate_gates(ws, PROGRAMME) if item.id == criterion)


def _poc(ws: Workspace, steps: int = 30) -> None:
    report = {"steps": steps, "gpus": 0, "nonfinite": 0, "conditions": ["cpu"]}
    ws.write_json(layout.report("poc"), report, schema="reports.poc/1")


def test_every_criterion_has_a_query_and_every_query_a_criterion() -> None:
    assert set(QUERIES) == {plan.id for plan in PROGRAMME.criteria}


def test_criteria_match_the_table() -> None:
    """The records of the w26 preset are exactly the rows of the criteria table."""
    table = Path(__file__).resolve().parents[3] / "shared" / "spec" / "criteria.md"
    if not table.exists():
        pytest.skip("the criteria table is not beside this checkout (../shared/spec/criteria.md)")
    rows = re.findall(r"^\| ([a-z0-9_]+\.[a-z0-9_]+) \|", table.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(plan.id for plan in load_programme("w26").criteria)


def test_empty_workspace_passes_nothing(ws: Workspace) -> None:
    judgements = evaluate_gates(ws, PROGRAMME)
    assert not [item.id for item in judgements if item.verdict == "pass" and item.id != "data.lead_time"]
    assert exit_code(judgements) == 0
    assert exit_code(judgements, strict=True) == 1


def test_verdict_carries_measured_threshold_conditions_and_evidence(ws: Workspace) -> None:
    _poc(ws)
    item = next(item for item in evaluate_gates(ws, PROGRAMME) if item.id == "poc.steps")
    assert (item.verdict, item.measured, item.threshold, item.chapter_threshold, item.scaled) == (
        "pass", 30.0, 30.0, 1000.0, True,
    )  # fmt: skip
    assert item.conditions == ("cpu",)
    assert item.evidence == ({"path": "reports/poc.json", "sha256": ws.hash("reports/poc.json")},)


def test_one_changed_byte_fails(ws: Workspace) -> None:
    _poc(ws)
    assert verdict(ws, "poc.steps") == "pass"
    path = ws.path("reports/poc.json")
    path.write_bytes(path.read_bytes().replace(b'"steps": 30', b'"steps": 31'))
    item = next(item for item in evaluate_gates(ws, PROGRAMME) if item.id == "poc.steps")
    assert item.verdict == "fail" and "evidence changed" in item.reason
    assert exit_code([item]) == 1


def test_rewriting_by_its_own_verb_is_no_change(ws: Workspace) -> None:
    _poc(ws, steps=10)
    assert verdict(ws, "poc.steps") == "fail"
    _poc(ws, steps=40)
    assert verdict(ws, "poc.steps") == "pass"


def test_laptop_never_passes_what_needs_the_cluster(ws: Workspace) -> None:
    ws.write_json(
        "cluster/burnin/b1.json",
        {"hours": 0.01, "nodes": ["a"], "gpus": 0, "passed": ["a"], "failed": []},
        schema="cluster.burnin/1",
    )
    assert verdict(ws, "cluster.burnin_hours") == "no evidence"
    assert verdict(ws, "cluster.burnin_nodes") == "no evidence"


def test_review_needs_every_reviewer_on_the_document_as_it_is(ws: Workspace) -> None:
    ws.write_text(layout.PROGRAMME, dump_programme(PROGRAMME))
    write_design(ws, PROGRAMME)
    assert verdict(ws, "design.document") == "pass"
    for reviewer in PROGRAMME.schedule.reviewers[:-1]:
        sign(ws, PROGRAMME, reviewer, "design", "somebody")
    assert verdict(ws, "design.review") == "no evidence"
    sign(ws, PROGRAMME, PROGRAMME.schedule.reviewers[-1], "design", "somebody")
    assert verdict(ws, "design.review") == "pass"
    sign(ws, PROGRAMME, "legal", "design", "somebody", "major")
    assert verdict(ws, "design.review") == "fail"
    ws.write_text(layout.report_page("design"), "another text")
    assert verdict(ws, "design.review") == "no evidence"
    with pytest.raises(UsageError, match="reviewers:"):
        sign(ws, PROGRAMME, "nobody", "design", "somebody")


def test_waiver_is_on_record_and_never_for_compliance(ws: Workspace) -> None:
    waive(ws, PROGRAMME, "poc.gpus", "lead", "no GPU in a rehearsal")
    item = next(item for item in evaluate_gates(ws, PROGRAMME) if item.id == "poc.gpus")
    assert item.verdict == "waived" and "no GPU" in item.reason
    with pytest.raises(UsageError, match="cannot be waived"):
        waive(ws, PROGRAMME, "compliance.before_w3", "lead", "hurry")


def test_missing_evidence_blocks_in_w26_and_not_in_the_rehearsal(ws: Workspace) -> None:
    strict = {item.id: item.blocking for item in evaluate_gates(ws, load_programme("w26"))}
    loose = {item.id: item.blocking for item in evaluate_gates(ws, PROGRAMME)}
    assert strict["cluster.burnin_nodes"] and not loose["cluster.burnin_nodes"]
    assert strict["compliance.before_w3"] and loose["compliance.before_w3"]


def test_costs_are_the_chapters(ws: Workspace) -> None:
    ws.write_text(layout.PROGRAMME, dump_programme(PROGRAMME))
    report = write_cost(ws, PROGRAMME, rehearsal_tokens_per_s=20e6)
    assert report["rate_per_hour"] == 1024
    assert report["outage_usd"] == 12288
    for criterion in ("cost.rate", "cost.outage_12h", "cost.rehearsal"):
        assert verdict(ws, criterion) == "pass"


def test_unknown_gate_lists_the_gates(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="W10"):
        evaluate_gates(ws, PROGRAMME, "W99")


NUMBERS = st.floats(-1e15, 1e15)


def plan(comparator: str, threshold: float | None = None, upper: float | None = None) -> CriterionPlan:
    return CriterionPlan(
        id="a.b", gate="W2", title="t", comparator=comparator, threshold=threshold, upper=upper, evidence="e"
    )  # type: ignore[arg-type]


@given(NUMBERS, NUMBERS)
def test_comparators_are_what_they_say(value: float, threshold: float) -> None:
    assert holds(plan(">", threshold), value) == (value > threshold)
    assert holds(plan("<", threshold), value) == (value < threshold)
    if abs(value - threshold) > 1e-6 * max(abs(value), abs(threshold), 1):
        assert holds(plan(">=", threshold), value) == (value > threshold)
        assert holds(plan("<=", threshold), value) == (value < threshold)
        assert not holds(plan("=", threshold), value)
    assert holds(plan("=", value), value) and holds(plan(">=", value), value) and holds(plan("<=", value), value)
    low, high = sorted((value, threshold))
    assert holds(plan("between", low, high), value)


@pytest.mark.parametrize("value", [1.0, 5, False])
def test_pass_wants_true_itself(value: float) -> None:
    assert not holds(plan("pass"), value)
    assert holds(plan("all"), True)

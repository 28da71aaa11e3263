"""Burn-in and the ledger: faulty workers are found, healthy ones are not, and isolation holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.cluster.burnin import Burnin, judge, planted_faults, run_burnin
from expedition.cluster.load import LoadPlan, Round, expected_digest, run_load
from expedition.cluster.nodes import list_nodes, record_node, return_node, serving
from expedition.errors import UsageError
from expedition.plan.cluster import ClusterPlan
from expedition.workspace import Workspace

PLAN = ClusterPlan.model_validate(
    {"burnin": {"matrix_size": 192, "memory_bytes": 2**21, "file_bytes": 2**18, "slow_factor": 2.0}}
)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


def test_faulty_workers_are_isolated_and_only_they(ws: Workspace) -> None:
    nodes = ("n0", "n1", "n2", "n3", "n4")
    report = run_burnin(ws, PLAN, Burnin(nodes, 6, faults={"n1": "wrong", "n2": "slow", "n3": "dead"}))
    assert report["failed"] == ["n1", "n2", "n3"] and report["passed"] == ["n0", "n4"]
    states = {node["node"]: node["state"] for node in list_nodes(ws)}
    assert states == {"n0": "in service", "n1": "isolated", "n2": "isolated", "n3": "isolated", "n4": "in service"}
    history = next(node for node in list_nodes(ws) if node["node"] == "n1")["history"]
    assert [entry["to"] for entry in history] == ["suspect", "isolated"] and "wrong result" in history[0]["reason"]
    assert report["gpus"] == 0 and "nodes are local processes" in report["conditions"]
    assert report["hours"] < 0.1


def test_a_burnin_by_time_judges_unequal_numbers_of_rounds(ws: Workspace) -> None:
    plan = PLAN.model_copy(update={"burnin": PLAN.burnin.model_copy(update={"hours": 0.8 / 3600})})
    report = run_burnin(ws, plan, Burnin(("n0", "n1"), 0, faults={"n1": "wrong"}))
    assert report["failed"] == ["n1"]


def test_an_isolated_node_stays_out_until_a_person_returns_it(ws: Workspace) -> None:
    run_burnin(ws, PLAN, Burnin(("n0", "n1", "n2"), 2, faults={"n1": "wrong"}))
    again = run_burnin(ws, PLAN, Burnin(("n0", "n1", "n2"), 2))
    assert again["failed"] == ["n1"] and serving(ws) == ["n0", "n2"]
    with pytest.raises(UsageError, match="isolated"):
        record_node(ws, "n1", "in service", "somebody says so")
    return_node(ws, "n1", "memory module replaced")
    assert serving(ws) == ["n0", "n2"]
    assert run_burnin(ws, PLAN, Burnin(("n0", "n1", "n2"), 2))["failed"] == []
    with pytest.raises(UsageError, match="no node"):
        return_node(ws, "n9", "?")


def test_the_right_digest_does_not_depend_on_who_computes(tmp_path: Path) -> None:
    plan = LoadPlan("n", 7, 3, 0, 128, 2**20, 2**16, str(tmp_path))
    digests = [result.digest for result in run_load(plan)]
    assert digests == [expected_digest(7, number, 128, 2**20) for number in range(3)]
    assert len(set(digests)) == 3
    assert not list(tmp_path.iterdir())


def test_slowness_is_judged_by_the_best_round() -> None:
    def made(node: str, seconds: list[float]) -> list[Round]:
        return [Round(node, n, "d", True, s, 1.0, 1.0, 1.0) for n, s in enumerate(seconds)]

    rounds = {"a": made("a", [1.0, 9.0]), "b": made("b", [9.0, 1.1]), "c": made("c", [3.0, 3.1])}
    found = {m.node: m.problems for m in judge(rounds, ["d", "d"], PLAN)}
    assert not found["a"] and not found["b"] and "limit" in found["c"][0]


def test_unknown_faults_are_refused() -> None:
    assert planted_faults(["n1=slow"], ("n1",)) == {"n1": "slow"}
    for text in ("n1=sleepy", "n9=slow", "slow"):
        with pytest.raises(UsageError, match="cannot plant"):
            planted_faults([text], ("n1",))

"""The verbs: what they write, that they can be repeated, and that a folder without questions is no failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expedition.errors import UsageError
from expedition.evaluate import evaluate, evaluate_all, evaluate_nightly, measure
from expedition.evaluate.cases import chosen
from expedition.evaluate.nightly import regressions
from expedition.evaluate.redteam.suite import packaged_suite
from expedition.evaluate.runner import load_tasks, samples_key
from expedition.evaluate.subject import Subject, open_subject
from expedition.evaluate.task import Score
from expedition.sampleworld.evaluation.tasks import TASKS
from expedition.workspace import Workspace, layout
from tests.evaluate.world import ITEMS, programme, write_workspace


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Workspace:
    ws = write_workspace(tmp_path_factory.mktemp("done"))
    evaluate_nightly(ws, programme(), "main", data, max_items=4)
    evaluate_all(ws, programme(), "main", None, data)
    return ws


def test_second_evaluation_has_the_same_digest(done: Workspace) -> None:
    found = done.read_json(layout.report("evaluation"))["reproducible"]
    assert found["digest_a"] == found["digest_b"]


def test_results_have_every_task_with_its_control(done: Workspace) -> None:
    results = done.read_json("evaluations/main-checkpoint_2k_tokens/results.json")
    assert [task["name"] for task in results["tasks"]] == list(programme().evaluation.attributes)
    assert {task["name"] for task in results["tasks"]} == set(TASKS)
    for task in results["tasks"]:
        assert task["control"]["n"] == task["n"] == ITEMS
        assert 0 <= task["p_value"] <= 1
        assert len(done.store.read(samples_key("main-checkpoint_2k_tokens", task["name"])).splitlines()) == ITEMS
    assert all(entry["value"] > 1 and entry["tokens"] > 0 for entry in results["perplexity"].values())
    assert set(results["perplexity"]) >= {"web", "code", "image-text", "audio-text", "driving"}


def test_an_evaluation_on_record_is_not_done_again(done: Workspace, data: Path) -> None:
    before = done.read_json("evaluations/main-checkpoint_2k_tokens/results.json")
    assert evaluate(done, programme(), "main", None, data) == before
    part = evaluate(done, programme(), "main", "checkpoint_1k_tokens", data, max_items=4)
    assert part["conditions"][-1].startswith("part of the items")


def test_reports_say_what_they_measured(done: Workspace) -> None:
    context = done.read_json(layout.report("long-context"))
    assert [(c["length"], c["depth"]) for c in context["grid"]] == [(n, d) for n in (200, 300) for d in (0.1, 0.5, 0.9)]
    assert all(cell["mean_tokens"] <= cell["length"] for cell in context["grid"])
    assert done.store.read("reports/long-context.svg").startswith(b"<svg")
    team = done.read_json(layout.report("red-team"))
    assert team["prompts"] == len(packaged_suite().prompts) and team["languages"] == ["en", "zh"]
    assert team["controls"]["refuse"]["refused"]["value"] == 1.0
    assert team["controls"]["previous"]["checkpoint"] == "checkpoint_1k_tokens"
    report = done.read_json(layout.report("evaluation"))
    for claim in [*report["limits"], *report["directions"]]:
        value = done.read_json(claim["evidence"]["path"])
        for part in claim["evidence"]["field"].split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    assert done.store.exists(layout.report_page("evaluation")) and done.store.exists(layout.report_page("red-team"))


def test_cases_are_real_answers_on_a_page_of_their_own(done: Workspace) -> None:
    report = done.read_json(layout.report("cases"))
    assert {"driving", "speech", "picture", "clip", "text"} <= {case["kind"] for case in report["cases"]}
    page = done.store.read(report["page"]).decode()
    assert "data:image/" in page and "http" not in page.replace("http-equiv", "")
    samples = {
        row["id"]: row
        for task in TASKS
        for row in map(json.loads, done.store.read(samples_key("main-checkpoint_2k_tokens", task)).splitlines())
    }
    assert all(bool(samples[case["item"]]["correct"]) == case["success"] for case in report["cases"])


def test_nightly_reports_every_permanent_checkpoint(done: Workspace) -> None:
    report = done.read_json(layout.report("nightly"))
    assert [row["name"] for row in report["checkpoints"]] == ["checkpoint_1k_tokens", "checkpoint_2k_tokens"]
    assert all(row["reported"] for row in report["checkpoints"])


def test_lost_answers_are_a_regression_and_noise_is_not(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    results = []
    for name, right in (("a", 30), ("b", 29), ("c", 4)):
        rows = [{"id": str(n), "correct": n < right} for n in range(40)]
        ws.store.write(samples_key(f"main-{name}", "colour"), b"".join(json.dumps(r).encode() + b"\n" for r in rows))
        results.append({"run": "main", "checkpoint": name, "tasks": [{"name": "colour"}]})
    assert regressions(ws, results[0], results[1], 0.001) == []
    (found,) = regressions(ws, results[1], results[2], 0.001)
    assert (found["task"], found["lost"], found["won"], found["after"]) == ("colour", 25, 0, "c")


def test_a_folder_without_questions_is_no_evidence_and_no_failure(tmp_path: Path) -> None:
    ws = write_workspace(tmp_path / "ws", seeds=(1,))
    (tmp_path / "mine").mkdir()
    summary = evaluate_all(ws, programme(), "main", None, tmp_path / "mine")
    assert summary["tasks"] == [] and summary["effective_length"] == 0
    report = ws.read_json(layout.report("evaluation"))
    assert any("no evidence" in claim["claim"] for claim in report["limits"])
    assert ws.read_json(layout.report("cases"))["cases"] == []


def test_an_unknown_checkpoint_is_answered_with_the_known(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="no checkpoint") as error:
        open_subject(ws, programme(), "main", "checkpoint_9k_tokens")
    assert "checkpoint_1k_tokens" in str(error.value)


def test_cases_are_the_surest_and_the_least_sure() -> None:
    scores = [Score(str(n), 0, n < 3, 1.0, (0.0, -float(n + 1))) for n in range(6)]
    assert chosen(scores) == [2, 0, 5, 3]


def test_measuring_writes_nothing(subject: Subject, data: Path) -> None:
    before = sorted(subject.ws.store.list(""))
    tasks = load_tasks(programme(), data, 2)
    assert len(measure(subject, tasks, 2).results["tasks"]) == len(TASKS)
    assert sorted(subject.ws.store.list("")) == before

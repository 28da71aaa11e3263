"""The report of decontamination: every removal with item, overlap and place; escaped; written once a version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expedition.data.builder import build
from expedition.data.stages.benchmark_files import Item
from expedition.data.stages.decontaminate import BenchmarkIndex, leak_reason, parse_leaks
from expedition.data.versions.leaks import is_due, page, report_leaks
from expedition.plan import load_programme
from expedition.workspace import Workspace, layout
from tests.data import raw_folder

QUESTION = (
    "A fisherman sells sixteen herrings at the market every morning and keeps three for his own breakfast, "
    "so how many herrings did he catch in a week of five days?"
)
NOTES = "note {} is about a boat and a mill by the water, where people come by to see what is there to see . " * 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    data = raw_folder.write(tmp_path_factory.mktemp("raw") / "data")
    quiz = data / "eval" / "quiz"
    quiz.mkdir(parents=True)
    (quiz / "test.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n")
    (quiz / "broken.jsonl").write_text("{")
    leak = f"<b>read this|</b> `now` {QUESTION.upper()} and then tell me what it is that you think of it"
    long = "\n\n".join([*(NOTES.replace("{}", str(number)) for number in range(120)), QUESTION, "The end of it."])
    with (data / "notes" / "leaks.jsonl").open("w") as lines:
        for text in (leak, long):
            lines.write(json.dumps({"text": text}) + "\n")
    ws = raw_folder.workspace(tmp_path_factory.mktemp("built") / "ws")
    stages = json.dumps(["decontaminate"])
    sets = [
        f"data.stages.synthetic={stages}",
        f"data.stages.web={stages}",
        "data.tokenizer.compact_entries=700",
        "workers=1",
    ]
    build(ws, load_programme("rehearsal", sets), data, "v0.1", skip_unapproved=True)
    return ws, data


def test_every_removal_names_item_overlap_and_document(built: tuple[Workspace, Path]) -> None:
    ws, _ = built
    report = ws.read_json(layout.report("decontamination"))
    assert (report["version"], report["removed"], report["cut"]) == ("v0.1", 1, 1)
    assert report["searched"]["quiz"] == 1
    assert [row["path"] for row in report["unread"]] == ["quiz/broken.jsonl"]
    by_action = {row["action"]: row for row in report["rows"]}
    assert {row["item"] for row in report["rows"]} == {"quiz/test.jsonl#1.question"}
    assert by_action["removed"]["overlap"] == by_action["cut"]["overlap"] == 1.0
    assert by_action["removed"]["excerpt"].startswith("a fisherman sells sixteen herrings")
    assert report["by_benchmark"] == [{"name": "quiz", "documents": 2}]
    assert all(row["document"] and row["path"].startswith("notes/leaks.jsonl") for row in report["rows"])
    text = ws.store.read(layout.report_page("decontamination")).decode()
    assert "quiz/test.jsonl" in text and "broken.jsonl" in text


def test_a_report_that_is_missing_is_made_by_the_next_build(built: tuple[Workspace, Path]) -> None:
    ws, data = built
    before = ws.read_json(layout.report("decontamination"))
    assert not is_due(ws, "v0.1")
    ws.store.delete(layout.report("decontamination"))
    assert is_due(ws, "v0.1")
    build(ws, load_programme("rehearsal"), data, "v0.1")
    after = ws.read_json(layout.report("decontamination"))
    assert after["rows"] == before["rows"]
    assert report_leaks(ws, "v0.1", data / "eval")["searched"] == before["searched"]


def test_reasons_are_read_back_whatever_the_text_holds() -> None:
    index = BenchmarkIndex.from_items([Item("quiz", 'quiz/a "b": c.jsonl#1', QUESTION)])
    text = f'"]}} : {QUESTION} | <script>'
    reason = leak_reason(text, index.leaks(text), 3)
    assert [(row["item"], row["overlap"]) for row in parse_leaks(reason)] == [('quiz/a "b": c.jsonl#1', 1.0)]
    assert parse_leaks("benchmark leaks are bad: [1]") == []


def test_excerpts_are_escaped_on_the_page() -> None:
    hostile = "<img src=x onerror=alert(1)>|[a](javascript:b)\x1b[2J\n# head"
    row = {"action": "removed", "document": "d", "source": "s", "path": "p", "benchmark": "q", "item": hostile}
    report = {
        "version": "v0.1", "searched": None, "unread": [], "removed": 1, "cut": 0, "by_benchmark": [], "by_source": [],
        "rows": [{**row, "overlap": 0.75, "excerpt": hostile}], "rows_total": 1,
    }  # fmt: skip
    shown = page(report)
    assert "<img" not in shown and "\x1b" not in shown and "](javascript" not in shown.replace("\\]", "")
    assert len(shown.splitlines()[-1].replace("\\|", "").split("|")) == 8

"""Card, report and figures: what is on record is said, what is not is said to be missing."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.compliance import Statement, append
from expedition.release import write_card
from expedition.release.carbon import CPU_W, GPU_W, OVERHEAD, estimate
from expedition.release.drawing import curve, scores
from expedition.release.tables import table
from expedition.workspace import Workspace
from tests.evaluate.world import programme, write_workspace

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50)


def test_card_without_evidence_says_so(ws: Workspace) -> None:
    card = write_card(ws, programme())
    missing = {name for name, there in card["sections"].items() if not there}
    assert missing == {"training_data", "compliance", "evaluation", "limits", "bias", "carbon"}
    assert "bias is not measured" in card["text"] and "unknown" in card["text"]
    assert "more information needed" not in card["text"].lower()
    assert ws.store.read("reports/model-card.md").decode() == card["text"]


def test_card_marks_rehearsal_approvals_and_quotes_the_reports(tmp_path: Path) -> None:
    ws = write_workspace(tmp_path)
    entry = append(ws, Statement("approve", "pages", "a person", "a try", scope="rehearsal"))
    ws.write_json(
        "data/dataset/v0.1/manifest.json",
        {
            "content_hash": "ab" * 32,
            "kinds": {"web": {"documents": 7, "tokens": 700, "expanded_tokens": 700}},
            "sources": [{"name": "pages", "kind": "web", "licence": "CC0-1.0", "approval_id": entry.id}],
            "stages": {"web": ["repair"]},
            "scope": "rehearsal",
        },
        schema="data.manifest/1",
    )
    ws.write_json(
        "runs/main/summary.json",
        {"wall_s": 3600.0, "device": "cpu", "world_size": 2, "steps": 2},
        schema="train.summary/1",
    )
    claim = {"claim": "cannot count | to three", "evidence": {"path": "x.json", "field": "tasks.0"}}
    other = {"checkpoint": "checkpoint_1k_tokens", "prompts": 3, "categories": ["hate"], "model": {"toxic": 0.5}}
    ws.write_json(
        "reports/evaluation.json", {"checkpoint": "checkpoint_2k_tokens", "limits": [claim]}, schema="evaluate.report/1"
    )
    ws.write_json("reports/red-team.json", other, schema="evaluate.red-team/1")
    card = write_card(ws, programme())
    assert "approved for rehearsal only" in card["text"] and "Approved for rehearsal only" in card["text"]
    assert "cannot count" in card["text"]
    assert card["sections"]["compliance"] and card["sections"]["limits"] and card["sections"]["carbon"]
    assert not card["sections"]["bias"], "that report is about another checkpoint"
    kwh = CPU_W * OVERHEAD / 1000
    assert f"{kwh:.3g} kWh" in card["text"] and "Estimated" in card["text"]


def test_carbon_counts_gpus_and_knows_nothing_without_hours() -> None:
    summaries = {
        "main": {"wall_s": 7200.0, "device": "NVIDIA H100", "world_size": 8},
        "poc": {"wall_s": None, "device": "cpu"},
    }
    found = estimate(summaries, 0.5)
    assert found is not None and len(found.runs) == 1
    assert found.kwh == 2 * 8 * GPU_W * OVERHEAD / 1000 and found.kg == found.kwh * 0.5
    assert estimate({}, 0.5) is None


def test_report_of_the_release_lists_its_evidence(ws: Workspace) -> None:
    text = ws.path("release/v1.0/technical_report.md").read_text()
    assert "not been evaluated" in text and "No metrics of this run" in text
    assert ws.read_json("reports/release.json")["technical_report"] is False
    manifest = json.loads(ws.path("release/v1.0/manifest.json").read_text())
    assert all(key in text for key in manifest["evidence"])


@settings(max_examples=50, deadline=None)
@given(NUMBERS, st.text(max_size=20))
def test_curve_is_well_formed_for_any_numbers(values: list[float], title: str) -> None:
    printable = "".join(letter for letter in title if letter.isprintable())
    y = np.clip(np.asarray(values, dtype=np.float64), -1e12, 1e12)
    drawn = curve(printable, np.arange(len(y), dtype=np.float64), y, "step", "nats")
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert "nan" not in drawn.replace(printable, "") and "inf" not in drawn.replace(printable, "")


def test_scores_draw_a_bar_and_a_chance_line_each() -> None:
    task = {"name": "a<b", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "chance": 0.25}
    root = ET.fromstring(scores("t", [task, task]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}rect")) == 2
    assert sum(line.get("stroke-dasharray") is not None for line in root.findall(f"{space}line")) == 2


def test_cells_cannot_break_a_table() -> None:
    assert table(("a",), [("x | y\nz",), (None,)]) == "| a |\n|---|\n| x \\| y z |\n| unknown |\n"

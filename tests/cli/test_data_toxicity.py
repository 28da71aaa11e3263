"""`expedition data toxicity` and `train-toxicity`, as scripts call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expedition.cli.main import run


def test_a_score_a_line_in_order_and_reasons_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "The boats are back."}, {"text": "All immigrants are vermin."}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verb = ["data", "toxicity", "--input", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    assert run([*verb, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["above_half"] == 1
    assert [json.loads(line)["score"] > 0.5 for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        False,
        True,
    ]
    assert run([*verb, "--explain"]) == 0
    told = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])["sentences"][0]
    assert {"category": "dehumanise", "term": "vermin", "disguised": False} in told["terms"]


def test_a_missing_file_or_model_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a line"}\n')
    out = ["--out", str(tmp_path / "out.jsonl")]
    assert run(["data", "toxicity", "--input", str(tmp_path / "absent.jsonl"), *out]) == 2
    assert "absent.jsonl" in capsys.readouterr().err
    assert run(["data", "toxicity", "--input", str(tmp_path / "in.jsonl"), *out, "--model", "nobody"]) == 2
    assert "choose from: packaged" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_trained_model_is_used_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"the glorbs {word}", "label": 1} for word in ("zop", "snarf", "blem")]
    rows += [{"text": f"the boats {word}", "label": 0} for word in ("sail", "rest", "leave")]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 3))
    model = str(tmp_path / "own.json")
    train = ["data", "train-toxicity", "--input", str(tmp_path / "labelled.jsonl"), "--out", model, "--json"]
    assert run(train) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == 18
    scored = ["--input", str(tmp_path / "labelled.jsonl"), "--out", str(tmp_path / "out.jsonl"), "--model", model]
    assert run(["data", "toxicity", *scored]) == 0
    scores = [json.loads(line)["score"] for line in (tmp_path / "out.jsonl").read_text().splitlines()[:6]]
    assert min(scores[:3]) > max(scores[3:])

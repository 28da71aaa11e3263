"""`expedition data identify-language` and `train-language`, as scripts call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expedition.cli.main import run


def test_a_tag_a_line_and_counts_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text(
        "Das ist ein kurzer deutscher Satz.\n佢哋喺街市買咗好多魚。\n--- 17 ---\n", "utf-8"
    )
    verb = ["data", "identify-language", "--lines", str(tmp_path / "lines.txt"), "--out", str(tmp_path / "tags.txt")]
    assert run([*verb, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["lines"], told["languages"]) == (3, {"de": 1, "yue": 1, "und": 1})
    assert (tmp_path / "tags.txt").read_text() == "de\nyue\nund\n"


def test_a_missing_file_or_model_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text("a line of text\n")
    out = ["--out", str(tmp_path / "tags.txt")]
    assert run(["data", "identify-language", "--lines", str(tmp_path / "absent.txt"), *out]) == 2
    assert "absent.txt" in capsys.readouterr().err
    model = ["--model", str(tmp_path / "absent.ftz")]
    assert run(["data", "identify-language", "--lines", str(tmp_path / "lines.txt"), *out, *model]) == 2
    assert "absent.ftz" in capsys.readouterr().err
    assert not (tmp_path / "tags.txt").exists()


def test_a_trained_model_is_used_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"quc\tutz tinamit jun qachalal winaq nimalaj {word}\tg{word}" for word in ("ja", "che", "ab", "xo", "ki")]
    lines += [f"en\tthe river and the village of boats {word}\tg{word}" for word in ("is", "was", "has", "are", "of")]
    (tmp_path / "labelled.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    model = str(tmp_path / "own.npz")
    assert run(["data", "train-language", "--lines", str(tmp_path / "labelled.tsv"), "--out", model, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["languages"] == 2
    (tmp_path / "lines.txt").write_text("utz jun tinamit winaq nimalaj qachalal\n", "utf-8")
    verb = ["data", "identify-language", "--lines", str(tmp_path / "lines.txt"), "--out", str(tmp_path / "tags.txt")]
    assert run([*verb, "--model", model]) == 0
    assert (tmp_path / "tags.txt").read_text() == "quc\n"

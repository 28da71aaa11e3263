"""`expedition data order` and `data mix`: one JSON document each, and errors with a way out."""

from __future__ import annotations

import json

import pytest
from tests.data.loading.made_version import generated, write_version

from expedition.cli.main import run
from expedition.plan import load_programme
from expedition.plan.load import dump_programme
from expedition.workspace import Workspace


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("order")
    write_version(Workspace.open(place / "voyage", create=True), "v0.1", generated(1))
    programme = load_programme(
        "rehearsal",
        [
            "runs.main.sequence_length=256",
            "runs.main.length=60 steps",
            "runs.main.segments=[{from_step: 0, version: v0.1}]",
        ],
    )
    (place / "programme.yaml").write_text(dump_programme(programme))
    return ["--workspace", str(place / "voyage"), "--programme", str(place / "programme.yaml")]


def answer(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> dict[str, object]:
    assert run(["data", *arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_decision_shows_in_segments_and_in_the_explanation(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    step = answer(capsys, ["order", "show", "--step", "3", "--ranks", "2", *options])
    assert {sample["rank"] for sample in step["samples"]} == {0, 1}  # type: ignore[attr-defined]
    decision = ["--from-step", "40", "--reason", "anneal", "--who", "me", "--mix", "web=0.5,code=0.5"]
    added = answer(capsys, ["order", "add", *decision, "--exclude", "sample-driving", *options])
    listed = answer(capsys, ["order", "segments", *options])["segments"]
    assert [segment["from_step"] for segment in listed] == [0, 40]  # type: ignore[attr-defined]
    assert listed[1]["excluded"] == added["excluded"] == ["sample-driving"]  # type: ignore[index]
    explained = answer(capsys, ["order", "explain", "--step", "45", "--index", "1", *options])
    assert "decided by me: anneal" in str(explained["words"])
    assert run(["data", "order", "explain", "--step", "45", "--index", "1", *options]) == 0
    assert "7. it holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["order", "explain"], "say which sample"),
        (["order", "explain", "--step", "0", "--index", "999"], "give --index 0.."),
        (["order", "add", "--from-step", "50", "--reason", "r", "--who", "w", "--exclude", "x"], "no source, shard"),
        (["order", "add", "--from-step", "50", "--reason", "r", "--who", "w", "--mix", "web"], "kind=share"),
        (["mix", "v9"], "there is no dataset v9"),
    ],
)
def test_mistakes_are_said_with_a_way_out(
    options: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["data", *arguments, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_mix_prints_shares_and_fails_with_the_number_when_caps_forbid_it(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, ["mix", "v0.1", *options])
    assert found["problems"] == [] and found["by_language"][0]["name"] == "en"  # type: ignore[index]
    assert run(["data", "mix", "v0.1", *options]) == 0
    assert "by modality" in capsys.readouterr().out
    assert run(["data", "mix", "v0.1", *options, "--set", "data.mix.max_epochs=1"]) == 1
    assert "are too many" in capsys.readouterr().err

"""The kit in strange hands: it answers, it reproduces the published number, and it notices when it cannot."""

from __future__ import annotations

import json
import math
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from expedition.errors import UsageError
from expedition.evaluate.backends.native import Native
from expedition.release import stranger_test
from expedition.release.kit import requirements
from expedition.release.reproduction import Measurer, choose_reproduction
from expedition.release.stranger import GUARD, _run
from expedition.train import load_model
from expedition.workspace import Workspace
from tests.evaluate.world import byte_tokenizer, programme, write_workspace


def test_stranger_reproduces_a_number(ws: Workspace) -> None:
    report = stranger_test(ws, programme())
    assert report["metric"]["ok"] and report["metric"]["name"] == "colour accuracy"
    assert report["metric"]["reproduced"] == pytest.approx(report["metric"]["published"], abs=0.02)
    assert 0 < report["first_inference_s"] < 3600 and report["metric_s"] > 0
    assert [command["exit"] for command in report["commands"]] == [0, 0]
    assert len(report["answers"]) == 1, "the data has no held-out picture"
    assert "same interpreter" in report["conditions"]


def test_number_that_is_wrong_is_not_reproduced(copy: Path, tmp_path: Path) -> None:
    path = copy / "kit/sample_data/metric.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "published": 2.0}))
    ran = _run(copy, tmp_path, "kit/reproduce.py")
    assert ran.code == 1 and ran.result is not None and not ran.result["ok"]


def test_guard_refuses_this_package_and_connections(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/asks.py").write_text("import expedition\n")
    ran = _run(tmp_path, tmp_path, "kit/asks.py")
    assert ran.code != 0 and "asked for a package of the project" in ran.problem
    (tmp_path / "kit/calls.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))\n")
    assert "asked for a connection" in _run(tmp_path, tmp_path, "kit/calls.py").problem
    assert "expedition" in GUARD


def test_without_a_release_there_is_nothing_to_test(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not released"):
        stranger_test(write_workspace(tmp_path), programme())


def test_requirements_are_pinned() -> None:
    assert all("==" in line and "+" not in line for line in requirements())


def test_held_out_texts_are_the_number_where_there_is_no_task(tmp_path: Path) -> None:
    """Licensed texts before others; without any text there is no number."""
    ws = write_workspace(tmp_path)
    model = load_model(ws, "main").eval()
    measurer = Measurer(ws, programme(), Native(model, programme().media), byte_tokenizer())
    assert choose_reproduction(measurer, None, "v0.1") is None
    rows = [
        {"id": f"{n}", "kind": "web", "text": f"text {n}", "licence": "CC0-1.0" if n % 2 else None} for n in range(6)
    ]
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as shard:
        for number, row in enumerate(rows):
            body = json.dumps(row).encode()
            member = tarfile.TarInfo(f"{number:08d}.json")
            member.size = len(body)
            shard.addfile(member, BytesIO(body))
    ws.store.write("data/heldout/v0.1/shards/web-00000.tar", buffer.getvalue())
    found = choose_reproduction(measurer, None, "v0.1")
    assert found is not None and found.kind == "perplexity"
    assert [item["id"] for item in found.items] == ["1", "3", "5"]
    assert math.isfinite(found.published) and found.published > 1

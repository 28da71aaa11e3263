"""The criterion on the automatic pipeline: judged by what brought the data and by pushes that were read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.plan import load_programme
from expedition.programme.evidence import Archive
from expedition.programme.gates import Judgement, judge
from expedition.workspace import Workspace, layout

PROGRAMME = load_programme("rehearsal")
LOCAL = {"common-crawl": "127.0.0.1", "github": "localhost", "youtube": "127.0.0.1"}
REMOTE = {"common-crawl": "data.commoncrawl.org", "github": "api.github.com", "youtube": "www.googleapis.com"}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def judged(ws: Workspace) -> Judgement:
    plan = next(item for item in PROGRAMME.criteria if item.id == "data.pipeline_stages")
    return judge(Archive(ws, PROGRAMME), plan, {})


def version(ws: Workspace, hosts: dict[str, str], names: tuple[str, ...] = ("a", "b", "c")) -> str:
    """A version of three sources that these connectors brought from these hosts; hash of its manifest."""
    for name, (connector, host) in zip(names, hosts.items(), strict=False):
        record = {"source": name, "origin": connector, "hosts": [host] if host else []}
        ws.write_json(f"data/acquired/{name}/00000001.json", record, schema="data.acquisition/1")
    manifest = {"dataset": "dataset", "version": "v0.1", "shards": [], "sources": [{"name": name} for name in names]}
    ws.write_json(layout.manifest("v0.1"), {**manifest, "files": {}}, schema="data.manifest/1")
    return ws.hash(layout.manifest("v0.1"))


def push(ws: Workspace, manifest: str, **changes: object) -> None:
    told = {"dataset": "dataset", "version": "v0.1", "place": "s3://b/p", "check": "read", "manifest_sha256": manifest}
    ws.events("data").append("data.push.finished", **{**told, "endpoint": None, **changes})


def test_three_connectors_and_a_push_that_was_read_back_pass(ws: Workspace) -> None:
    push(ws, version(ws, REMOTE))
    found = judged(ws)
    assert (found.verdict, found.conditions) == ("pass", ())
    assert {item["path"] for item in found.evidence} >= {f"data/acquired/{name}/00000001.json" for name in "abc"}


@pytest.mark.parametrize(
    ("hosts", "changes", "condition"),
    [
        (LOCAL, {}, "local servers"),
        (REMOTE, {"endpoint": "http://127.0.0.1:8333"}, "local servers"),
        (REMOTE, {"place": "/mnt/backup"}, "a folder in place of an object store"),
    ],
)
def test_what_is_local_is_a_condition(
    ws: Workspace, hosts: dict[str, str], changes: dict[str, str], condition: str
) -> None:
    push(ws, version(ws, hosts), **changes)
    found = judged(ws)
    assert (found.verdict, found.conditions) == ("pass", (condition,))


@pytest.mark.parametrize("changes", [{"check": "head"}, {"manifest_sha256": "0" * 64}, {"version": "v0.2"}])
def test_push_that_was_not_read_back_or_is_of_another_content_is_no_evidence(
    ws: Workspace, changes: dict[str, str]
) -> None:
    push(ws, version(ws, REMOTE), **changes)
    found = judged(ws)
    assert (found.verdict, found.reason) == (
        "no evidence",
        "v0.1: not acquired over the web: nothing; pushes read back: 0",
    )


def test_names_of_sources_are_no_evidence(ws: Workspace) -> None:
    """Folders that are called common_crawl, github and youtube were not acquired over the web for that."""
    copied = {"folder": "", "github": "", "youtube": ""}
    push(ws, version(ws, copied, ("common_crawl", "github", "youtube")))
    found = judged(ws)
    assert (found.verdict, found.measured) == ("no evidence", None)
    assert "common-crawl, github, youtube" in found.reason

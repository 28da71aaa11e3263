"""The build, end to end on raw files: approved, idempotent, kill-safe, the same bytes whatever the workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from expedition.data.builder import build, status
from expedition.data.compliance import Caps, Statement, append, audit
from expedition.data.versions import HELDOUT, difference, read_manifest, verify
from expedition.data.versions.judge import seen
from expedition.errors import CheckFailed, ComplianceRefused, InputError, UsageError
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

from . import raw_folder

SETS = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "data.heldout_fraction=0.1"]
FOLDER = layout.dataset("v0.1")


def programme(workers: int = 2) -> Programme:
    return load_programme("rehearsal", [*SETS, f"workers={workers}"])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_folder.write(tmp_path_factory.mktemp("raw") / "data")


@pytest.fixture(scope="module")
def built(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    ws = raw_folder.workspace(tmp_path_factory.mktemp("built") / "ws")
    return ws, build(ws, programme(), data_dir, "v0.1", skip_unapproved=True)


def content(ws: Workspace) -> dict[str, str]:
    """Hashes of everything in a version but the table that says when things were acquired."""
    folders = (layout.dataset("v0.1"), layout.dataset("v0.1", HELDOUT))
    return {key: ws.hash(key) for folder in folders for key in ws.store.list(folder) if "lineage" not in key}


def test_every_approved_kind_gets_in(built: tuple[Workspace, dict[str, Any]]) -> None:
    ws, result = built
    assert set(result["kinds"]) == {"web", "code", "books", "image-text", "synthetic"}
    assert result["sources"] == ["books", "code", "notes", "pages", "pictures"]
    assert list(result["unapproved"]) == ["forum"]
    report = ws.read_json(f"{FOLDER}/report.json")
    assert report["later"] == ["later"]
    assert [row["path"] for row in report["unreadable"]] == ["notes/empty.jsonl"]
    assert audit(ws)["ok"]
    assert verify(ws, "v0.1")["files"] > 3
    assert {event.kind for event in ws.events_all("data.build")} >= {"data.build.started", "data.build.finished"}


def test_what_is_dropped_has_a_stage_and_a_reason(built: tuple[Workspace, dict[str, Any]]) -> None:
    ws, _ = built
    rows = pq.read_table(ws.store.local(f"{FOLDER}/dropped.parquet")).to_pylist()
    copy = [row for row in rows if row["stage"] == "dedup"]
    assert len(copy) == 1 and copy[0]["path"] in ("pages/03.html", "pages/copy.html") and copy[0]["of"]
    assert any(row["stage"] == "decode" and row["path"] == "notes/empty.jsonl" for row in rows)
    found = seen(ws, "v0.1")
    assert {row.stage for row in found.gone} >= {"decode", "dedup", "compliance"}
    assert found.text_of is not None and "square pattern" in " ".join(
        found.text_of(row.id) for row in found.kept if row.kind == "image-text"
    )


def test_finished_version_is_returned_at_once(built: tuple[Workspace, dict[str, Any]], data_dir: Path) -> None:
    ws, result = built
    before = {key: ws.path(key).stat().st_mtime_ns for key in ws.store.list(FOLDER)}
    started = time.monotonic()
    assert build(ws, programme(), data_dir, "v0.1") == result
    assert time.monotonic() - started < 1.0
    assert before == {key: ws.path(key).stat().st_mtime_ns for key in before}


def test_build_does_not_depend_on_workers(
    built: tuple[Workspace, dict[str, Any]], data_dir: Path, tmp_path: Path
) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    build(ws, programme(workers=1), data_dir, "v0.1", skip_unapproved=True)
    assert content(ws) == content(built[0])


def test_killed_build_resumes_to_the_same_bytes(
    built: tuple[Workspace, dict[str, Any]], data_dir: Path, tmp_path: Path
) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    sets = [part for item in [*SETS, "workers=2"] for part in ("--set", item)]
    command = [sys.executable, "-m", "expedition", "data", "build", str(data_dir), "--skip-unapproved"]
    command += ["--preset", "rehearsal", "--workspace", str(tmp_path / "ws"), "--json", *sets]
    killed = 0
    for seconds in (1.2, 1.8, 2.4, 3.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert killed
    assert json.loads(done.stdout)["content_hash"] == built[1]["content_hash"]
    assert content(ws) == content(built[0])


def test_object_store_gets_the_same_bytes(
    built: tuple[Workspace, dict[str, Any]], data_dir: Path, s3_endpoint: str, tmp_path: Path
) -> None:
    ws = raw_folder.workspace(f"s3://expedition/{tmp_path.name}?endpoint={s3_endpoint}")
    build(ws, programme(), data_dir, "v0.1", skip_unapproved=True)
    assert content(ws) == content(built[0])
    assert verify(ws, "v0.1")["content_hash"] == built[1]["content_hash"]


def test_unapproved_source_stops_the_build(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws")
    with pytest.raises(ComplianceRefused, match="forum") as caught:
        build(ws, programme(), data_dir, "v0.1")
    assert caught.value.exit_code == 5
    assert "expedition compliance approve forum" in (caught.value.fix or "")
    assert not ws.store.exists(layout.manifest("v0.1"))
    assert list(ws.store.list("data/acquired")) == []


def test_later_version_adds_sources_under_the_same_tokenizer(
    built: tuple[Workspace, dict[str, Any]], data_dir: Path
) -> None:
    ws, first = built
    second = build(ws, programme(), data_dir, "v0.2", parent="v0.1", skip_unapproved=True)
    assert set(second["sources"]) - set(first["sources"]) == {"later"}
    found = difference(ws, "v0.1", "v0.2")
    assert found["tokenizer_equal"]
    assert found["documents"]["removed"] == 0 < found["documents"]["added"]
    assert status(ws, programme())["versions"] == ["v0.1", "v0.2"]
    assert read_manifest(ws, "v0.2")["parent"] == "v0.1"


def test_policies_reach_the_shards(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws", refused=("forum", "pages", "code", "books", "pictures"))
    append(ws, Statement("approve", "notes", "Ada", "half of it", policy="minimal-use", caps=Caps(share=0.5)))
    result = build(ws, programme(), data_dir, "v0.1", skip_unapproved=True)
    report = ws.read_json(f"{FOLDER}/report.json")
    row = next(row for row in report["totals"] if row["stage"] == "compliance")
    assert row["dropped"]["minimal use"] == row["in"] - row["out"] > 5
    assert result["kinds"].keys() == {"synthetic"}
    assert all(kept.url is None for kept in seen(ws, "v0.1").kept)


def test_revoked_source_is_a_violation_and_cannot_be_built_again(data_dir: Path, tmp_path: Path) -> None:
    ws = raw_folder.workspace(tmp_path / "ws", refused=("forum", "code", "books", "pictures", "later", "pages"))
    build(ws, programme(), data_dir, "v0.1", skip_unapproved=True)
    append(ws, Statement("revoke", "notes", "Ada", "the owner asked"))
    assert [(item["severity"], item["source"]) for item in audit(ws)["findings"]] == [("violation", "notes")]
    with pytest.raises(ComplianceRefused, match="'books' has no decision"):
        build(ws, programme(), data_dir, "v0.2", parent="v0.1")
    with pytest.raises(InputError, match="no approved source"):
        build(ws, programme(), data_dir, "v0.2", parent="v0.1", skip_unapproved=True)


def test_wrong_requests_are_errors_for_people(built: tuple[Workspace, dict[str, Any]], data_dir: Path) -> None:
    ws, _ = built
    with pytest.raises(InputError, match="no such folder"):
        build(ws, programme(), data_dir / "absent", "v9")
    with pytest.raises(UsageError, match="own parent"):
        build(ws, programme(), data_dir, "v9", parent="v9")
    with pytest.raises(UsageError, match="there is no dataset v7"):
        build(ws, programme(), data_dir, "v9", parent="v7")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_stage_that_fails_everywhere_stops_the_build(data_dir: Path, tmp_path: Path) -> None:
    """Given up on everything is no dataset: the build says why, and the next one tries again."""
    ws = raw_folder.workspace(tmp_path / "ws")
    broken = programme().model_copy(update={"media": programme().media.model_copy(update={"video_fps": "often"})})
    with pytest.raises(CheckFailed, match="given up"):
        build(ws, broken, data_dir, "v0.1", skip_unapproved=True)
    assert not ws.store.exists(layout.manifest("v0.1"))


def test_building_imports_no_torch() -> None:
    code = "import sys, expedition.data.builder, expedition.data.versions.prepare; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"

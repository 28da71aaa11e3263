"""The sample offered by web services: what real connectors fetch from them is what the sample holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition.data.compliance import Statement, append
from expedition.data.connectors import FetchOptions, fetch_source
from expedition.data.sources import discover
from expedition.data.sources.items import list_items
from expedition.data.sources.provenance import records
from expedition.data.sources.read import read_documents
from expedition.errors import ComplianceRefused, UsageError
from expedition.sampleworld import SOURCES, offer_sample, ports_of, prepare_data_folder
from expedition.sampleworld.services.common_crawl import index_rows
from expedition.sampleworld.services.offering import CREDENTIALS, Offering
from expedition.workspace import Workspace

SAME = ("common_crawl", "common_crawl_2", "books", "image_text", "audio_text", "driving", "synthetic", "image_text_2")
"""Sources that land under the very paths of the sample."""


@pytest.fixture(scope="module")
def offering(sample: Path) -> Iterator[Offering]:
    with offer_sample(sample) as running:
        yield running


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.open(tmp_path_factory.mktemp("services") / "ws", create=True)
    for card in SOURCES:
        if card.approve:
            append(made, Statement("approve", card.name, "Ada", "terms read"))
    return made


@pytest.fixture(scope="module")
def fetched(
    offering: Offering, ws: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
    """A data folder into which every approved source was fetched, and what each run said."""
    data = tmp_path_factory.mktemp("fetched") / "data"
    prepare_data_folder(offering, data)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield data, {card.name: fetch_source(ws, data, card.name) for card in SOURCES if card.approve}


def visible(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith(".")}


def test_what_is_fetched_is_what_the_sample_holds(
    sample: Path, fetched: tuple[Path, dict[str, dict[str, Any]]]
) -> None:
    data, said = fetched
    assert all(result["failed"] == {} for result in said.values())
    for source in SAME:
        assert visible(data / source) == visible(sample / source), source
    assert (data / "eval" / "needle" / "items.jsonl").read_bytes() == (
        sample / "eval" / "needle" / "items.jsonl"
    ).read_bytes()


def test_repositories_come_as_archives_and_only_with_a_licence(
    sample: Path, fetched: tuple[Path, dict[str, dict[str, Any]]]
) -> None:
    data, said = fetched
    told = map(json.loads, (sample / "github_code" / "licenses.jsonl").read_text("utf-8").splitlines())
    licences = {row["repo"]: row["license"] for row in told}
    without = [name for name, licence in licences.items() if licence is None]
    assert said["github_code"]["refused"] == ({"no-licence": len(without)} if without else {})
    archives = {path.name.split("--")[1]: path for path in (data / "github_code").glob("*.tar.gz")}
    assert set(archives) == set(licences) - set(without)
    for name, path in archives.items():
        with tarfile.open(path) as archive:
            members = {one.name.split("/", 1)[1]: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
        assert members == visible(sample / "github_code" / name)
    found = {record.path: record.licence for record in records(data / "github_code") if record.status == "kept"}
    assert {licence.split("-")[0] for licence in found.values() if licence} <= {"MIT", "Apache", "GPL"}


def test_videos_come_with_their_captions(sample: Path, fetched: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    data, _ = fetched
    clips = {name: content for name, content in visible(sample / "video_text").items() if name.endswith(".mp4")}
    there = visible(data / "video_text")
    assert {name: content for name, content in there.items() if name.endswith(".mp4")} == clips
    assert all(
        there[f"{name[:-4]}.en.srt"] == (sample / "video_text" / f"{name[:-4]}.srt").read_bytes() for name in clips
    )


def test_truth_names_what_was_fetched(sample: Path, fetched: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    data, _ = fetched
    lines = [json.loads(line) for line in (data / "truth.jsonl").read_text("utf-8").splitlines()]
    before = (sample / "truth.jsonl").read_text("utf-8").splitlines()
    assert len(before) * 0.95 <= len(lines) <= len(before)
    for line in lines:
        for told in [line, line.get("of", line)]:
            if line["kind"] == "unapproved":
                assert not (data / line["path"]).exists()
                continue
            assert (data / told["path"]).is_file(), told
            if told["path"].endswith(".tar.gz"):
                with tarfile.open(data / told["path"]) as archive:
                    assert archive.getmember(told["item"]).isfile()


def test_documents_are_those_of_the_sample(sample: Path, fetched: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """Equal ids of every document but those of code, whose files lie in archives: what is trained on stays the same."""

    def ids(folder: Path) -> dict[str, list[str]]:
        return {
            source.name: [
                row
                for batch in read_documents(source, list_items(source))
                if hasattr(batch, "num_rows")
                for row in batch.column("id").to_pylist()
            ]
            for source in discover(folder)
            if source.name in (*SAME, "video_text")
        }

    assert ids(fetched[0]) == ids(sample)


def test_documents_name_public_pages_not_the_services(fetched: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """Ports differ from run to run; what is built must not."""
    for source in discover(fetched[0]):
        for batch in read_documents(source, list_items(source)):
            if hasattr(batch, "num_rows"):
                assert not [url for url in batch.column("url").to_pylist() if url and "127.0.0.1" in url]


def test_refused_source_is_not_asked_for(offering: Offering, ws: Workspace, tmp_path: Path) -> None:
    prepare_data_folder(offering, tmp_path / "data")
    with pytest.raises(ComplianceRefused):
        fetch_source(ws, tmp_path / "data", "scraped_forum")
    assert not (tmp_path / "data" / "scraped_forum").exists()


def test_single_records_come_by_the_index(offering: Offering, ws: Workspace, tmp_path: Path, sample: Path) -> None:
    """The CDX protocol over the same archives: whole records alone, the one that is cut off is not indexed."""
    (tmp_path / "data").mkdir()
    url, private = offering.addresses["common_crawl"], "policy.private_networks=[127.0.0.0/8]"
    wanted = ("crawls=[SAMPLE-2026-05]", f"base={url}", f"index={url}", "urls=['*.kelpnews.example']", private)
    settings = (*wanted, "deduplicate=false", "languages=[eng]", "policy.requests_per_s=1000")
    fetch_source(ws, tmp_path / "data", "common_crawl", FetchOptions("common-crawl", settings))
    kept = [one for one in records(tmp_path / "data" / "common_crawl") if one.status == "kept"]
    rows = [row for path in sorted((sample / "common_crawl").glob("*.gz")) for row in index_rows(path.name, path)]
    mine = [row for row in rows if "kelpnews" in row["url"] and row["languages"] == "eng"]
    assert 0 < sum(one.meta["records"] for one in kept) == len(mine) < len(rows)
    assert sum("/cut/" in row["url"] for row in rows) == 2


def test_served_until_stopped(sample: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "expedition", "sample", "serve", str(sample), "--data", str(tmp_path / "data")]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n") or text.count("{") != text.count("}"):
            text += process.stdout.readline()
        told = json.loads(text)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
    assert set(told["services"]) == {"common_crawl", "common_crawl_2", "github_code", "video_text"}
    assert (tmp_path / "data" / "sources.yaml").is_file()


def test_mistakes_are_named(sample: Path, tmp_path: Path, offering: Offering) -> None:
    with pytest.raises(UsageError, match="no sample"), offer_sample(tmp_path):
        pass
    with pytest.raises(UsageError, match="into itself"):
        prepare_data_folder(offering, sample)
    with pytest.raises(UsageError, match="sources: common_crawl"):
        ports_of(["books=80"])
    taken = int(offering.addresses["github_code"].rsplit(":", 1)[1])
    with pytest.raises(UsageError, match="cannot be had"), offer_sample(sample, {"github_code": taken}):
        pass

"""kill -9 in the middle of an answer of each service; the same command again gives what an unkilled run gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from expedition.data.connectors.common_crawl import CONNECTOR as COMMON_CRAWL
from expedition.data.connectors.common_crawl import CommonCrawlConfig
from expedition.data.connectors.github import CONNECTOR as GITHUB
from expedition.data.connectors.github import GitHubConfig
from expedition.data.connectors.youtube import CONNECTOR as YOUTUBE
from expedition.data.connectors.youtube import YouTubeConfig
from expedition.data.sources.provenance import records
from tests.data.connectors.acquiring import SOURCE, acquire, approved
from tests.data.connectors.crawl_server import CRAWL, WORDS, CrawlServer, Page
from tests.data.connectors.github_server import TOKEN, GitHubServer
from tests.data.connectors.protocol_server import Answer, ProtocolServer, serving
from tests.data.connectors.test_github import repositories
from tests.data.connectors.test_youtube import VIDEOS
from tests.data.connectors.youtube_server import KEY, OAUTH, YouTubeServer


def _server(service: str) -> ProtocolServer:
    if service == "common-crawl":
        return CrawlServer(
            [Page(f"https://harbour.example/{number}", text=f"{number} {WORDS}") for number in range(12)]
        )
    return GitHubServer(repositories()) if service == "github" else YouTubeServer(list(VIDEOS))


SETTINGS = {
    "common-crawl": {"crawls": (CRAWL,), "urls": ("*.harbour.example",)},
    "github": {"organisations": ("boats",)},
    "youtube": {"playlists": ("PLboats",), "captions": True},
}
KILLED_AT = {"common-crawl": r"00001\.warc\.gz", "github": "/codeload/boats/old", "youtube": "/captions/track-open-3"}


@pytest.mark.parametrize("service", ["common-crawl", "github", "youtube"])
def test_killed_service_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    for variable, value in {"GITHUB_TOKEN": TOKEN, "YOUTUBE_API_KEY": KEY, "YOUTUBE_OAUTH_TOKEN": OAUTH}.items():
        monkeypatch.setenv(variable, value)
    with serving(_server(service)) as server:
        addresses = {"base": server.url, "index": server.url} if service == "common-crawl" else {"api": server.url}
        settings = {**SETTINGS[service], **addresses}
        approved(tmp_path)
        (tmp_path / "data").mkdir()
        _killed(server, service, settings, tmp_path)
        left = [record.path for record in records(tmp_path / "data" / SOURCE) if record.status == "kept"]
        connector, config = {
            "common-crawl": (COMMON_CRAWL, CommonCrawlConfig),
            "github": (GITHUB, GitHubConfig),
            "youtube": (YOUTUBE, YouTubeConfig),
        }[service]
        result = acquire(approved(tmp_path), tmp_path / "data", connector, config.model_validate(settings))
        assert result["failed"] == {}
        assert result["already_there"] >= len(left)
        whole = tmp_path / "whole"
        whole.mkdir()
        acquire(approved(whole), whole / "data", connector, config.model_validate(settings))
    assert _files(tmp_path / "data") == _files(whole / "data")
    kept = [record.path for record in records(tmp_path / "data" / SOURCE) if record.status == "kept"]
    assert set(Counter(kept).values()) == {1}


def _killed(server: ProtocolServer, service: str, settings: dict[str, object], folder: Path) -> None:
    """Run the command in a process and kill it when it asks for a certain address."""
    asked = threading.Event()

    def killing(answer: Answer) -> Answer:
        asked.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        return answer

    server.fail(KILLED_AT[service], killing)
    texts = [f"{name}={list(value) if isinstance(value, tuple) else value}" for name, value in settings.items()]
    texts += ["policy.allow_private=true", "policy.requests_per_s=1000", "policy.burst=1000"]
    line = [
        sys.executable, "-m", "expedition", "data", "acquire", str(folder / "data"), "--source", SOURCE, "--from", service,
        "--workspace", str(folder / "ws"), *(part for text in texts for part in ("--set", text)),
    ]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asked.set()
    assert process.wait(60) == -signal.SIGKILL


def _files(data: Path) -> dict[str, bytes]:
    """What landed, by path below the source."""
    folder = data / SOURCE
    paths = [path for path in folder.rglob("*") if path.is_file()]
    visible = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in visible}

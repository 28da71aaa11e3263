"""GitHub: lists, limits, pins, renamed repositories, archives, and licences found by text."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from expedition.data.connectors.client import Reply
from expedition.data.connectors.github import CONNECTOR, GitHubConfig, archive_licence
from expedition.data.connectors.github_api import limit_wait_s
from expedition.data.records import documents_of
from expedition.data.sources import discover
from expedition.data.sources.items import list_items
from expedition.data.sources.read import read_documents
from expedition.data.stages.code import class_of
from expedition.errors import InputError, Interrupted, UsageError
from expedition.workspace import Workspace
from tests.data.connectors.acquiring import SOURCE, acquire, approved, files_below, kept, turned_down
from tests.data.connectors.github_server import TOKEN, GitHubServer, Repository
from tests.data.connectors.protocol_server import Answer, as_json, cut_short, serving

MIT = """MIT License

Copyright (c) 2024 A. Boat

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
CODE = "def catch(boats):\n    return [boat.fish for boat in boats]\n"
GPL_TAG = "SPDX-License-Identifier: GPL-3.0-or-later\n"


def repositories() -> list[Repository]:
    return [
        Repository("boats/herring", {"LICENSE": MIT, "herring.py": CODE}, "NOASSERTION"),
        Repository("boats/cod", {"COPYING": GPL_TAG, "cod.py": CODE}, "MIT", former_names=("boats/haddock",)),
        Repository("boats/liar", {"LICENSE": f"{MIT}\nNon-commercial use only.\n", "liar.py": CODE}, "MIT"),
        Repository("boats/bare", {"bare.py": CODE}, "MIT"),
        Repository("boats/fork", {"LICENSE": MIT}, fork=True),
        Repository("boats/old", {"LICENSE": MIT, "old.py": CODE}, archived=True),
        Repository("nets/seine", {"LICENSE.txt": MIT, "seine.py": CODE}),
    ]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubServer]:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with serving(GitHubServer(repositories(), page_limit=2)) as server:
        yield server


def config(server: GitHubServer, **changes: object) -> GitHubConfig:
    return GitHubConfig.model_validate({"organisations": ("boats",), "api": server.url, **changes})


def names(data: Path) -> list[str]:
    return sorted(str(record.meta["repository"]) for record in kept(data).values())


def test_every_page_is_listed_and_licences_are_found_by_text(tmp_path: Path, github: GitHubServer) -> None:
    data = tmp_path / "data"
    result = acquire(approved(tmp_path), data, CONNECTOR, config(github))
    assert result["failed"] == {}
    assert result["refused"] == {"no-licence": 2}
    found = {str(record.meta["repository"]): record for record in kept(data).values()}
    assert {name: record.licence for name, record in found.items()} == {
        "boats/herring": "MIT",
        "boats/cod": "GPL-3.0-or-later",
        "boats/old": "MIT",
    }
    assert found["boats/herring"].meta["api_licence"] == "NOASSERTION"
    assert found["boats/cod"].meta["api_licence"] == "MIT"
    assert all(len(str(record.meta["commit"])) == 40 for record in found.values())
    reasons = {key.split("--")[1]: record.detail for key, record in turned_down(data).items()}
    assert "additional-terms is restricted" in str(reasons["liar"])
    assert "has no licence file" in str(reasons["bare"])
    assert not [path for path in files_below(data) if "liar" in path.name and path.suffix == ".gz"]


def test_archives_are_read_as_code_with_the_licence_that_was_found(tmp_path: Path, github: GitHubServer) -> None:
    data = tmp_path / "data"
    acquire(approved(tmp_path), data, CONNECTOR, config(github))
    (data / "sources.yaml").write_text(f"sources: {{{SOURCE}: {{kind: code}}}}\n")
    (source,) = discover(data)
    batches = read_documents(source, list_items(source))
    documents = [document for batch in batches if hasattr(batch, "num_rows") for document in documents_of(batch)]
    code = {document.path.split("--")[1]: document.licence for document in documents if document.text == CODE}
    assert code == {"herring": "MIT", "cod": "GPL-3.0-or-later", "old": "MIT"}


def test_second_run_fetches_nothing_and_keeps_the_commit(tmp_path: Path, github: GitHubServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    acquire(ws, data, CONNECTOR, config(github))
    archives, left = github.count("/codeload/"), github.left
    github.repositories[0].files["new.py"] = "print('later')\n"
    assert acquire(ws, data, CONNECTOR, config(github))["kept"] == 0
    assert github.count("/codeload/") == archives
    # Unchanged answers are 304, which cost nothing of the limit.
    assert github.left == left
    assert acquire(ws, data, CONNECTOR, config(github, refresh=True))["kept"] == 1
    assert len([name for name in names(data) if name == "boats/herring"]) == 2


def test_the_token_reaches_github_alone_and_is_written_nowhere(tmp_path: Path, github: GitHubServer) -> None:
    acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github))
    assert any("authorization" in asked.headers for asked in github.asked)
    assert not any("authorization" in asked.headers for asked in github.asked if asked.path.startswith("/codeload/"))
    assert not any(TOKEN in asked.path or TOKEN in str(asked.query) for asked in github.asked)
    for secret in (TOKEN, "SHORTLIVED"):
        assert not [path for path in files_below(tmp_path) if secret.encode() in path.read_bytes()]


def test_a_renamed_repository_comes_once_under_its_new_name(tmp_path: Path, github: GitHubServer) -> None:
    wanted = config(github, organisations=(), repositories=("boats/haddock", "boats/cod", "nets/seine@main"))
    acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, wanted)
    assert names(tmp_path / "data") == ["boats/cod", "nets/seine"]


def test_search_users_and_patterns_choose(tmp_path: Path, github: GitHubServer) -> None:
    wanted = config(
        github,
        organisations=(),
        users=("nets",),
        search=("boats language:python",),
        exclude=("*/old", "*/liar", "*/bare"),
    )
    acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, wanted)
    assert names(tmp_path / "data") == ["boats/cod", "boats/herring", "nets/seine"]


def test_a_short_limit_is_waited_for(tmp_path: Path, github: GitHubServer) -> None:
    github.left, github.reset_at = 3, int(time.time())
    limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(github.reset_at)}
    refused = as_json({"message": "API rate limit exceeded"}, 403, limits)

    def refill(answer: Answer) -> Answer:
        github.left = 5000
        return refused

    github.fail("/repos/boats/herring/commits", refill)
    github.fail("/repos/boats/old/commits", as_json({"message": "secondary rate limit"}, 403, {"Retry-After": "0"}))
    result = acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github, licence_classes=("permissive",)))
    assert result["kept"] == 2


def test_a_long_limit_ends_the_run_and_the_next_goes_on(tmp_path: Path, github: GitHubServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    github.left = 7
    with pytest.raises(Interrupted, match="limit ends at 20") as stopped:
        acquire(ws, data, CONNECTOR, config(github, max_wait_s=5))
    assert stopped.value.exit_code == 4
    done, archives = len(kept(data)), github.count("/codeload/")
    github.left = 5000
    result = acquire(ws, data, CONNECTOR, config(github, max_wait_s=5))
    assert (result["kept"], result["already_there"]) == (3 - done, done)
    assert github.count("/codeload/") - archives <= 5 - done
    assert names(data) == ["boats/cod", "boats/herring", "boats/old"]


def test_an_archive_refused_by_the_limit_ends_the_run_too(tmp_path: Path, github: GitHubServer) -> None:
    def used_up(answer: Answer) -> Answer:
        github.left = 0
        return as_json({"message": "API rate limit exceeded"}, 403)

    github.fail("/tarball/", used_up)
    with pytest.raises(Interrupted):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github, max_wait_s=5))


@pytest.mark.parametrize("where", ["/orgs/boats/repos", "/tarball/"])
def test_an_expired_token_is_named_with_what_to_do(tmp_path: Path, github: GitHubServer, where: str) -> None:
    github.fail(where, as_json({"message": "Bad credentials"}, 401))
    with pytest.raises(UsageError, match="expired or revoked") as failed:
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github))
    assert failed.value.exit_code == 2
    assert "export GITHUB_TOKEN" in str(failed.value)
    assert TOKEN not in str(failed.value)


def test_no_token_is_said_before_any_request(
    tmp_path: Path, github: GitHubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(UsageError, match="GITHUB_TOKEN, which is not set"):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github))
    assert github.asked == []
    assert acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github, anonymous=True))["kept"] == 3


def test_faults_of_the_network_are_tried_again(tmp_path: Path, github: GitHubServer) -> None:
    github.fail(r"/orgs/boats/repos\?.*page=2", Answer(502), cut_short)
    github.fail("/codeload/boats/herring", cut_short, Answer(500))
    github.fail("/codeload/boats/old", Answer(429, b"", {"Retry-After": "0"}))
    assert acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github))["failed"] == {}
    assert names(tmp_path / "data") == ["boats/cod", "boats/herring", "boats/old"]


def test_what_is_no_archive_fails_and_leaves_nothing(tmp_path: Path, github: GitHubServer) -> None:
    data = tmp_path / "data"
    github.fail("/codeload/boats/herring", Answer(200, b"<html>busy</html>"))
    github.fail("/codeload/boats/old", lambda answer: Answer(200, answer.body[: len(answer.body) // 2]))
    result = acquire(approved(tmp_path), data, CONNECTOR, config(github))
    assert sum(result["failed"].values()) == 2
    assert names(data) == ["boats/cod"]
    assert len([path for path in files_below(data) if path.name.endswith(".tar.gz")]) == 1
    assert acquire(approved(tmp_path), data, CONNECTOR, config(github))["kept"] == 2


def test_a_next_page_elsewhere_is_not_followed(tmp_path: Path, github: GitHubServer) -> None:
    github.fail("/orgs/boats/repos", as_json([], headers={"Link": '<http://evil.example/x?page=2>; rel="next"'}))
    with pytest.raises(Exception, match="the next page is elsewhere"):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(github))


def test_unknown_repositories_and_refs_are_named(tmp_path: Path, github: GitHubServer) -> None:
    for full_name, message in (("boats/none", "no repository boats/none"), ("boats/cod@v9", "tag or commit 'v9'")):
        wanted = config(github, organisations=(), repositories=(full_name,))
        with pytest.raises(InputError, match=message):
            acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, wanted)


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    link = tarfile.TarInfo("boats-trick-0000000/LICENSE")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    outside = tarfile.TarInfo("../../LICENSE")
    archive = tmp_path / "trick.tar.gz"
    archive.write_bytes(Repository("boats/trick", {"a.py": CODE}, extra_members=[link, outside]).tarball())
    assert archive_licence(archive) is None


def test_a_mirror_of_archives_needs_no_api(tmp_path: Path) -> None:
    mirror, data = tmp_path / "mirror", tmp_path / "data"
    (mirror / "a").mkdir(parents=True)
    (mirror / "a" / "herring.tgz").write_bytes(repositories()[0].tarball())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cod-main/LICENSES/GPL-3.0-or-later.txt", GPL_TAG)
        archive.writestr("cod-main/cod.py", CODE)
    (mirror / "cod.zip").write_bytes(buffer.getvalue())
    (mirror / "bare.tar.gz").write_bytes(repositories()[3].tarball())
    result = acquire(approved(tmp_path), data, CONNECTOR, GitHubConfig(mirror=str(mirror)))
    assert result["refused"] == {"no-licence": 1}
    assert {key: record.licence for key, record in kept(data).items()} == {
        "a/herring.tgz": "MIT",
        "cod.zip": "GPL-3.0-or-later",
    }


def test_real_repositories_have_the_licence_that_people_found(tmp_path: Path, open_data: Path) -> None:
    rows = [json.loads(line) for line in (open_data / "code" / "licenses.jsonl").read_text().splitlines()]
    groups = {"permissive": "permissive", "copyleft": "copyleft", "unknown": "none"}
    for row in rows:
        archive = tmp_path / f"{row['repo']}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(open_data / "code" / row["repo"], arcname=f"owner-{row['repo']}-0123456")
        match = archive_licence(archive)
        found = None if match is None else match.spdx
        told = row["license"]
        assert found == told or {*str(found).split(" OR ")} == {*str(told).split(" OR ")}, row["repo"]
        assert groups[class_of(found) if found else "unknown"] == row["group"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait_s"),
    [
        (200, {}, b"", None),
        (404, {}, b"", None),
        (403, {"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1100"}, b"", 7.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1100"}, b"", 101.0),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "900"}, b"", 1.0),
        (403, {"x-ratelimit-remaining": "12"}, b"You have exceeded a secondary rate limit.", 240.0),
        (403, {"x-ratelimit-remaining": "12"}, b"Repository access blocked", None),
    ],
)
def test_how_long_a_limit_lasts(status: int, headers: dict[str, str], body: bytes, wait_s: float | None) -> None:
    assert limit_wait_s(Reply("u", status, headers, body), 1000.0, 2) == wait_s


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"repositories": ["one"]},
        {"repositories": ["../../x"]},
        {"organisations": ["a/b"]},
        {"users": ["a"], "key": 1},
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GitHubConfig.model_validate(values)


def test_exit_codes_of_the_command(tmp_path: Path, github: GitHubServer) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "expedition", *arguments, "--workspace", str(tmp_path / "ws")]
        return subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), timeout=60)

    def fetch(*more: str) -> subprocess.CompletedProcess[str]:
        settings = (
            "organisations=[boats]",
            f"api={github.url}",
            "policy.allow_private=true",
            "policy.requests_per_s=1000",
            *more,
        )
        return command(
            "data", "acquire", str(tmp_path / "data"), "--source", SOURCE, "--from", "github", "--json",
            *(part for text in settings for part in ("--set", text)),
        )  # fmt: skip

    (tmp_path / "data").mkdir()
    Workspace.open(tmp_path / "ws", create=True)
    refused = fetch()
    assert (refused.returncode, github.asked) == (5, [])
    approved(tmp_path)
    github.left = 5
    limited = fetch("max_wait_s=1")
    assert limited.returncode == 4
    assert "the same command again" in limited.stderr
    github.left = 5000
    whole = fetch()
    assert whole.returncode == 0, whole.stderr
    assert names(tmp_path / "data") == ["boats/cod", "boats/herring", "boats/old"]
    for said in (refused, limited, whole):
        assert "Traceback" not in said.stderr
        assert TOKEN not in said.stdout + said.stderr

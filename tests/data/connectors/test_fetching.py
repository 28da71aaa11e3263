"""A whole acquisition: under an approval, recorded item by item, resumable after any stop, and stopped by a revocation."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expedition.cli.main import run as cli
from expedition.data.compliance import Statement, acquired, append, list_acquisitions
from expedition.data.connectors import FetchOptions, fetch_source
from expedition.data.connectors.landing import key_problem
from expedition.data.sources import kept, list_items, read_documents, records, survey
from expedition.errors import CheckFailed, ComplianceRefused, InputError, Interrupted, UsageError, WorkspaceBusy
from expedition.workspace import Workspace
from tests.data.connectors import hostile_server as lies
from tests.data.connectors.conftest import QUICK
from tests.data.connectors.hostile_server import HostileServer

POLICY = tuple(f"policy.{name}={json.dumps(value)}" for name, value in {**QUICK, "honour_opt_out": False}.items())


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def approve(ws: Workspace, source: str = "pages") -> None:
    append(ws, Statement("approve", source, "Ada", "a contract", document="contract.pdf"))


def revoke(ws: Workspace, source: str = "pages") -> None:
    append(ws, Statement("revoke", source, "Ada", "withdrawn"))


def listed(data: Path, *rows: dict[str, Any]) -> Path:
    path = data / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def fetch(ws: Workspace, data: Path, *settings: str, **options: Any) -> dict[str, Any]:
    every = (f"list={data / 'list.jsonl'}", *POLICY, *settings)
    return fetch_source(ws, data, "pages", FetchOptions("url-list", every, **options))


def test_items_land_with_their_provenance(ws: Workspace, data: Path, server: HostileServer) -> None:
    server.files["/a.txt"], server.files["/b.txt"] = b"Words of the first page.", b"Words of the second page."
    digest = hashlib.sha256(server.files["/a.txt"]).hexdigest()
    listed(
        data,
        {"url": server.url("/a.txt"), "path": "x/a.txt", "sha256": digest, "license": "CC-BY-4.0", "caption": "A"},
        {"url": server.url("/b.txt"), "path": "x/b.txt"},
    )
    approve(ws)
    result = fetch(ws, data)
    assert (result["kept"], result["failed"], result["refused"]) == (2, {}, {})
    record = kept(data / "pages")["x/a.txt"]
    assert (record.url, record.licence, record.sha256) == (server.url("/a.txt"), "CC-BY-4.0", digest)
    assert (record.approval_id, record.connector, record.meta) == ("L000001", "url-list", {"caption": "A"})
    assert acquired(ws, "pages").at("pages/x/a.txt") == record.retrieved_at
    assert list_acquisitions(ws)[0]["origin"] == "url-list"
    source = survey(data).sources[0]
    documents = {
        row["path"]: row
        for batch in read_documents(source, list_items(source))
        if not isinstance(batch, tuple) and hasattr(batch, "to_pylist")
        for row in batch.to_pylist()
    }
    assert documents["pages/x/a.txt"]["url"] == server.url("/a.txt")
    assert documents["pages/x/a.txt"]["licence"] == "CC-BY-4.0"


def test_a_second_run_fetches_nothing(ws: Workspace, data: Path, server: HostileServer) -> None:
    server.files["/a"] = b"words"
    listed(data, {"url": server.url("/a"), "path": "a.txt"})
    approve(ws)
    fetch(ws, data)
    asked = len(server.requests)
    assert fetch(ws, data)["already_there"] == 1
    assert len(server.requests) == asked
    (data / "pages" / "a.txt").write_bytes(b"wordz")
    assert fetch(ws, data)["already_there"] == 1, "the length alone does not tell"
    assert fetch(ws, data, verify=True)["kept"] == 1
    (data / "pages" / "a.txt").unlink()
    assert fetch(ws, data)["kept"] == 1


def test_no_approval_no_request(ws: Workspace, data: Path, server: HostileServer) -> None:
    listed(data, {"url": server.url("/a"), "path": "a.txt"})
    with pytest.raises(ComplianceRefused, match="approve pages"):
        fetch(ws, data)
    assert not server.requests
    assert not (data / "pages").exists()


def test_revocation_in_mid_run_stops_it(ws: Workspace, data: Path, server: HostileServer) -> None:
    """What came in after the ledger last agreed is removed; what came in before keeps its place and its record."""
    count = [0]

    def behave(handler: Any) -> None:
        count[0] += 1
        if count[0] == 100:
            revoke(ws)
        HostileServer.answer(handler, 200, b"words")

    rows = []
    for number in range(400):
        server.behaviours[f"/{number}"] = behave
        rows.append({"url": server.url(f"/{number}"), "path": f"{number:03d}.txt"})
    listed(data, *rows)
    approve(ws)
    with pytest.raises(ComplianceRefused, match="was revoked by Ada"):
        fetch(ws, data)
    assert 100 <= count[0] < 300
    there = {path.name for path in (data / "pages").iterdir() if path.name != ".acquire"}
    assert there == {path for path in kept(data / "pages") if (data / "pages" / path).is_file()}
    assert 32 <= len(there) < 200
    approve(ws)
    assert fetch(ws, data)["kept"] == 400 - len(there)


def test_refusals_and_failures_are_recorded_and_only_failures_are_tried_again(
    ws: Workspace, data: Path, server: HostileServer
) -> None:
    server.files["/robots.txt"] = b"User-agent: *\nDisallow: /private\n"
    server.files["/good"] = b"words"
    server.behaviours["/late"] = lies.statuses(*[(404, {})], then=b"words")
    listed(
        data,
        {"url": server.url("/private/a"), "path": "a.txt"},
        {"url": "http://169.254.169.254/", "path": "b.txt"},
        {"url": server.url("/good"), "path": "../../outside.txt"},
        {"url": server.url("/good"), "path": ".hidden.txt"},
        {"url": server.url("/good"), "path": "good.txt"},
        {"url": server.url("/late"), "path": "late.txt"},
        {"url": server.url("/good?2"), "path": "good.txt"},
        {"url": server.url("/good"), "path": "c.txt", "license": "LicenseRef-none"},
    )
    approve(ws)
    result = fetch(ws, data, "licences=[CC0-1.0]")
    assert result["refused"] == {"bad-key": 2, "duplicate-key": 1, "no-licence": 5}
    assert not server.requests
    result = fetch(ws, data, again=True)
    assert result["refused"] == {"bad-key": 2, "duplicate-key": 1, "private-address": 1, "robots": 1}
    assert result["failed"] == {"http-status": 1}
    assert result["failed_items"][0]["path"] == "late.txt"
    assert not (data.parent / "outside.txt").exists()
    asked = len(server.asked("/private/a"))
    result = fetch(ws, data)
    assert (result["kept"], result["failed"]) == (1, {})
    assert len(server.asked("/private/a")) == asked == 0
    reasons = {(record.path, record.reason) for record in records(data / "pages") if record.status == "refused"}
    assert ("a.txt", "robots") in reasons


def test_captions_of_a_list_reach_the_documents(
    ws: Workspace, data: Path, server: HostileServer, open_data: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = (open_data / "image_text" / "sk_chelsea.jpg").read_bytes()
    server.files["/cat.jpg"] = picture
    table = pa.table({"URL": [server.url("/cat.jpg")], "TEXT": ["A cat."], "LICENSE": ["CC0-1.0"], "x": [[1, 2]]})
    pq.write_table(table, data / "list.parquet")
    approve(ws)
    fetch_source(ws, data, "pages", FetchOptions("url-list", (f"list={data / 'list.parquet'}", *POLICY)))
    source = survey(data).sources[0]
    assert source.kind == "image-text"
    batch = next(found for found in read_documents(source, list_items(source)) if hasattr(found, "to_pylist"))
    row = batch.to_pylist()[0]
    assert "A cat." in row["text"]
    assert (row["licence"], row["url"]) == ("CC0-1.0", server.url("/cat.jpg"))


def test_one_run_a_source_at_a_time(ws: Workspace, data: Path, server: HostileServer) -> None:
    listed(data, {"url": server.url("/a"), "path": "a.txt"})
    approve(ws)
    with ws.lease("acquire.pages"), pytest.raises(WorkspaceBusy):
        fetch(ws, data)


def test_a_damaged_log_is_no_provenance(ws: Workspace, data: Path, server: HostileServer) -> None:
    server.files["/a"] = b"words"
    listed(data, {"url": server.url("/a"), "path": "a.txt"})
    approve(ws)
    fetch(ws, data)
    segment = next((data / "pages" / ".acquire" / "log").iterdir())
    segment.write_bytes(segment.read_bytes() + b'{"schema": "data.prov')
    assert fetch(ws, data)["already_there"] == 1, "a cut last line is what a kill leaves"
    segment.write_bytes(b"nonsense\n")
    with pytest.raises(InputError, match=r"00000001\.jsonl:1"):
        fetch(ws, data)


def test_items_of_a_killed_run_are_registered_by_the_next(ws: Workspace, data: Path, server: HostileServer) -> None:
    """A kill between landing and registering: the next run registers them with the time of their retrieval."""
    server.files["/a"] = b"words"
    listed(data, {"url": server.url("/a"), "path": "a.txt"})
    approve(ws)
    fetch(ws, data)
    retrieved = kept(data / "pages")["a.txt"].retrieved_at
    for key in list(ws.store.list("data/acquired")):
        ws.store.delete(key)
    fetch(ws, data)
    assert acquired(ws, "pages").first == retrieved


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "../a", "a/../b", ".a", "a/.b", "a\\b", "a\nb", "x" * 300, "node_modules/a", "\ud800"]
)
def test_keys_that_lead_out_or_hide_are_no_keys(key: str) -> None:
    assert key_problem(key) is not None


def test_wrong_configuration_says_file_line_and_what_fits(ws: Workspace, data: Path) -> None:
    approve(ws)
    declared = data / "sources.yaml"
    declared.write_text(
        "sources:\n  pages:\n    licence: CC0-1.0\n    from:\n      connector: url-list\n      lists: x.txt\n"
    )
    with pytest.raises(InputError, match=r"sources\.yaml:(5|6).*") as caught:
        fetch_source(ws, data, "pages")
    assert "list" in str(caught.value)
    declared.write_text("sources:\n  pages:\n    from: {connector: url-lst, list: x}\n")
    with pytest.raises(UsageError, match="did you mean 'url-list'"):
        fetch_source(ws, data, "pages")
    declared.write_text(
        "sources:\n  pages:\n    from:\n      connector: url-list\n      list: x\n      policy:\n        attempts: 0\n"
    )
    with pytest.raises(InputError, match=r"sources\.yaml:7.*attempts"):
        fetch_source(ws, data, "pages")
    with pytest.raises(InputError, match=r"--set policy\.attempts"):
        fetch_source(ws, data, "pages", FetchOptions(settings=("policy.attempts=no",)))
    declared.write_text("sources:\n  pages:\n    from: {list: x}\n")
    with pytest.raises(InputError, match="names no connector"):
        fetch_source(ws, data, "pages")
    declared.write_text("sources:\n  pages:\n    kind: web\n")
    with pytest.raises(UsageError, match="nothing says where"):
        fetch_source(ws, data, "pages")


def test_a_declared_source_may_be_fetched_later(ws: Workspace, data: Path, server: HostileServer) -> None:
    server.files["/a"] = b"Words of a page that is fetched." * 5
    (data / "list.txt").write_text(f"# pages\n{server.url('/a')}\n")
    policy = "".join(f"        {name}: {json.dumps(value)}\n" for name, value in QUICK.items())
    (data / "sources.yaml").write_text(
        f"sources:\n  pages:\n    licence: CC0-1.0\n    from:\n      connector: url-list\n      list: list.txt\n      policy:\n{policy}"
    )
    assert "not fetched yet" in survey(data).ignored["pages"]
    approve(ws)
    assert fetch_source(ws, data, "pages")["kept"] == 1
    assert [source.name for source in survey(data).sources] == ["pages"]
    assert next(iter(kept(data / "pages").values())).licence == "CC0-1.0"


# The command line, in processes of its own.


def command(ws: Workspace, data: Path, *arguments: str) -> list[str]:
    sets = [part for text in POLICY for part in ("--set", text)]
    verb = [sys.executable, "-m", "expedition", "data", "acquire", str(data), "--source", "pages", "-w", ws.place]
    return [*verb, "--json", "--from", "url-list", "--set", f"list={data / 'list.jsonl'}", *sets, *arguments]


def call(ws: Workspace, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(ws, data, *arguments), capture_output=True, text=True, timeout=60)


def test_exit_codes(ws: Workspace, data: Path, server: HostileServer, capsys: pytest.CaptureFixture[str]) -> None:
    """0, 1 and 2 in this process, 5 in one of its own; 4 below."""
    server.files["/a"] = b"words"
    listed(data, {"url": server.url("/a"), "path": "a.txt"}, {"url": server.url("/gone"), "path": "b.txt"})
    refused = subprocess.run(command(ws, data), capture_output=True, text=True, timeout=60)
    assert refused.returncode == 5, refused.stderr
    assert "expedition compliance approve pages" in refused.stderr
    assert "Traceback" not in refused.stderr
    approve(ws)
    assert cli(command(ws, data)[3:]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["failed"] == {"http-status": 1}
    assert "run the same command again" in told.err
    assert cli([*command(ws, data)[3:], "--set", "lisst=x"]) == 2
    assert "did you mean 'list'" in capsys.readouterr().err
    server.files["/gone"] = b"there"
    assert cli(command(ws, data)[3:]) == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == 1


def start_and_wait(ws: Workspace, data: Path, until: Callable[[], bool]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command(ws, data), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not until():
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_killed_in_mid_download_goes_on(ws: Workspace, data: Path, server: HostileServer, noise: bytes) -> None:
    """kill -9 between two pieces of a body: the next run asks for the rest alone, and the bytes are the same."""
    server.behaviours["/big"] = lies.paced(noise, 65_536, 0.15)
    server.files["/small"] = b"words"
    listed(data, {"url": server.url("/small"), "path": "small.txt"}, {"url": server.url("/big"), "path": "big.bin"})
    approve(ws)
    note = data / "pages" / ".part-big.bin.json"
    process = start_and_wait(ws, data, note.exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (data / "pages" / "big.bin").exists()
    server.files["/big"] = noise
    del server.behaviours["/big"]
    result = fetch(ws, data)
    assert (data / "pages" / "big.bin").read_bytes() == noise
    assert result["kept"] + result["already_there"] == 2
    assert (server.asked("/big")[-1].get("range") or "").startswith("bytes=")
    assert sorted(path.name for path in (data / "pages").iterdir()) == [".acquire", "big.bin", "small.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_exits_4_and_keeps_all(
    ws: Workspace, data: Path, server: HostileServer, noise: bytes, number: signal.Signals
) -> None:
    server.behaviours["/big"] = lies.paced(noise, 65_536, 0.3)
    server.files["/small"] = b"words"
    listed(data, {"url": server.url("/small"), "path": "small.txt"}, {"url": server.url("/big"), "path": "big.bin"})
    approve(ws)
    part = data / "pages" / ".part-big.bin"
    process = start_and_wait(ws, data, lambda: part.exists() and (data / "pages" / "small.txt").exists())
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 4, told
    assert b"run the same command again" in told
    assert b"Traceback" not in told
    assert acquired(ws, "pages").first
    assert list(kept(data / "pages")) == ["small.txt"]


def test_errors_are_of_the_house() -> None:
    from expedition.data.connectors import FetchFailed, FetchReason

    failure = FetchFailed(FetchReason.TIMEOUT, "no bytes in time", "http://x/")
    assert failure.exit_code == CheckFailed.exit_code
    assert Interrupted.exit_code == 4

"""Opt-outs: each signal is read as its specification says, and an item under one is not kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.connectors import Client, FetchFailed, FetchReason
from expedition.data.connectors.opt_out import in_headers, in_page, in_robots, read_ai_txt, read_tdmrep
from tests.data.connectors.hostile_server import HostileServer

Make = Callable[..., Client]


@pytest.mark.parametrize(
    ("headers", "kind", "out"),
    [
        ([("X-Robots-Tag", "noai")], "text/html", True),
        ([("x-robots-tag", "noindex, NoAI")], "text/html", True),
        ([("X-Robots-Tag", "noimageai")], "image/jpeg", True),
        ([("X-Robots-Tag", "noimageai")], "text/html", False),
        ([("X-Robots-Tag", "expedition: noai")], None, True),
        ([("X-Robots-Tag", "otherbot: noai")], None, False),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST, noai")], None, True),
        ([("X-Robots-Tag", "noindex"), ("X-Robots-Tag", "noai")], None, True),
        ([("X-Robots-Tag", "noindex, nofollow")], None, False),
        ([("TDM-Reservation", "1")], None, True),
        ([("tdm-reservation", "0")], None, False),
        ([("Content-Usage", "train-ai=n")], None, True),
        ([("Content-Usage", "train-ai=y")], None, False),
        ([("Content-Type", "noai")], None, False),
    ],
)
def test_headers(headers: list[tuple[str, str]], kind: str | None, out: bool) -> None:
    assert (in_headers(headers, "expedition", kind) is not None) is out


@pytest.mark.parametrize(
    ("page", "out"),
    [
        ('<meta name="robots" content="noai, noimageai">', True),
        ("<META CONTENT='noindex,noai' NAME=ROBOTS>", True),
        ('<meta name="expedition" content="noai">', True),
        ('<meta name="otherbot" content="noai">', False),
        ('<meta name="tdm-reservation" content="1">', True),
        ('<meta name="tdm-reservation" content="0">', False),
        ('<meta name="description" content="noai">', False),
        ('<meta name="robots" content="noindex">', False),
        ("<p>noai</p>", False),
    ],
)
def test_pages(page: str, out: bool) -> None:
    assert (in_page(f"<html><head>{page}</head>".encode(), "expedition") is not None) is out


def test_content_signals_in_robots_txt() -> None:
    text = "User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n\nUser-agent: expedition\nContent-Signal: ai-train=yes\n"
    assert in_robots(text, "other") is not None
    assert in_robots(text, "expedition") is None, "the own group's signal holds"
    assert in_robots("User-agent: *\nContent-Usage: /blog train-ai=n\n", "x", "/blog/1") is not None
    assert in_robots("User-agent: *\nContent-Usage: /blog train-ai=n\n", "x", "/news") is None
    assert in_robots("User-agent: *\nDisallow: /ai-train=no\n", "x") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_a_reader(data: bytes) -> None:
    in_page(data, "expedition")
    read_tdmrep(data)
    read_ai_txt(data)
    in_robots(data.decode("latin-1"), "expedition")
    in_headers([("x-robots-tag", data.decode("latin-1"))], "expedition")


def test_an_opted_out_item_is_not_kept(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/header"] = server.files["/plain"] = b"x" * 100_000
    server.headers["/header"] = {"X-Robots-Tag": "noai"}
    server.files["/page"] = b'<html><head><meta name="robots" content="noai"></head><body>words</body></html>'
    server.headers["/page"] = {"Content-Type": "text/html; charset=utf-8"}
    for path, signal in (("/header", "X-Robots-Tag: noai"), ("/page", "meta robots: noai")):
        with pytest.raises(FetchFailed) as caught:
            client().download(server.url(path), tmp_path / "x")
        assert (caught.value.reason, caught.value.detail) == (FetchReason.OPTED_OUT, signal)
        assert list(tmp_path.iterdir()) == []
    client().download(server.url("/plain"), tmp_path / "plain")
    client(honour_opt_out=False).download(server.url("/page"), tmp_path / "page")


def test_host_files_are_asked_once_and_honoured(server: HostileServer, client: Make, tmp_path: Path) -> None:
    rows = [
        {"location": "/open/*", "tdm-reservation": 0},
        {"location": "*.jpg", "tdm-reservation": 1, "tdm-policy": "https://x/policy.json"},
    ]
    server.files["/.well-known/tdmrep.json"] = json.dumps(rows).encode()
    server.files["/ai.txt"] = b"User-Agent: *\nDisallow: *.mp4\n"
    for path in ("/a.jpg", "/b.jpg", "/open/c.jpg", "/v.mp4", "/d.txt", "/free.jpg"):
        server.files[path] = b"x"
    server.headers["/free.jpg"] = {"tdm-reservation": "0"}
    one, kept = client(), []
    for path in sorted(server.files):
        if path not in ("/ai.txt", "/.well-known/tdmrep.json"):
            try:
                one.download(server.url(path), tmp_path / path.replace("/", "_"))
                kept.append(path)
            except FetchFailed as failure:
                assert failure.reason is FetchReason.OPTED_OUT
    assert kept == ["/d.txt", "/free.jpg", "/open/c.jpg"]
    assert len(server.asked("/.well-known/tdmrep.json")) == len(server.asked("/ai.txt")) == 1

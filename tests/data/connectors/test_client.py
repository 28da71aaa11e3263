"""The client against a server that lies in every way that it can: by name, in bounded time, with nothing left behind."""

from __future__ import annotations

import gzip
import hashlib
import socket
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.connectors import Client, FetchFailed, FetchPolicy, FetchReason
from expedition.data.connectors.policy import retry_after_s
from expedition.data.connectors.url import checked_url
from tests.data.connectors import hostile_server as lies
from tests.data.connectors.hostile_server import HostileServer

Make = Callable[..., Client]


def refused(call: Callable[[], Any]) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        call()
    return caught.value


def test_a_file_comes_in_with_hash_and_validators(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/a"] = b"hello"
    done = client().download(server.url("/a"), tmp_path / "sub" / "a")
    assert (tmp_path / "sub" / "a").read_bytes() == b"hello"
    assert (done.bytes, done.sha256) == (5, hashlib.sha256(b"hello").hexdigest())
    assert done.etag
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["a"]
    assert server.asked("/a")[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lies.endless, FetchReason.TOO_LARGE),
        (lies.slow_drip, FetchReason.TOO_SLOW),
        (lies.slow_headers, FetchReason.TOO_SLOW),
        (lies.header_bomb, FetchReason.HEADERS_TOO_LARGE),
        (lies.no_http, FetchReason.PROTOCOL),
        (lies.two_lengths, FetchReason.PROTOCOL),
        (lies.silent, FetchReason.TIMEOUT),
        (lies.breaks_off(b"x" * 1000, 100, times=99), FetchReason.TRUNCATED),
    ],
)
def test_every_lie_has_a_name(
    server: HostileServer, client: Make, tmp_path: Path, lie: Callable[[Any], None], reason: FetchReason
) -> None:
    server.behaviours["/lie"] = lie
    one = client(attempts=1, max_bytes=1 << 20, total_s=0.6, read_s=0.3, obey_robots=False, honour_opt_out=False)
    started = time.monotonic()
    assert refused(lambda: one.download(server.url("/lie"), tmp_path / "x")).reason is reason
    assert refused(lambda: one.get(server.url("/lie"), max_bytes=1 << 20)).reason is reason
    assert time.monotonic() - started < 5
    assert not (tmp_path / "x").exists()


def test_announced_length_beyond_the_limit_is_refused_unread(
    server: HostileServer, client: Make, tmp_path: Path
) -> None:
    server.behaviours["/big"] = lambda handler: HostileServer.answer(
        handler, 200, b"", {"Content-Length": str(1 << 40)}
    )
    failure = refused(lambda: client().download(server.url("/big"), tmp_path / "x"))
    assert (failure.reason, failure.refused) == (FetchReason.TOO_LARGE, True)
    assert list(tmp_path.iterdir()) == []


def test_wrong_length_and_wrong_hash_are_found(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/a"] = b"hello"
    one, url, target = client(), server.url("/a"), tmp_path / "x"
    assert refused(lambda: one.download(url, target, expect_bytes=4)).reason is FetchReason.WRONG_LENGTH
    assert refused(lambda: one.download(url, target, expect_sha256="0" * 64)).reason is FetchReason.WRONG_HASH
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    server.behaviours["/c"] = lambda handler: handler.wfile.write(chunked)
    assert refused(lambda: one.download(server.url("/c"), target, expect_bytes=4)).reason is FetchReason.WRONG_LENGTH
    assert list(tmp_path.iterdir()) == []


def test_a_gzip_bomb_is_cut_off_and_costs_no_memory(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.behaviours["/bomb"] = lies.gzip_bomb()
    one = client(obey_robots=False)
    tracemalloc.start()
    try:
        assert refused(lambda: one.get(server.url("/bomb"), max_bytes=1 << 20)).reason is FetchReason.BOMB
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    done = one.download(server.url("/bomb"), tmp_path / "x")
    assert done.content_encoding == "gzip"
    assert done.bytes < 100_000, "a download is kept as it was sent"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_small_answers_are_decoded(server: HostileServer, client: Make, coding: str) -> None:
    import zlib

    body = b'{"answer": 42}' * 100
    packed = gzip.compress(body[:700]) + gzip.compress(body[700:]) if coding == "gzip" else zlib.compress(body)
    server.behaviours["/api"] = lambda handler: HostileServer.answer(handler, 200, packed, {"Content-Encoding": coding})
    assert client().get(server.url("/api")).body == body
    server.behaviours["/cut"] = lambda handler: HostileServer.answer(
        handler, 200, packed[:-20], {"Content-Encoding": coding}
    )
    assert refused(lambda: client().get(server.url("/cut"))).reason is FetchReason.TRUNCATED
    server.behaviours["/br"] = lambda handler: HostileServer.answer(handler, 200, packed, {"Content-Encoding": "br"})
    assert refused(lambda: client().get(server.url("/br"))).reason is FetchReason.ENCODING


def test_redirects_are_followed_and_bounded(server: HostileServer, client: Make) -> None:
    server.files["/end"] = b"here"
    for number in range(10):
        server.behaviours[f"/r{number}"] = lies.redirect("/end" if number == 0 else f"/r{number - 1}", 301 + number % 2)
    assert client().get(server.url("/r4")).url == server.url("/end")
    assert refused(lambda: client().get(server.url("/r5"))).reason is FetchReason.TOO_MANY_REDIRECTS
    server.behaviours["/a"], server.behaviours["/b"] = lies.redirect("/b"), lies.redirect("/a")
    assert refused(lambda: client().get(server.url("/a"))).reason is FetchReason.REDIRECT_LOOP
    server.behaviours["/file"] = lies.redirect("file:///etc/passwd")
    assert refused(lambda: client().get(server.url("/file"))).reason is FetchReason.BAD_URL


def test_credentials_do_not_follow_a_redirect_to_another_origin(server: HostileServer, client: Make) -> None:
    secret = {"Authorization": "Bearer secret", "X-Api-Key": "secret", "Cookie": "secret=1"}
    with HostileServer() as other:
        other.files["/end"] = b"here"
        server.files["/end"] = b"here"
        server.behaviours["/away"] = lies.redirect(other.url("/end"))
        server.behaviours["/home"] = lies.redirect("/end")
        client().get(server.url("/away"), headers=secret)
        client().get(server.url("/home"), headers=secret)
        assert not any("secret" in value for _, headers in other.requests for value in headers.values())
        assert server.asked("/end")[0]["authorization"] == "Bearer secret"


def test_private_addresses_are_refused_unless_allowed(server: HostileServer, client: Make) -> None:
    for host in (
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "2130706433",
    ):
        failure = refused(lambda host=host: client(allow_private=False).get(f"http://{host}:{server.port}/"))
        assert failure.reason is FetchReason.PRIVATE_ADDRESS, host
    assert not server.requests
    server.files["/a"] = b"x"
    assert client(allow_private=False, private_networks=("127.0.0.0/8",)).get(server.url("/a")).ok
    for host in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
        failure = refused(lambda host=host: client(allow_private=True).get(f"http://{host}/latest/meta-data/"))
        assert failure.reason is FetchReason.PRIVATE_ADDRESS, "cloud metadata is never allowed"


def test_redirect_into_the_private_network_is_refused(server: HostileServer, client: Make) -> None:
    """The first server is allowed by its address; where it leads to is judged anew."""
    server.behaviours["/r"] = lies.redirect("http://10.0.0.1/secret")
    one = client(allow_private=False, private_networks=("127.0.0.1/32",))
    assert refused(lambda: one.get(server.url("/r"))).reason is FetchReason.PRIVATE_ADDRESS


def test_a_name_is_judged_by_the_address_that_is_connected_to(
    server: HostileServer, client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a public answer first, a private one later; each connection resolves once and uses that answer."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    connected: list[str] = []
    real = socket.create_connection

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("no route in this test") if address[0] != "127.0.0.1" else RuntimeError("reached")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    one = client(allow_private=False, attempts=1, obey_robots=False)
    assert refused(lambda: one.get("http://rebind.example/")).reason is FetchReason.UNREACHABLE
    assert connected == ["93.184.216.34"]
    assert refused(lambda: one.get("http://rebind.example/")).reason is FetchReason.PRIVATE_ADDRESS
    assert connected == ["93.184.216.34"]
    assert real is not connect


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(server: HostileServer, client: Make, tmp_path: Path, status: int) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    server.behaviours["/a"] = lies.statuses((status, {"Retry-After": "1"}), then=b"done")
    server.behaviours["/b"] = lies.statuses((status, {"Retry-After": at}), then=b"done")
    started = time.monotonic()
    client(obey_robots=False, honour_opt_out=False).download(server.url("/a"), tmp_path / "a")
    assert 1.0 <= time.monotonic() - started < 3
    assert client().get(server.url("/b")).body == b"done"
    server.behaviours["/c"] = lies.statuses((status, {"Retry-After": "86400"}), then=b"done")
    failure = refused(lambda: client().download(server.url("/c"), tmp_path / "c"))
    assert (failure.reason, failure.status) == (FetchReason.THROTTLED, status)
    assert "86400" in failure.detail


def test_server_errors_are_tried_again_then_given_up(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.behaviours["/a"] = lies.statuses((500, {}), (502, {}), then=b"done")
    assert client().download(server.url("/a"), tmp_path / "a").bytes == 4
    server.behaviours["/b"] = lies.statuses(*[(500, {})] * 9, then=b"done")
    assert refused(lambda: client().download(server.url("/b"), tmp_path / "b")).reason is FetchReason.SERVER_ERROR
    server.behaviours["/b"] = lies.statuses(*[(500, {})] * 9, then=b"done")
    assert client().get(server.url("/b")).status == 500, "a small answer of any status is the caller's to judge"
    failure = refused(lambda: client().download(server.url("/none"), tmp_path / "n"))
    assert (failure.reason, failure.status) == (FetchReason.HTTP_STATUS, 404)


def test_a_broken_body_goes_on_where_it_broke(
    server: HostileServer, client: Make, tmp_path: Path, noise: bytes
) -> None:
    server.behaviours["/a"] = lies.breaks_off(noise, 200_000, times=2)
    done = client().download(server.url("/a"), tmp_path / "a", expect_sha256=hashlib.sha256(noise).hexdigest())
    assert (tmp_path / "a").read_bytes() == noise
    assert [headers.get("range") for headers in server.asked("/a")] == [None, "bytes=200000-", "bytes=400000-"]
    assert server.asked("/a")[1]["if-range"] == done.etag


def test_content_that_changes_in_mid_download_is_begun_anew(
    server: HostileServer, client: Make, tmp_path: Path, noise: bytes
) -> None:
    """With If-Range an honest server sends the whole new content; a lying one sends a part of it, under a new ETag."""
    new = noise[::-1]

    def changing(path: str, *, honest: bool) -> Callable[[Any], None]:
        server.files[path] = new
        broken, asked = lies.breaks_off(noise, 200_000, times=1), [0]

        def behave(handler: Any) -> None:
            asked[0] += 1
            if asked[0] == 1:
                broken(handler)
                return
            if not honest:
                del handler.headers["If-Range"]
            server.serve(handler, path)

        return behave

    for name, honest in (("/honest", True), ("/lying", False)):
        server.behaviours[name] = changing(f"{name}-new", honest=honest)
        client().download(server.url(name), tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == new
        assert "if-range" in server.asked(name)[1]


def test_without_validators_nothing_is_glued_together(
    server: HostileServer, client: Make, tmp_path: Path, noise: bytes
) -> None:
    state = [0]

    def behave(handler: Any) -> None:
        state[0] += 1
        if state[0] == 1:
            HostileServer.answer(handler, 200, noise[:200_000], {"Content-Length": str(len(noise))})
            handler.close_connection = True
        else:
            HostileServer.answer(handler, 200, noise)

    server.behaviours["/a"] = behave
    client().download(server.url("/a"), tmp_path / "a")
    assert "range" not in server.asked("/a")[1]
    assert (tmp_path / "a").read_bytes() == noise


def test_ranges_of_a_file(server: HostileServer, client: Make, tmp_path: Path, noise: bytes) -> None:
    server.files["/a"] = noise
    done = client().download(server.url("/a"), tmp_path / "a", range=(1000, 250_999))
    assert (tmp_path / "a").read_bytes() == noise[1000:251_000]
    assert done.bytes == 250_000
    server.behaviours["/whole"] = lambda handler: HostileServer.answer(handler, 200, noise)
    failure = refused(lambda: client().download(server.url("/whole"), tmp_path / "b", range=(0, 9)))
    assert failure.reason is FetchReason.RANGE_NOT_SERVED
    server.behaviours["/other"] = lambda handler: HostileServer.answer(
        handler, 206, noise[5:15], {"Content-Range": "bytes 5-14/600000"}
    )
    failure = refused(lambda: client().download(server.url("/other"), tmp_path / "b", range=(0, 9)))
    assert failure.reason is FetchReason.RANGE_NOT_SERVED
    assert refused(lambda: client().download(server.url("/a"), tmp_path / "b", range=(599_990, 700_000))).reason in (
        FetchReason.WRONG_LENGTH,
    )


def test_hosts_are_asked_at_their_pace(server: HostileServer, client: Make) -> None:
    server.files["/a"] = b"x"
    one = client(requests_per_s=20.0, burst=1, obey_robots=False)
    started = time.monotonic()
    for _ in range(6):
        one.get(server.url("/a"))
    assert time.monotonic() - started >= 5 / 20


def test_a_stopped_client_stops_at_once_and_keeps_what_came(
    server: HostileServer, client: Make, tmp_path: Path, noise: bytes
) -> None:
    import threading

    server.behaviours["/a"] = lies.paced(noise, 65_536, 0.1)
    one = client()
    threading.Timer(0.35, one.stop).start()
    assert refused(lambda: one.download(server.url("/a"), tmp_path / "a")).reason is FetchReason.STOPPED
    server.files["/a"] = noise
    del server.behaviours["/a"]
    assert client().download(server.url("/a"), tmp_path / "a").resumed_from > 0
    assert (tmp_path / "a").read_bytes() == noise


def test_urls_that_may_not_be_asked(client: Make) -> None:
    for url in (
        "ftp://x/",
        "http:///a",
        "http://user:secret@x.example/",
        "javascript:1",
        "http://x.example:99999/",
        "x",
    ):
        failure = refused(lambda url=url: client().get(url))
        assert failure.reason is FetchReason.BAD_URL
        assert "secret" not in str(failure)


@given(st.text(max_size=80))
def test_checked_url_is_idempotent_or_refuses(text: str) -> None:
    try:
        once = checked_url(f"http://example.org/{text}")
    except FetchFailed:
        return
    assert checked_url(once) == once
    assert once.isascii()


@given(st.text(max_size=40))
def test_retry_after_never_raises_and_is_never_negative(text: str) -> None:
    found = retry_after_s(text)
    assert found is None or found >= 0


def test_policy_refuses_what_cannot_be_meant() -> None:
    for wrong in ({"agent": "My Bot/1.0"}, {"private_networks": ("10.0.0.0/99",)}, {"attempts": 0}, {"atempts": 1}):
        with pytest.raises(ValueError):
            FetchPolicy.model_validate(wrong)

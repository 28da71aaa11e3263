"""robots.txt: RFC 9309's own examples, real files, and what an unreachable one means."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.connectors import Client, FetchFailed, FetchReason
from expedition.data.connectors.robots import HostRules, crawl_delay_s, rules_from
from expedition.data.decode import read_robots
from expedition.data.decode.robots import comparable, product_token
from tests.data.connectors import hostile_server as lies
from tests.data.connectors.hostile_server import HostileServer

Make = Callable[..., Client]

# RFC 9309, section 5.1
SIMPLE = b"""User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
# RFC 9309, section 5.2
LONGEST = b"User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("anybot", "/picture.gif", False),
        ("anybot", "/picture.gif?x", True),
        ("anybot", "/example/", False),
        ("anybot", "/publications/", True),
        ("anybot", "/", True),
        ("foobot", "/", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("foobot", "/example/other.gif", False),
        ("FooBot/2.1", "/other", False),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("barbot", "/picture.gif", True),
        ("quxbot", "/example/", True),
        ("quxbot", "/picture.gif", True),
        ("notfoobot", "/", True),
        ("foo", "/", True),
    ],
)
def test_the_rfc_simple_example(agent: str, path: str, allowed: bool) -> None:
    assert read_robots(SIMPLE).allowed(agent, path) is allowed


def test_the_rfc_longest_match_example() -> None:
    robots = read_robots(LONGEST)
    assert robots.allowed("foobot", "/example/page/x")
    assert not robots.allowed("foobot", "/example/page/disallowed.gif")
    equal = read_robots(b"User-agent: *\nDisallow: /page\nAllow: /page\n")
    assert equal.allowed("x", "/page"), "of two equal rules the one that allows wins"


def test_groups_of_one_token_are_combined() -> None:
    """RFC 9309, 2.2.1; the token is what a group's name begins with."""
    robots = read_robots(
        b"User-agent: a\nDisallow: /1\n\nUser-agent: b\nDisallow: /2\n\nUser-agent: A/1.0\nDisallow: /3\n"
    )
    assert [robots.allowed("a", f"/{number}") for number in (1, 2, 3)] == [False, True, False]


# RFC 9309, 2.2.2, table; and its special characters, 2.2.3
@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/foo/bar?baz=quux", "/foo/bar?baz=quux"),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
        ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", "/foo/bar?baz=https://foo.bar"),
        ("/foo/bar/\u30c4", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%E3%83%84", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%e3%83%84", "/foo/bar/\u30c4"),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),
        ("/path/foo-%24", "/path/foo-$"),
        ("/this/*/exactly", "/this/path/exactly"),
        ("/this/path/exactly$", "/this/path/exactly"),
    ],
)
def test_the_rfc_encoding_table(rule: str, path: str) -> None:
    robots = read_robots(f"User-agent: *\nDisallow: {rule}\n".encode())
    assert not robots.allowed("x", path)
    assert robots.allowed("x", "/other")


def test_special_characters_are_not_taken_literally() -> None:
    assert read_robots(b"User-agent: *\nDisallow: /path/file-with-a-%2A.html\n").allowed(
        "x", "/path/file-with-a-b.html"
    )
    assert read_robots(b"User-agent: *\nDisallow: /exactly$\n").allowed("x", "/exactly-not")


@pytest.mark.parametrize("eol", ["\r\n", "\n", "\r"])
def test_any_end_of_line_and_a_byte_order_mark(eol: str) -> None:
    text = eol.join(["\ufeffUser-agent: *", "Disallow: /a # why", "", "Sitemap: https://x/s.xml", "Disallow: /b"])
    robots = read_robots(text.encode())
    assert not robots.allowed("x", "/a")
    assert not robots.allowed("x", "/b")


def test_statuses_mean_what_the_rfc_says() -> None:
    body = b"User-agent: *\nDisallow: /private\n"
    assert not rules_from(200, body).allowed("x", "http://h/private")
    for status in (400, 401, 403, 404, 410, 451):
        assert rules_from(status, body).allowed("x", "http://h/private")
    for status in (500, 503, 429, None):
        assert not rules_from(status, body).allowed("x", "http://h/")
        assert rules_from(status, body).unreachable
    assert rules_from(200, b"User-agent: *\nDisallow: /\n").allowed("x", "http://h/robots.txt")


def test_the_real_files_are_read_as_an_independent_parser_reads_them(open_data: Path) -> None:
    """Against the standard library's parser, on each file's own rule paths where that parser's first-match order and
    missing wildcards make no difference: files whose rules hold no `*`, `$` or Allow."""
    compared = 0
    for path in sorted((open_data / "web" / "robots").iterdir()):
        data = path.read_bytes()
        rules = rules_from(200, data)
        assert not rules.robots.faulty_lines, path.name
        assert rules.robots.groups, path.name
        plain = RobotFileParser()
        lines = data.decode("utf-8", "replace").splitlines()
        # That parser ends a group at a blank line and at Crawl-delay, which RFC 9309 does not.
        records = [line for line in lines if line.lower().startswith(("user-agent", "disallow", "allow"))]
        plain.parse(records)
        for agent in ("expedition", *sorted(rules.robots.groups)[:20]):
            token = product_token(agent)
            own = rules.robots.groups.get(agent, rules.robots.groups.get("*", ()))
            if token != agent or any(rule.allow or set("*$%?") & set(rule.path) for rule in own):
                continue
            for rule in own:
                if rule.path:
                    url = f"http://h{rule.path}"
                    assert rules.allowed(token, url) == plain.can_fetch(token, url), (path.name, token, url)
                    compared += 1
            assert rules.allowed(token, "http://h/") == plain.can_fetch(token, "http://h/"), (path.name, token)
    assert compared > 100, compared


def test_half_a_mebibyte_is_read_and_no_more() -> None:
    lines = b"".join(b"Disallow: /%d\n" % number for number in range(40_000))
    rules = rules_from(200, b"User-agent: *\n" + lines)
    started = time.process_time()
    assert not rules.allowed("x", "http://h/25000")
    assert rules.allowed("x", "http://h/x")
    assert time.process_time() - started < 1
    assert len(rules.text) == 500 << 10


def test_crawl_delay_is_read_from_the_right_group() -> None:
    text = b"User-agent: a\nCrawl-delay: 7\nDisallow: /x\n\nUser-agent: *\nCrawl-Delay: 2.5\n"
    assert (crawl_delay_s(text, "a"), crawl_delay_s(text, "b"), crawl_delay_s(b"", "b")) == (7.0, 2.5, None)


@given(st.binary(max_size=300), st.text(max_size=30))
def test_no_bytes_break_the_reader(data: bytes, path: str) -> None:
    HostRules(read_robots(data), 200, data).allowed("expedition", f"http://h/{path}")
    crawl_delay_s(data, "expedition")


@given(st.text(max_size=30), st.booleans())
def test_comparable_is_idempotent(text: str, rule: bool) -> None:
    once = comparable(text, rule=rule)
    assert comparable(once, rule=rule) == once


def test_disallowed_is_not_asked_for(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/robots.txt"] = b"User-agent: expedition\nDisallow: /private\n"
    server.files["/private/a"] = server.files["/public"] = b"x"
    server.behaviours["/r"] = lies.redirect("/private/a")
    one = client()
    for path in ("/private/a", "/r"):
        with pytest.raises(FetchFailed) as caught:
            one.download(server.url(path), tmp_path / "x")
        assert caught.value.reason is FetchReason.ROBOTS
    assert not server.asked("/private/a")
    one.download(server.url("/public"), tmp_path / "x")
    assert len(server.asked("/robots.txt")) == 1, "once a host"
    client(obey_robots=False).download(server.url("/private/a"), tmp_path / "y")


def test_an_unreachable_robots_txt_disallows_for_now(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/a"] = b"x"
    server.behaviours["/robots.txt"] = lambda handler: HostileServer.answer(handler, 500, b"")
    with pytest.raises(FetchFailed) as caught:
        client().download(server.url("/a"), tmp_path / "x")
    assert (caught.value.reason, caught.value.refused) == (FetchReason.ROBOTS_UNREACHABLE, False)
    assert not server.asked("/a")


def test_robots_txt_is_found_behind_redirects(server: HostileServer, client: Make, tmp_path: Path) -> None:
    server.files["/a"], server.files["/moved.txt"] = b"x", b"User-agent: *\nDisallow: /a\n"
    server.behaviours["/robots.txt"] = lies.redirect("/moved.txt", 301)
    with pytest.raises(FetchFailed) as caught:
        client().download(server.url("/a"), tmp_path / "x")
    assert caught.value.reason is FetchReason.ROBOTS
    server.behaviours["/robots.txt"] = lies.redirect("/robots.txt", 301)
    assert client().download(server.url("/a"), tmp_path / "x").bytes == 1, "a loop is an unavailable file: allowed"


def test_an_endless_robots_txt_is_cut(server: HostileServer, client: Make) -> None:
    server.behaviours["/robots.txt"] = lies.endless
    server.files["/a"] = b"x"
    assert client().get(server.url("/a")).ok


def test_crawl_delay_slows_down_to_a_cap(server: HostileServer, client: Make) -> None:
    server.files["/robots.txt"] = b"User-agent: *\nCrawl-delay: 3600\n"
    server.files["/a"] = b"x"
    one = client(max_crawl_delay_s=0.2)
    started = time.monotonic()
    for _ in range(3):
        one.get(server.url("/a"))
    assert 0.4 <= time.monotonic() - started < 3

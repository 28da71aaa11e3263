"""Common Crawl: records by index, whole files, faults of the service, and what is left out and why."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from expedition.data.connectors.archive_base import archive_base
from expedition.data.connectors.client import Client
from expedition.data.connectors.common_crawl import CONNECTOR, CommonCrawlConfig
from expedition.data.connectors.crawl_index import Capture, CaptureFilter, UrlPattern, server_captures, table_captures
from expedition.data.connectors.crawl_records import check_record, ranges
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.records import Document, documents_of
from expedition.data.sources import discover
from expedition.data.sources.items import list_items
from expedition.data.sources.read import read_documents
from expedition.workspace import store_at
from tests.data.connectors.acquiring import LOCAL, SOURCE, acquire, approved, files_below, kept, turned_down
from tests.data.connectors.crawl_server import CRAWL, WORDS, CrawlServer, Page, record
from tests.data.connectors.protocol_server import Answer, cut_short, serving

HOST = "https://www.harbour.example"
GOOD = [Page(f"{HOST}/boats/{number}", text=f"{number} {WORDS}") for number in range(9)]
PAGES = [
    *GOOD,
    Page(f"{HOST}/copy", text=GOOD[3].text),
    Page(f"{HOST}/gone", status=404, text="gone "),
    Page(f"{HOST}/data", mime="application/json", text="data "),
    Page(f"{HOST}/boote", language="deu", text="Boote "),
    Page(f"{HOST}/noai", header="X-Robots-Tag: noai", text="noai "),
    Page(f"{HOST}/meta", meta='<meta name="tdm-reservation" content="1">', text="meta "),
    Page(f"{HOST}/broken", text="broken "),
    Page(f"{HOST}/other", text="other "),
    Page("https://inland.example/", text="inland "),
]
SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "0"})


@pytest.fixture
def crawl() -> Iterator[CrawlServer]:
    with serving(CrawlServer(PAGES, broken=f"{HOST}/broken", wrong=f"{HOST}/other")) as server:
        yield server


def config(server: CrawlServer, **changes: object) -> CommonCrawlConfig:
    values = {
        "crawls": (CRAWL,), "base": server.url, "index": server.url, "urls": ("*.harbour.example",), "languages": ("eng",),
        "mime": ("text/html",), **changes,
    }  # fmt: skip
    return CommonCrawlConfig.model_validate(values)


def documents(data: Path) -> list[Document]:
    source = next(one for one in discover(data) if one.name == SOURCE)
    found = read_documents(source, list_items(source))
    return [document for batch in found if hasattr(batch, "num_rows") for document in documents_of(batch)]


def numbers(data: Path) -> list[int]:
    return sorted(int(document.text.split()[0]) for document in documents(data))


def test_records_by_index_become_archives_that_the_sources_read(tmp_path: Path, crawl: CrawlServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    result = acquire(ws, data, CONNECTOR, config(crawl, bundle_bytes=2_000))
    assert result["failed"] == {}
    assert result["kept"] > 2
    assert numbers(data) == list(range(9))
    found = kept(data)
    assert sum(one.meta["records"] for one in found.values()) == 9
    assert all(
        one.sha256 and one.approval_id == "L000001" and one.connector == "common-crawl" for one in found.values()
    )


def test_records_that_may_not_or_cannot_be_kept_are_named(tmp_path: Path, crawl: CrawlServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    acquire(ws, data, CONNECTOR, config(crawl))
    (found,) = kept(data).values()
    assert found.meta["left_out"] == {"opted-out": 2, "wrong-content": 2}
    (listed,) = [path for path in files_below(data) if path.name.endswith(".left-out.jsonl")]
    reasons = {row["url"].removeprefix(HOST): row["detail"] for row in map(json.loads, listed.read_text().splitlines())}
    assert reasons["/noai"] == "X-Robots-Tag: noai"
    assert reasons["/meta"] == "meta tdm-reservation: 1"
    assert "not a gzip member" in reasons["/broken"]
    assert reasons["/other"] == "the record is of http://other.example/"


def test_mirror_object_store_and_columnar_index_give_the_same_bytes(
    tmp_path: Path, crawl: CrawlServer, s3_endpoint: str
) -> None:
    mirror = crawl.mirror(tmp_path / "mirrored")
    bucket = f"s3://expedition/{tmp_path.name}?endpoint={s3_endpoint}"
    for name in crawl.files:
        store_at(bucket, create=True).write(name, crawl.files[name])
    hashes = set()
    for place, changes in {
        "https": {},
        "columnar": {"index": "columnar"},
        "mirror": {"base": str(mirror), "index": "columnar"},
        "s3": {"base": bucket, "index": "columnar"},
    }.items():
        folder = tmp_path / place
        folder.mkdir()
        acquire(approved(folder), folder / "data", CONNECTOR, config(crawl, **changes))
        hashes.add(tuple(one.sha256 for one in kept(folder / "data").values()))
    assert len(hashes) == 1


@pytest.mark.parametrize(("what", "crawl_name", "count"), [("warc", CRAWL, 2), ("wet", CRAWL, 2), ("arc", "CC-OLD", 1)])
def test_whole_files_land_and_are_read(
    tmp_path: Path, crawl: CrawlServer, what: str, crawl_name: str, count: int
) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    result = acquire(ws, data, CONNECTOR, config(crawl, what=what, crawls=(crawl_name,)))
    assert result["kept"] == count
    assert any(document.text.startswith("0 Boats leave") for document in documents(data))


def test_a_copy_from_a_mirror_goes_on_where_a_kill_left_it(tmp_path: Path, crawl: CrawlServer) -> None:
    mirror = crawl.mirror(tmp_path / "mirrored")
    name = max(crawl.files, key=lambda name: len(crawl.files[name]))
    with Client(LOCAL) as client:
        base = archive_base(str(mirror), client)
        target = tmp_path / "copy"
        aside = tmp_path / ".aside-copy"
        aside.write_bytes(crawl.files[name][:100])
        aside.with_name(".aside-copy.tag").write_text(store_at(str(mirror), create=False).tag(name))
        done = base.copy(name, target)
        assert (done.resumed_from, target.read_bytes()) == (100, crawl.files[name])
        aside.write_bytes(b"of another content")
        aside.with_name(".aside-copy.tag").write_text("another")
        assert (base.copy(name, target).resumed_from, target.read_bytes()) == (0, crawl.files[name])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "mirrored"]


def test_a_sample_of_files_depends_on_its_seed_alone(tmp_path: Path, crawl: CrawlServer) -> None:
    chosen = []
    for number, seed in enumerate((1, 1, 2, 3, 4, 5)):
        folder = tmp_path / str(number)
        folder.mkdir()
        acquire(approved(folder), folder / "d", CONNECTOR, config(crawl, what="wet", sample_seed=seed, max_files=1))
        chosen.append(next(iter(kept(folder / "d"))))
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 2


def test_slow_down_and_cut_bodies_are_tried_again(tmp_path: Path, crawl: CrawlServer) -> None:
    crawl.fail(r"-index\?.*page=1", cut_short, Answer(500))
    crawl.fail(r"warc\.gz", SLOW_DOWN, cut_short)
    data = tmp_path / "data"
    assert acquire(approved(tmp_path), data, CONNECTOR, config(crawl))["failed"] == {}
    assert numbers(data) == list(range(9))


def test_second_run_asks_for_nothing(tmp_path: Path, crawl: CrawlServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    acquire(ws, data, CONNECTOR, config(crawl))
    before = len(crawl.asked)
    result = acquire(ws, data, CONNECTOR, config(crawl))
    assert (result["kept"], result["already_there"]) == (0, 1)
    assert len(crawl.asked) == before


def test_an_unfinished_archive_goes_on_at_the_record_where_it_was(tmp_path: Path, crawl: CrawlServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    crawl.fail(r"00001\.warc\.gz", *[Answer(500)] * LOCAL.attempts)
    assert acquire(ws, data, CONNECTOR, config(crawl))["failed"] == {"http-status": 1}
    assert kept(data) == {}
    # A kill in the middle of writing leaves half a line and bytes that no line speaks of.
    (journal,) = [path for path in files_below(data) if path.name.endswith(".journal")]
    (part,) = [path for path in files_below(data) if path.name.endswith(".part")]
    with journal.open("ab") as file:
        file.write(b'{"bytes": 99')
    with part.open("ab") as file:
        file.write(b"half a record")
    first = crawl.count(r"00000\.warc\.gz")
    assert acquire(ws, data, CONNECTOR, config(crawl))["kept"] == 1
    assert crawl.count(r"00000\.warc\.gz") == first
    assert numbers(data) == list(range(9))
    whole = tmp_path / "whole"
    whole.mkdir()
    acquire(approved(whole), whole / "data", CONNECTOR, config(crawl))
    assert [one.sha256 for one in kept(data).values()] == [one.sha256 for one in kept(whole / "data").values()]
    assert not [path for path in files_below(data) if path.name.endswith((".journal", ".part"))]


def test_nothing_found_is_said_and_is_no_error(tmp_path: Path, crawl: CrawlServer) -> None:
    result = acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(crawl, urls=("*.nowhere.example",)))
    assert (result["kept"], result["failed"]) == (0, {})


def test_a_bundle_of_nothing_but_reserved_pages_is_refused(tmp_path: Path, crawl: CrawlServer) -> None:
    data = tmp_path / "data"
    result = acquire(approved(tmp_path), data, CONNECTOR, config(crawl, urls=(f"{HOST}/noai",)))
    assert result["refused"] == {"opted-out": 1}
    assert next(iter(turned_down(data).values())).detail is not None
    assert not [path for path in files_below(data) if path.name.endswith(".warc.gz")]


@pytest.mark.parametrize(
    "row",
    [
        b"not json",
        b'{"url": "x"}',
        json.dumps(
            {"url": "x", "timestamp": "1", "filename": "../../etc/passwd", "offset": "0", "length": "9"}
        ).encode(),
        json.dumps({"url": "x", "timestamp": "1", "filename": "a", "offset": "zero", "length": "9"}).encode(),
    ],
)
def test_a_row_that_is_none_is_named_with_its_line(crawl: CrawlServer, row: bytes) -> None:
    crawl.fail(r"[?&]page=0", Answer(200, b"\n" + row))
    with Client(LOCAL) as client, pytest.raises(FetchFailed, match="line 2") as failed:
        list(server_captures(client, crawl.url, CRAWL, "*.harbour.example"))
    assert failed.value.reason is FetchReason.WRONG_CONTENT


def test_page_beyond_the_last_is_an_error_that_says_so(crawl: CrawlServer) -> None:
    crawl.fail("showNumPages", Answer(200, b'{"pages": 40, "pageSize": 1, "blocks": 40}'))
    with Client(LOCAL) as client, pytest.raises(FetchFailed, match="Last Page is"):
        list(server_captures(client, crawl.url, CRAWL, "*.harbour.example"))


@pytest.mark.parametrize(
    "values",
    [
        {"crawls": []},
        {"crawls": ["../x"], "urls": ["a"]},
        {"crawls": [CRAWL]},
        {"crawls": [CRAWL], "urls": ["a"], "include": ["("]},
        {"crawls": [CRAWL], "urls": ["a"], "speed": 1},
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CommonCrawlConfig.model_validate(values)


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("*.harbour.example", "https://harbour.example/a", True),
        ("*.harbour.example", "https://www.harbour.example/a", True),
        ("*.harbour.example/*", "http://a.b.harbour.example/", True),
        ("*.harbour.example", "https://notharbour.example/", False),
        ("harbour.example/boats/*", "https://harbour.example/boats/1", True),
        ("harbour.example/boats/*", "https://harbour.example/nets/1", False),
        ("https://harbour.example/", "http://harbour.example", True),
    ],
)
def test_url_patterns_mean_what_the_index_server_means(pattern: str, url: str, fits: bool) -> None:
    assert UrlPattern(pattern).fits(url) == fits


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("*.harbour.example", "example,harbour"),
        ("https://www2.harbour.example:8080/a", "example,harbour"),
        ("harbour.exam*", ""),
    ],
)
def test_surt_prefixes_are_never_too_long(pattern: str, prefix: str) -> None:
    assert UrlPattern(pattern).surt_prefix() == prefix


def test_the_columnar_index_is_read_where_the_urls_can_be(crawl: CrawlServer) -> None:
    def asked(urls: tuple[str, ...]) -> tuple[int, int]:
        before = len(crawl.asked)
        with Client(LOCAL) as client:
            found = list(table_captures(archive_base(crawl.url, client), CRAWL, urls))
        return len(found), len(crawl.asked) - before

    everything, few = asked(()), asked(("inland.example/*",))
    assert everything[0] == len(PAGES)
    assert few[0] == 1
    assert few[1] < everything[1]


def test_filters_are_all_asked() -> None:
    capture = Capture("https://a.example/b", "2024", 200, "text/html", ("eng", "deu"), "D", "f", 0, 10)
    assert CaptureFilter(languages=("eng",), mime=("text/html",)).wants(capture)
    assert not CaptureFilter(languages=("deu",)).wants(capture)
    assert CaptureFilter(languages=("deu",), main_language_only=False).wants(capture)
    assert not CaptureFilter(max_record_bytes=9).wants(capture)
    assert not CaptureFilter(exclude=(re.compile("/b$"),)).wants(capture)
    assert not CaptureFilter(include=(re.compile("/c$"),)).wants(capture)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50_000_000), st.integers(1, 9_000_000)), max_size=40).map(
        sorted
    )
)
def test_ranges_keep_every_record_in_order_and_within_bounds(rows: list[tuple[str, int, int]]) -> None:
    captures = [Capture("u", "t", 200, "m", (), "", name, offset, length) for name, offset, length in rows]
    groups = list(ranges(captures))
    assert [capture for group in groups for capture in group] == captures
    for group in groups:
        span = group[-1].offset + group[-1].length - group[0].offset
        assert len({capture.filename for capture in group}) == 1
        assert len(group) == 1 or span <= 8 << 20


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
def test_a_damaged_record_is_never_kept(place: int, noise: bytes) -> None:
    member, digest = record(GOOD[0])
    capture = Capture(GOOD[0].url, "t", 200, "text/html", (), digest, "f", 0, len(member))
    at = place % len(member)
    damaged = member[:at] + noise + member[at + len(noise) :]
    verdict = check_record(capture, damaged, "expedition", honour_opt_out=True, unpacked_bytes=1 << 20)
    # What the gzip header says besides its magic (time, system) changes nothing in the content.
    assert verdict.member is None or gzip.decompress(damaged) == gzip.decompress(member)


def test_a_bomb_in_a_record_is_not_unpacked() -> None:
    bomb = gzip.compress(b"WARC/1.0\r\n" + bytes(50_000_000))
    capture = Capture("u", "t", 200, "m", (), "", "f", 0, len(bomb))
    verdict = check_record(capture, bomb, "expedition", honour_opt_out=True, unpacked_bytes=1 << 20)
    assert (verdict.member, verdict.reason) == (None, FetchReason.BOMB)

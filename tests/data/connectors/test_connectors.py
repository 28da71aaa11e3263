"""The general connectors: URL lists of every form, object stores, folders; and how a connector is found."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.compliance import Statement, append
from expedition.data.connectors import (
    Client,
    Context,
    FetchFailed,
    FetchOptions,
    FetchPolicy,
    FetchReason,
    RemoteItem,
    connector_names,
    fetch_source,
    find_connector,
)
from expedition.data.connectors.landing import key_problem
from expedition.data.connectors.object_store import CONNECTOR as STORE
from expedition.data.connectors.object_store import ObjectStoreConfig
from expedition.data.connectors.paths import key_of_path, key_of_url, named_key_of_url
from expedition.data.connectors.url_list import CONNECTOR as URL_LIST
from expedition.data.connectors.url_list import UrlListConfig, expanded
from expedition.data.sources import kept
from expedition.errors import InputError, UsageError
from expedition.workspace import Workspace
from expedition.workspace.objects import ObjectStore
from tests.data.connectors.conftest import QUICK
from tests.data.connectors.hostile_server import HostileServer

DIGEST = hashlib.sha256(b"x").hexdigest()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with Client(FetchPolicy(**QUICK)) as client:
        (tmp_path / "state").mkdir()
        yield Context(client, tmp_path, tmp_path / "state", lambda text: None)


def items(context: Context, **settings: Any) -> list[RemoteItem]:
    return list(URL_LIST.items(context, UrlListConfig(**settings)))


ROWS = [
    {"url": "https://a.example/1.jpg", "sha256": DIGEST, "licence": "CC0-1.0", "caption": "one, two"},
    {"url": "https://b.example/2.jpg?x=ö", "sha256": "", "licence": "", "caption": "three"},
]


def write_list(folder: Path, form: str) -> Path:
    path = folder / f"list.{form}"
    if form.startswith("jsonl"):
        body = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    elif form.startswith(("csv", "tsv")):
        mark = "," if form.startswith("csv") else "\t"
        lines = [list(ROWS[0]), *[[f'"{value}"' for value in row.values()] for row in ROWS]]
        body = "\ufeff".encode() + "".join(mark.join(line) + "\r\n" for line in lines).encode()
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist([{**row, "nested": [{"a": 1}]} for row in ROWS]), path, row_group_size=1)
        return path
    else:
        body = f"# list\n\n{ROWS[0]['url']} {DIGEST}\n{ROWS[1]['url']}\n".encode()
    if form.endswith(".gz"):
        body = gzip.compress(body)
    if form.endswith(".zst"):
        body = zstandard.compress(body)
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    "form", ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "tsv", "parquet", "txt", "txt.zst"]
)
def test_lists_of_every_form_say_the_same(context: Context, tmp_path: Path, form: str) -> None:
    found = items(context, list=str(write_list(tmp_path, form)))
    assert [item.url for item in found] == ["https://a.example/1.jpg", "https://b.example/2.jpg?x=%C3%B6"]
    assert [item.expect_sha256 for item in found] == [DIGEST, None]
    assert [item.key for item in found] == [key_of_url(row["url"]) for row in ROWS]
    if not form.startswith("txt"):
        assert [item.licence for item in found] == ["CC0-1.0", None]
        assert [item.meta for item in found] == [{"caption": "one, two"}, {"caption": "three"}]


def test_shards_as_webdataset_names_them(context: Context, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(
        "https://h.example/{train,val}-{000098..000101}.tar\nhttps://h.example/{not-a-range}\n"
    )
    found = items(context, list="l.txt", naming="url")
    assert len(found) == 9
    assert found[0].key == "h.example/train-000098.tar"
    assert found[3].url.endswith("train-000101.tar")
    assert list(expanded("a{3..1}b")) == ["a3b", "a2b", "a1b"]
    assert list(expanded("{0..99999999999}")) == ["{0..99999999999}"], "nothing explodes"


def test_own_columns_licences_and_a_folder_of_lists(context: Context, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    for number in (2, 1):
        (tmp_path / "lists" / f"{number}.csv").write_text(
            f"where,who,rights\nhttps://h/{number}.mp3,x/{number}.mp3,MIT\n"
        )
    settings = {"url_column": "where", "path_column": "who", "licence_column": "rights", "licences": ("CC0-1.0",)}
    found = items(context, list="lists", **settings)
    assert [item.key for item in found] == ["x/1.mp3", "x/2.mp3"]
    assert {item.refused for item in found} == {"licence MIT is none of CC0-1.0"}
    assert len(items(context, list="lists/1*.csv", **settings)) == 1


def test_a_remote_list_is_fetched_first(context: Context, server: HostileServer) -> None:
    server.files["/list.txt"] = b"https://h.example/1.jpg\n"
    assert len(items(context, list=server.url("/list.txt"))) == 1


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("l.jsonl", b'{"url": "https://h/1"}\nnonsense\n', r"l\.jsonl:2"),
        ("l.jsonl", b'{"picture": "https://h/1"}\n', r"l\.jsonl:1: has no URL"),
        ("l.csv", b"a,b\n1,2\n", r"l\.csv:2: has no URL"),
        ("l.parquet", b"PAR1nonsense", "no readable Parquet"),
        ("l.txt.gz", b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_a_wrong_list_says_file_and_line(
    context: Context, tmp_path: Path, name: str, body: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(InputError, match=message):
        items(context, list=name)
    with pytest.raises(InputError, match="no such list"):
        items(context, list="none.txt")


def test_listing_a_large_table_holds_a_batch_in_memory(context: Context, tmp_path: Path) -> None:
    table = pa.table(
        {"url": [f"https://h/{number}.jpg" for number in range(200_000)], "TEXT": ["words " * 20] * 200_000}
    )
    pq.write_table(table, tmp_path / "l.parquet", row_group_size=200_000)
    before = pa.total_allocated_bytes()
    del table
    listing = URL_LIST.items(context, UrlListConfig(list="l.parquet"))
    for _ in range(3000):
        next(listing)
    assert pa.total_allocated_bytes() <= before + (32 << 20)


@given(st.text(min_size=1, max_size=300))
def test_every_path_and_url_gives_a_key_that_may_land(text: str) -> None:
    for key in (key_of_path(text), key_of_url(text), named_key_of_url(f"http://h.example/{text.replace(chr(0), '')}")):
        assert key == "" or key_problem(key) is None, key


def test_keys_of_different_paths_differ() -> None:
    paths = ["a/b", "a/.b", "a/_b", "a/b?", "a/b_", "a/ö", "a/" + "x" * 300, "a/" + "x" * 301]
    assert len({key_of_path(path) for path in paths}) == len(paths)
    assert key_of_path("crawl/CC-MAIN.warc.gz") == "crawl/CC-MAIN.warc.gz"
    assert key_of_url("https://h/x.warc.gz?y=1").endswith(".warc.gz")


def approved(tmp_path: Path) -> tuple[Workspace, Path]:
    ws = Workspace.open(tmp_path / "ws", create=True)
    append(ws, Statement("approve", "raw", "Ada", "ours"))
    (tmp_path / "data").mkdir()
    return ws, tmp_path / "data"


def test_a_folder_is_copied_with_hashes(tmp_path: Path) -> None:
    ws, data = approved(tmp_path)
    origin = tmp_path / "disk"
    (origin / "sub").mkdir(parents=True)
    (origin / "sub" / "a.txt").write_text("words")
    (origin / "b.tmp").write_text("no")
    (origin / "out").symlink_to("/etc/passwd")
    options = FetchOptions("folder", (f"path={origin}", "exclude=['*.tmp']"))
    assert fetch_source(ws, data, "raw", options)["kept"] == 1
    assert fetch_source(ws, data, "raw", options)["already_there"] == 1
    assert kept(data / "raw")["sub/a.txt"].sha256 == hashlib.sha256(b"words").hexdigest()
    (origin / "sub" / "a.txt").write_text("other words")
    assert fetch_source(ws, data, "raw", options)["kept"] == 1
    assert (data / "raw" / "sub" / "a.txt").read_text() == "other words"
    with pytest.raises(InputError, match="is not a folder"):
        fetch_source(ws, data, "raw", FetchOptions("folder", ("path=/nowhere",)))


def test_an_object_store_comes_in_by_ranges_and_resumes(tmp_path: Path, s3_endpoint: str, noise: bytes) -> None:
    ws, data = approved(tmp_path)
    url = f"s3://expedition/{tmp_path.name}-raw?endpoint={s3_endpoint}"
    store = ObjectStore(url)
    large = noise * 20
    store.write("shards/large.tar", large)
    store.write("small.jsonl", b'{"text": "words"}\n')
    store.write("skip.log", b"x")
    options = FetchOptions("object-store", (f"url={url}", "exclude=['*.log']"))
    result = fetch_source(ws, data, "raw", options)
    assert (result["kept"], result["bytes"]) == (2, len(large) + 18)
    assert (data / "raw" / "shards" / "large.tar").read_bytes() == large
    assert kept(data / "raw")["small.jsonl"].url == f"s3://expedition/{tmp_path.name}-raw/small.jsonl"
    assert fetch_source(ws, data, "raw", options)["already_there"] == 2
    with pytest.raises(InputError, match="nothing lies under"):
        fetch_source(
            ws, data, "raw", FetchOptions("object-store", (f"url=s3://expedition/none?endpoint={s3_endpoint}",))
        )


def test_an_object_that_is_replaced_in_between_is_not_glued(
    tmp_path: Path, context: Context, s3_endpoint: str, noise: bytes
) -> None:
    """The part of a stopped run is used under the same ETag alone."""
    config = ObjectStoreConfig(url=f"s3://expedition/{tmp_path.name}-new?endpoint={s3_endpoint}")
    store = ObjectStore(config.url)
    old, new = noise * 20, noise[::-1] * 20
    store.write("a.bin", old)
    (item,) = STORE.items(context, config)
    target = tmp_path / "a.bin"

    class Stops(Client):
        def require_running(self, url: str) -> None:
            if (target.parent / ".part-a.bin").stat().st_size:
                raise FetchFailed(FetchReason.STOPPED, "stopped", url)

    with Stops(context.client.policy) as stopping:
        stopped = Context(stopping, context.base, context.state_dir, context.note)
        for content, resumes in ((old, True), (new, False)):
            store.write("a.bin", content)
            (item,) = STORE.items(context, config)
            if resumes:
                with pytest.raises(FetchFailed, match="stopped"):
                    STORE.fetch(stopped, config, item, target)
                done = STORE.fetch(context, config, item, target)
                assert done.resumed_from == 8 << 20
            else:
                with pytest.raises(FetchFailed, match="stopped"):
                    STORE.fetch(stopped, config, item, target)
                store.write("a.bin", old)
                with pytest.raises(FetchFailed) as caught:
                    STORE.fetch(context, config, item, target)
                assert caught.value.reason is FetchReason.CHANGED
                (item,) = STORE.items(context, config)
                assert STORE.fetch(context, config, item, target).resumed_from == 0
            assert target.read_bytes() == old


def test_connectors_are_found_by_name() -> None:
    assert {"folder", "object-store", "url-list"} <= set(connector_names())
    for name in connector_names():
        assert find_connector(name).name == name
    with pytest.raises(UsageError, match="did you mean 'folder'"):
        find_connector("foldr")


def test_a_connector_of_another_package_is_found_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import sys

    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[expedition.connectors]\nother = other_connector:CONNECTOR\n")
    (tmp_path / "other_connector.py").write_text(
        "from pydantic import BaseModel\n"
        "from expedition.data.connectors import RemoteItem, Downloaded\n"
        "class Config(BaseModel):\n    words: str\n"
        "class Other:\n"
        "    name = 'other'\n    config = Config\n"
        "    def items(self, context, config):\n        yield RemoteItem('a.txt', 'memory:a')\n"
        "    def fetch(self, context, config, item, target):\n"
        "        target.parent.mkdir(parents=True, exist_ok=True)\n"
        "        target.write_text(config.words)\n"
        "        return Downloaded(item.url, item.url, len(config.words), '')\n"
        "CONNECTOR = Other()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    ws, data = approved(tmp_path)
    assert fetch_source(ws, data, "raw", FetchOptions("other", ("words=hello",)))["kept"] == 1
    assert (data / "raw" / "a.txt").read_text() == "hello"
    sys.modules.pop("other_connector")


def test_text_list_reader_is_lazy(context: Context, tmp_path: Path) -> None:
    body = io.BytesIO()
    with gzip.GzipFile(fileobj=body, mode="wb") as packed:
        packed.write(b"https://h.example/{000000..999999}.jpg\n" * 50)
    (tmp_path / "l.txt.gz").write_bytes(body.getvalue())
    listing = URL_LIST.items(context, UrlListConfig(list="l.txt.gz"))
    assert next(listing).url == "https://h.example/000000.jpg"

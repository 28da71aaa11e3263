"""Large inputs within a worker's bound: a record of 200 MB, a file that cannot be cut, a file in parts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from expedition.data.engine import Limits, Outcome, Task, map_shards
from expedition.data.engine.tables import read_table
from expedition.data.sources import SourceFolder, list_items
from expedition.data.versions.prepare import DOCUMENTS, LOST, PrepareUnit, Setup, Unit
from expedition.plan import load_programme

from . import shard_functions

LARGE = 200 << 20
PROSE = "The keeper of the lighthouse counted ships before the fog came in from the sea, and wrote them down. "


@pytest.fixture(scope="module")
def prepare_unit(tmp_path_factory: pytest.TempPathFactory) -> PrepareUnit:
    programme = load_programme("rehearsal")
    absent = tmp_path_factory.mktemp("none") / "eval"
    return PrepareUnit(Setup(programme.data.model_dump_json(), programme.media.model_dump_json(), absent))


def filler(size: int) -> Iterator[bytes]:
    block = b"a" * (1 << 20)
    for _ in range(size >> 20):
        yield block


def write(path: Path, *parts: bytes | Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for part in parts:
            file.writelines([part] if isinstance(part, bytes) else part)


def warc_head(length: int) -> bytes:
    head = ["WARC/1.0", "WARC-Type: resource", "WARC-Record-ID: <urn:x>", "WARC-Target-URI: http://example.org/"]
    return "\r\n".join([*head, "Content-Type: text/plain", f"Content-Length: {length}", "", ""]).encode()


def test_record_of_200_mb_is_refused_by_a_rule_within_the_bound(tmp_path: Path, prepare_unit: PrepareUnit) -> None:
    """What comes after it in the same file is kept; the worker never holds it."""
    folder, text = tmp_path / "data" / "big", (PROSE * 8).encode()
    good = json.dumps({"text": PROSE * 8}).encode() + b"\n"
    write(folder / "line.jsonl", good, b'{"text": "', filler(LARGE), b'"}\n', good.replace(b"keeper", b"warden"))
    write(folder / "page.html", b"<html><body><p>", filler(LARGE), b"</p></body></html>")
    write(folder / "plain.txt", filler(LARGE))
    write(folder / "crawl.warc", warc_head(LARGE), filler(LARGE), b"\r\n\r\n", warc_head(len(text)), text, b"\r\n\r\n")
    source = SourceFolder("big", tmp_path / "data", "web")
    unit = Unit(source, tuple(list_items(source, split_bytes=1 << 40)), 1.0, False)
    limits = Limits(workers=1, attempts=1, memory_bytes=700 << 20, preload=("expedition.data.versions.prepare",))
    outcome = map_shards(prepare_unit, [Task("big", unit)], tmp_path / "out", limits)[0]
    assert outcome.quarantined is None
    lost = {(row["path"], row["reason"]) for row in read_table(outcome.folder / LOST).to_pylist()}
    names = ("line.jsonl", "page.html", "plain.txt", "crawl.warc")
    assert {(f"big/{name}", "too large") for name in names} <= lost
    kept = read_table(outcome.folder / DOCUMENTS).column("path").to_pylist()
    assert kept.count("big/line.jsonl") == 2 or outcome.summary["decoded"] == 3


def grown(source: SourceFolder, split_bytes: int, place: Path) -> list[Outcome]:
    """Documents and growth of memory, an item a task, each in a worker of its own."""
    items = list_items(source, split_bytes=split_bytes)
    outcomes = []
    for number, item in enumerate(items):
        task = Task(f"item-{number}", (source, (item,)))
        outcomes += map_shards(shard_functions.count_documents, [task], place, Limits(workers=1, attempts=1))
    return outcomes


def test_gzip_file_that_cannot_be_cut_is_streamed(tmp_path: Path) -> None:
    row = json.dumps({"text": PROSE * 40}).encode() + b"\n"
    count = (40 << 20) // len(row)
    path = tmp_path / "data" / "rows" / "rows.jsonl.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(count):
            file.write(row)
    outcomes = grown(SourceFolder("rows", tmp_path / "data", "synthetic"), 64 << 10, tmp_path / "out")
    assert len(outcomes) == 1
    assert outcomes[0].summary["documents"] == count
    assert outcomes[0].summary["grown_bytes"] < 16 << 20


def test_large_file_is_read_in_parts_that_hold_each_row_once(tmp_path: Path) -> None:
    row = json.dumps({"text": PROSE * 40}).encode() + b"\n"
    count = (24 << 20) // len(row)
    write(tmp_path / "data" / "rows" / "rows.jsonl", row * count)
    source = SourceFolder("rows", tmp_path / "data", "synthetic")
    outcomes = grown(source, 8 << 20, tmp_path / "out")
    assert len(outcomes) == 3
    assert sum(outcome.summary["documents"] for outcome in outcomes) == count
    assert max(outcome.summary["grown_bytes"] for outcome in outcomes) < 16 << 20


def test_rows_that_are_lost_are_written_as_they_come(tmp_path: Path) -> None:
    from expedition.data.engine.tables import BATCH_ROWS, TableWriter

    schema = pa.schema([("row", pa.int64())])
    rows: list[dict[str, Any]] = [{"row": number} for number in range(2 * BATCH_ROWS + 5)]
    with TableWriter(tmp_path / "t.arrow", schema) as writer:
        writer.add(rows[:7])
        writer.add(rows[7:])
        assert len(writer._waiting) < BATCH_ROWS
    assert read_table(tmp_path / "t.arrow").to_pylist() == rows

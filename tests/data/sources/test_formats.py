"""Every form in which corpora are handed over is read as a source: shards, Parquet, packed lines, books, plain texts."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from PIL import Image

from expedition.data.decode import DecodeRules
from expedition.data.sources import Rejected, SourceFolder, discover, list_items, read_documents


def picture_bytes(seed: int) -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(body, "JPEG")
    return body.getvalue()


def read(data: Path) -> tuple[SourceFolder, list[dict[str, Any]], list[Rejected]]:
    (source,) = discover(data)
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for found in read_documents(source, list_items(source), DecodeRules()):
        if isinstance(found, Rejected):
            rejected.append(found)
        elif isinstance(found, pa.RecordBatch):
            rows.extend(found.to_pylist())
    return source, rows, rejected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    return tmp_path / "data" / "raw"


LINES = "".join(json.dumps({"text": f"Words of document {n}.", "url": f"https://h/{n}"}) + "\n" for n in range(20))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_lines_packed_or_not(folder: Path, suffix: str) -> None:
    pack = {".jsonl": bytes, ".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.compress}[suffix]
    (folder / f"part{suffix}").write_bytes(pack(LINES.encode()))
    _, rows, rejected = read(folder.parent)
    assert [row["text"] for row in rows] == [f"Words of document {n}." for n in range(20)]
    assert not rejected


@pytest.mark.parametrize("packed", [False, True])
def test_webdataset_shards_of_pictures(folder: Path, packed: bool) -> None:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as shard:
        for number in range(3):
            note = json.dumps({"caption": f"picture {number}", "license": "CC0-1.0"}).encode()
            for suffix, data in (("jpg", picture_bytes(number)), ("json", note)):
                info = tarfile.TarInfo(f"{number:06d}.{suffix}")
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
    name = "shard-000000.tar.gz" if packed else "shard-000000.tar"
    (folder / name).write_bytes(gzip.compress(body.getvalue()) if packed else body.getvalue())
    source, rows, rejected = read(folder.parent)
    assert [(row["text"], row["licence"], row["kind"]) for row in rows] == [
        (f"\ufffc picture {number}", "CC0-1.0", "image-text") for number in range(3)
    ]
    assert not rejected
    if not packed:
        assert source.kind == "image-text"


@pytest.mark.parametrize("nested", [False, True])
def test_pictures_inside_parquet_rows(folder: Path, nested: bool) -> None:
    """Bytes in a column of their own, or {bytes, path} as the `datasets` library writes them."""
    pictures = [picture_bytes(number) for number in range(40)]
    held: Any = (
        [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(pictures)] if nested else pictures
    )
    table = pa.table(
        {"image": held, "TEXT": [f"picture {number}" for number in range(40)], "licence": ["CC0-1.0"] * 40}
    )
    pq.write_table(table, folder / "part.parquet", row_group_size=15)
    source, rows, rejected = read(folder.parent)
    assert source.kind == "image-text"
    assert [row["text"] for row in rows] == [f"\ufffc picture {number}" for number in range(40)]
    assert {row["licence"] for row in rows} == {"CC0-1.0"}
    assert len({row["id"] for row in rows}) == 40
    assert not rejected


def test_a_broken_picture_inside_parquet_costs_its_row_only(folder: Path) -> None:
    files = [picture_bytes(0), b"no picture at all", picture_bytes(2)[:200], picture_bytes(3)]
    held = [{"bytes": data, "path": None} for data in files]
    pq.write_table(pa.table({"image": held, "caption": list("abcd")}), folder / "part.parquet")
    _, rows, rejected = read(folder.parent)
    assert [row["text"] for row in rows] == ["\ufffc a", "\ufffc d"]
    assert [item.inner for item in rejected] == ["row group 0 row 1 image", "row group 0 row 2 image"]


def test_bytes_that_are_no_medium_leave_the_text_alone(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["Words."], "digest": [b"\x01\x02\x03"]}), folder / "part.parquet")
    _, rows, _ = read(folder.parent)
    assert [row["text"] for row in rows] == ["Words."]


def test_dialogues_and_nested_columns_inside_parquet(folder: Path) -> None:
    talk = [[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]] * 3
    table = pa.table({"messages": talk, "score": [0.5] * 3, "extra": [{"a": [1, 2]}] * 3})
    pq.write_table(table, folder / "part.parquet")
    _, rows, rejected = read(folder.parent)
    assert [row["text"] for row in rows] == ["user: Why?\n\nassistant: Because."] * 3
    assert not rejected


READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from expedition.data.decode import Raw, decode, DecodeRules
list(decode(Raw("warm.jsonl", b'{"text": "warm"}'), DecodeRules()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in decode(Raw("part.parquet", path=Path(sys.argv[1])), DecodeRules()))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_a_large_row_group_is_read_in_bounded_memory(folder: Path) -> None:
    """100 MB of text in one row group: pages and small batches are the unit in memory, not the group."""
    letters = np.random.default_rng(5).integers(97, 123, (250, 400_000), dtype=np.uint8)
    schema = pa.schema([("text", pa.large_string())])
    with pq.ParquetWriter(folder / "part.parquet", schema, use_dictionary=False, compression="none") as writer:
        texts = pa.array([row.tobytes().decode() for row in letters], pa.large_string())
        writer.write_table(pa.table({"text": texts}), row_group_size=250)
    assert pq.ParquetFile(folder / "part.parquet").num_row_groups == 1
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(folder / "part.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    count, grown_mib = map(int, done.stdout.split())
    assert count == 250
    assert grown_mib < 80, grown_mib


def test_a_row_group_that_is_a_bomb_is_refused(folder: Path) -> None:
    texts = pa.array(["a" * 1_000_000] * 100)
    pq.write_table(pa.table({"text": texts}), folder / "part.parquet", compression="zstd", use_dictionary=False)
    assert (folder / "part.parquet").stat().st_size < 200_000
    _, rows, rejected = read(folder.parent)
    assert not rows
    assert [str(item.reason) for item in rejected] == ["unpacked too large"]


def test_books_and_plain_texts(folder: Path, open_data: Path) -> None:
    books = open_data / "books"
    for name in ("en_wasteland.epub", "en_alice_wonderland.pdf", "zh_lunyu.txt"):
        (folder / name).write_bytes((books / name).read_bytes())
    source, rows, _ = read(folder.parent)
    assert source.kind == "books"
    assert {row["path"] for row in rows} == {f"raw/{path.name}" for path in folder.iterdir()}
    assert all(row["kind"] == "books" and len(row["text"]) > 100 for row in rows[:3])

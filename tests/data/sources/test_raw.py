"""Raw bytes of a document: the very bytes of its file, whatever it was packed in or cut into."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from expedition.data.decode.rules import DecodeRules
from expedition.data.sources import SourceFolder, list_items, read_documents
from expedition.data.sources.raw import document_follows, raw_bytes
from expedition.errors import InputError

ROWS = [{"text": f"The keeper of lamp {number} walked along the quiet shore."} for number in range(40)]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def warc(texts: list[str]) -> list[bytes]:
    records = []
    for number, text in enumerate(texts):
        page = f"<html><body><p>{text}</p></body></html>".encode()
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        head += f"WARC-Target-URI: https://example.org/{number}\r\nContent-Type: application/http; msgtype=response\r\n"
        records.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n")
    return records


def tar(rows: list[dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, row in enumerate(rows):
            info = tarfile.TarInfo(f"log-{number}.txt")
            info.size = len(row["text"])
            archive.addfile(info, io.BytesIO(row["text"].encode()))
    return buffer.getvalue()


def zipped(rows: list[dict[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, row in enumerate(rows):
            archive.writestr(f"log-{number}.txt", row["text"])
    return buffer.getvalue()


RECORDS = warc([row["text"] * 3 for row in ROWS])
FILES: dict[str, tuple[bytes, str]] = {
    "rows.jsonl": (LINES, "line"),
    "rows.jsonl.gz": (gzip.compress(LINES), "line"),
    "rows.jsonl.zst": (zstandard.compress(LINES), "line"),
    "crawl.warc": (b"".join(RECORDS), "record"),
    "crawl.warc.gz": (b"".join(gzip.compress(record) for record in RECORDS), "record"),
    "logs.tar": (tar(ROWS), "member"),
    "logs.zip": (zipped(ROWS), "member"),
    "log.txt": (ROWS[0]["text"].encode() * 20, "file"),
}


def documents(source: SourceFolder, split_bytes: int) -> list[dict[str, Any]]:
    batches = read_documents(source, list_items(source, split_bytes))
    return [row for batch in batches for row in batch.select(["id", "path", "text", "meta"]).to_pylist()]


@pytest.mark.parametrize("split_bytes", [1 << 26, 700])
@pytest.mark.parametrize("name", FILES)
def test_raw_bytes_are_those_of_the_document(tmp_path: Path, name: str, split_bytes: int) -> None:
    content, what = FILES[name]
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / name).write_bytes(content)
    source = SourceFolder("pages", tmp_path, "web")
    found = documents(source, split_bytes)
    assert len(found) == (1 if what == "file" else len(ROWS))
    for row in found:
        inner = json.loads(row["meta"]).get("inner")
        raw = raw_bytes(tmp_path, row["path"], inner, split_bytes)
        assert raw.what == what and raw.sha256 == hashlib.sha256(raw.data).hexdigest()
        assert raw.file_sha256 == hashlib.sha256(content).hexdigest()
        assert row["text"].split(".")[0].encode() in raw.data
        if not raw.packed and what != "member":
            assert content[raw.offset : raw.offset + raw.size_bytes] == raw.data
        if what == "line":
            assert json.loads(raw.data)["text"] == row["text"]
        if what == "record":
            assert raw.data in RECORDS or raw.data + b"\r\n\r\n" in RECORDS
    row = found[-1]
    inner = json.loads(row["meta"]).get("inner")
    follows = (source, row["path"], inner)
    assert document_follows(*follows, row["id"], DecodeRules(), split_bytes)
    assert not document_follows(*follows, "0" * 32, DecodeRules(), split_bytes)


def test_file_that_is_gone_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there") as caught:
        raw_bytes(tmp_path, "pages/a.html", None)
    assert "--data DIR" in str(caught.value.fix)


def test_raw_bytes_of_real_files(open_data: Path) -> None:
    """Web archives and JSON lines of the open data: every tenth document is led back to its bytes."""
    source = SourceFolder("web", open_data, "web", exclude=("robots/*",))
    items = [item for item in list_items(source) if item.path.endswith((".warc", ".warc.gz", ".jsonl", ".jsonl.gz"))]
    found = 0
    for item in sorted(items, key=lambda item: item.size_bytes)[:4]:
        rows = [
            row
            for batch in read_documents(source, [item])
            if hasattr(batch, "num_rows")
            for row in batch.select(["id", "path", "meta"]).to_pylist()
        ]
        for row in rows[::10][:4]:
            raw = raw_bytes(open_data, row["path"], json.loads(row["meta"]).get("inner"))
            assert raw.what in ("record", "line") and raw.size_bytes < raw_size(open_data / row["path"], raw.packed)
            found += 1
    assert found


def raw_size(path: Path, packed: bool) -> float:
    return float("inf") if packed else path.stat().st_size

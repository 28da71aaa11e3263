"""Common Crawl as documented: collinfo, the CDX server's pages and filters, path listings, archives with ranges."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from expedition.sampleworld.services.protocol import Answer, Asked, ProtocolServer, as_json, ranged

Row = dict[str, str]
"""A row of the URL index, as the CDX server gives it."""

_DIGEST = re.compile(rb"WARC-Payload-Digest: sha1:(\w+)", re.IGNORECASE)
_READ_BYTES = 1 << 16


class CommonCrawl(ProtocolServer):
    """The index server and the data server of one crawl.

    `files` by name below the data server's address, bytes or a path. `page_rows` rows are one block of the index.
    """

    def __init__(
        self, crawl: str, files: Mapping[str, bytes | Path], rows: list[Row] | None = None, *, page_rows: int = 3000
    ) -> None:
        super().__init__()
        self.crawl = crawl
        self.files = dict(files)
        self._rows = rows
        self._page_rows = page_rows

    @cached_property
    def rows(self) -> list[Row]:
        """The URL index, by SURT key: given, or read from the archives when it is first asked for."""
        if self._rows is not None:
            return self._rows
        found = [
            row
            for name, path in sorted(self.files.items())
            if name.endswith(".warc.gz") and isinstance(path, Path)
            for row in index_rows(name, path)
        ]
        return sorted(found, key=lambda row: row["urlkey"])

    def answer(self, asked: Asked) -> Answer:
        """One of the index's or data server's replies."""
        if asked.path == "/collinfo.json":
            return as_json([{"id": self.crawl, "name": self.crawl, "cdx-api": f"{self.url}/{self.crawl}-index"}])
        if asked.path == f"/{self.crawl}-index":
            return self._index(asked)
        data = self.files.get(asked.path.lstrip("/"))
        if data is None:
            return Answer(404, b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>')
        return ranged(asked, data, {"ETag": f'"{_tag(data)}"', "Content-Type": "application/octet-stream"})

    def _index(self, asked: Asked) -> Answer:
        pattern = asked.one("url")
        with self.lock:
            known = self.rows
        rows = [row for row in known if _fits(row["url"], pattern) and _passes(row, asked.query.get("filter", []))]
        if not rows:
            return as_json({"message": f"No Captures found for: {pattern}"}, 404)
        size = int(asked.one("pageSize", "1")) * self._page_rows
        pages = -(-len(rows) // size)
        if asked.one("showNumPages") == "true":
            return as_json({"pages": pages, "pageSize": size, "blocks": pages})
        page = int(asked.one("page", "0"))
        if page >= pages:
            return as_json({"message": f"Page {page} invalid: First Page is 0, Last Page is {pages - 1}"}, 400)
        lines = "".join(json.dumps(row) + "\n" for row in rows[page * size : (page + 1) * size])
        return Answer(200, lines.encode(), {"Content-Type": "text/x-ndjson"})


def listing(names: list[str]) -> bytes:
    """A path listing such as warc.paths.gz."""
    return gzip.compress("".join(f"{name}\n" for name in sorted(names)).encode(), mtime=0)


def surt(url: str) -> str:
    """The key by which the index is sorted: the host's labels reversed, then the path."""
    parts = urlsplit(url)
    host = ",".join(reversed((parts.hostname or "").removeprefix("www.").split(".")))
    return f"{host}){parts.path}"


def index_rows(name: str, path: Path) -> Iterator[Row]:
    """An index row for each response of a WARC file of gzip members; a cut-off tail has none."""
    for offset, length, record in _members(path):
        head, _, block = record.partition(b"\r\n\r\n")
        if b"WARC-Type: response" not in head:
            continue
        fields = {
            key.strip().lower(): value.strip()
            for key, _, value in (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
        }
        http, _, body = block.partition(b"\r\n\r\n")
        status = http.split(b" ", 2)[1:2]
        kind = re.search(rb"content-type:\s*([^;\r\n]+)", http, re.IGNORECASE)
        spoken = re.search(rb'<html lang="([\w-]+)"', body[:2000])
        charset = re.search(rb'charset="?([\w-]+)', body[:2000])
        digest = _DIGEST.search(head)
        mime = "text/html" if kind is None else kind.group(1).decode().strip()
        yield {
            "urlkey": surt(fields["warc-target-uri"]),
            "timestamp": re.sub(r"\D", "", fields["warc-date"])[:14],
            "url": fields["warc-target-uri"],
            "mime": mime,
            "mime-detected": mime,
            "status": status[0].decode() if status else "200",
            "digest": _sha1(body.removesuffix(b"\r\n\r\n")) if digest is None else digest.group(1).decode(),
            "length": str(length),
            "offset": str(offset),
            "filename": name,
            "languages": ISO_639_3.get(spoken.group(1).decode(), "") if spoken else "",
            "encoding": "UTF-8" if charset is None else charset.group(1).decode().upper(),
        }


ISO_639_3 = {
    "en": "eng", "zh": "zho", "yue": "yue", "wuu": "wuu", "nan": "nan", "bo": "bod", "ug": "uig", "mn": "mon",
    "kk": "kaz", "cy": "cym", "eu": "eus", "gd": "gla", "sw": "swa", "de": "deu", "fr": "fra", "es": "spa", "ru": "rus",
    "ja": "jpn", "ko": "kor", "ar": "ara", "hi": "hin", "tr": "tur",
}  # fmt: skip
"""The index names languages by three letters, pages by their own tag."""


def _members(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(offset, length, content) of each whole gzip member; one member in memory at a time."""
    with path.open("rb") as file:
        waiting, start = b"", 0
        while True:
            unpacker, content, length = zlib.decompressobj(wbits=31), b"", 0
            while not unpacker.eof:
                piece = waiting or file.read(_READ_BYTES)
                waiting = b""
                if not piece:
                    return
                try:
                    content += unpacker.decompress(piece)
                except zlib.error:
                    return
                length += len(piece)
            waiting = unpacker.unused_data
            length -= len(waiting)
            yield start, length, content
            start += length


def _sha1(data: bytes) -> str:
    return base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _tag(data: bytes | Path) -> str:
    if isinstance(data, bytes):
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    told = data.stat()
    return hashlib.md5(f"{told.st_size} {told.st_mtime_ns}".encode(), usedforsecurity=False).hexdigest()


def _fits(url: str, pattern: str) -> bool:
    host, path = urlsplit(url).hostname or "", re.sub(r"^https?://", "", url)
    plain = re.sub(r"^https?://", "", pattern)
    if plain.startswith("*."):
        domain = plain[2:].split("/", 1)[0]
        return host == domain or host.endswith(f".{domain}")
    return path.startswith(plain[:-1]) if plain.endswith("*") else path == plain


def _passes(row: Row, filters: list[str]) -> bool:
    for text in filters:
        negated = text.startswith("!")
        mode = text.lstrip("!")[:1]
        name, _, wanted = text.lstrip("!").lstrip("=~").partition(":")
        value = row.get(name, "")
        hit = value == wanted if mode == "=" else re.fullmatch(wanted, value) if mode == "~" else wanted in value
        if bool(hit) == negated:
            return False
    return True

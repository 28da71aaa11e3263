"""A small web as Common Crawl has it: WARC, WET, ARC, both indexes, listings; served by the sample world's service."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from expedition.sampleworld.services.common_crawl import CommonCrawl, listing, surt
from tests.data.connectors.protocol_server import FaultyServer

CRAWL = "CC-MAIN-2024-10"
_SEGMENT = f"crawl-data/{CRAWL}/segments/1707947473347.0"
WORDS = "Boats leave the harbour before dawn and return when the tide has turned, heavy with herring and tired crews. "


@dataclass(frozen=True)
class Page:
    """A capture of the small web."""

    url: str
    text: str = WORDS
    status: int = 200
    mime: str = "text/html"
    language: str = "eng"
    header: str = ""
    """An extra response header line."""
    meta: str = ""

    @property
    def body(self) -> bytes:
        """The response's body."""
        page = f"<html><head><title>t</title>{self.meta}</head><body><p>{self.text * 8}</p></body></html>"
        return page.encode()


def record(page: Page, *, broken: bool = False, wrong_url: str | None = None) -> tuple[bytes, str]:
    """A response record as one gzip member, and its payload digest (base 32 SHA-1)."""
    digest = base64.b32encode(hashlib.sha1(page.body).digest()).decode()
    extra = f"{page.header}\r\n" if page.header else ""
    http = f"HTTP/1.1 {page.status} OK\r\nContent-Type: {page.mime}\r\n{extra}Content-Length: {len(page.body)}\r\n\r\n"
    block = http.encode() + page.body
    number = hashlib.md5(page.url.encode()).hexdigest()
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\n"
        f"WARC-Date: 2024-02-20T10:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number[:8]}-{number[8:12]}-{number[12:16]}-"
        f"{number[16:20]}-{number[20:]}>\r\nContent-Length: {len(block)}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nWARC-Payload-Digest: sha1:{digest}\r\n"
        f"WARC-Target-URI: {wrong_url or page.url}\r\n\r\n"
    )
    member = gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0)
    return (member[:40] + b"\x00\x00\x00\x00" + member[44:] if broken else member), digest


def wet_record(page: Page) -> bytes:
    """The text record of a page, as a gzip member."""
    text = (page.text * 8).encode()
    head = (
        "WARC/1.0\r\nWARC-Type: conversion\r\n"
        f"WARC-Target-URI: {page.url}\r\nWARC-Date: 2024-02-20T10:00:00Z\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + text + b"\r\n\r\n", mtime=0)


def arc_file(pages: list[Page]) -> bytes:
    """An ARC 1 file of gzip members, as crawls before 2013 have them."""
    first = b"1 0 CommonCrawl\nURL IP-address Archive-date Content-type Archive-length\n"
    members = [
        gzip.compress(
            f"filedesc://a.arc 0.0.0.0 20120101000000 text/plain {len(first)}\n".encode() + first + b"\n", mtime=0
        )
    ]
    for page in pages:
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page.body
        head = f"{page.url} 192.0.2.1 20120101000000 text/html {len(block)}\n".encode()
        members.append(gzip.compress(head + block + b"\n", mtime=0))
    return b"".join(members)


class CrawlServer(FaultyServer, CommonCrawl):
    """The index server and the data server of Common Crawl in one."""

    def __init__(self, pages: list[Page], *, page_rows: int = 4, broken: str = "", wrong: str = "") -> None:
        self.made: list[dict[str, str]] = []
        super().__init__(CRAWL, {}, self.made, page_rows=page_rows)
        half = (len(pages) + 1) // 2
        for number, part in enumerate((pages[:half], pages[half:])):
            self._archive(number, part, broken, wrong)
        self.made.sort(key=lambda row: row["urlkey"])
        self._listings(pages)
        self._columnar()

    def mirror(self, folder: Path) -> Path:
        """Every file below `folder`, as a local mirror has them."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    def _archive(self, number: int, pages: list[Page], broken: str, wrong: str) -> None:
        name = f"{_SEGMENT}/warc/CC-MAIN-2024-{number:05d}.warc.gz"
        info = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 2\r\n\r\nok\r\n\r\n"
        parts = [gzip.compress(info, mtime=0)]
        at = len(parts[0])
        for page in pages:
            is_wrong = bool(wrong) and page.url == wrong
            member, digest = record(
                page, broken=page.url == broken, wrong_url="http://other.example/" if is_wrong else None
            )
            parts.append(member)
            self.made.append(
                {
                    "urlkey": surt(page.url),
                    "timestamp": "20240220100000",
                    "url": page.url,
                    "mime": page.mime,
                    "mime-detected": page.mime,
                    "status": str(page.status),
                    "digest": digest,
                    "length": str(len(member)),
                    "offset": str(at),
                    "filename": name,
                    "languages": page.language,
                    "encoding": "UTF-8",
                }
            )
            at += len(member)
        self.files[name] = b"".join(parts)
        wet = name.replace("/warc/", "/wet/").replace(".warc.gz", ".warc.wet.gz")
        self.files[wet] = b"".join(wet_record(page) for page in pages)

    def _listings(self, pages: list[Page]) -> None:
        self.files["crawl-data/CC-OLD/segment/1346876860445/a.arc.gz"] = arc_file(pages[:2])
        for kind in ("warc", "wet"):
            names = sorted(name for name in self.files if f"/{kind}/" in name)
            self.files[f"crawl-data/{CRAWL}/{kind}.paths.gz"] = listing(names)
        arc = "crawl-data/CC-OLD/segment/1346876860445/a.arc.gz\n"
        self.files["crawl-data/CC-OLD/arc.paths.gz"] = gzip.compress(arc.encode())

    def _columnar(self) -> None:
        table = pa.table(
            {
                "url_surtkey": [row["urlkey"] for row in self.made],
                "url": [row["url"] for row in self.made],
                "url_host_name": [urlsplit(row["url"]).hostname for row in self.made],
                "fetch_time": [row["timestamp"] for row in self.made],
                "fetch_status": pa.array([int(row["status"]) for row in self.made], pa.int16()),
                "content_digest": [row["digest"] for row in self.made],
                "content_mime_detected": [row["mime-detected"] for row in self.made],
                "content_languages": [row["languages"] for row in self.made],
                "warc_filename": [row["filename"] for row in self.made],
                "warc_record_offset": pa.array([int(row["offset"]) for row in self.made], pa.int32()),
                "warc_record_length": pa.array([int(row["length"]) for row in self.made], pa.int32()),
            }
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=3)
        name = f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset=warc/part-00000.gz.parquet"
        self.files[name] = buffer.getvalue()
        self.files[f"crawl-data/{CRAWL}/cc-index-table.paths.gz"] = gzip.compress(f"{name}\n".encode())

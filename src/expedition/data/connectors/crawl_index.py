"""Common Crawl's URL index: which captures there are and where their records lie, by the CDX server or the columnar table.

Sources: the pywb CDX server's API as index.commoncrawl.org runs it (url, output, page, pageSize, showNumPages, filter;
404 = no captures), and the cc-index table (one Parquet file a part, sorted by SURT).
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from expedition.data.connectors.archive_base import ArchiveBase, RangeFile, listed
from expedition.data.connectors.client import Client
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.service_api import json_of, said

_PAGE_BYTES = 64 << 20
_COLUMNS = (
    "url", "fetch_time", "fetch_status", "content_mime_detected", "content_languages", "content_digest",
    "warc_filename", "warc_record_offset", "warc_record_length",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture: where its record lies, [offset, offset + length) of `filename`, and what the index says of it."""

    url: str
    timestamp: str
    status: int
    mime: str
    languages: tuple[str, ...]
    """ISO 639-3, the main one first."""
    digest: str
    """Base 32 of the payload's SHA-1."""
    filename: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class CaptureFilter:
    """Which captures are wanted. Empty lists want all."""

    status: tuple[int, ...] = (200,)
    mime: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    main_language_only: bool = True
    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()
    max_record_bytes: int = 16 << 20

    def wants(self, capture: Capture) -> bool:
        """Whether a capture passes. Pure."""
        if (self.status and capture.status not in self.status) or not 0 < capture.length <= self.max_record_bytes:
            return False
        if self.mime and capture.mime not in self.mime:
            return False
        spoken = capture.languages[:1] if self.main_language_only else capture.languages
        if self.languages and not set(spoken) & set(self.languages):
            return False
        if self.include and not any(pattern.search(capture.url) for pattern in self.include):
            return False
        return not any(pattern.search(capture.url) for pattern in self.exclude)


class SeenDigests:
    """Payload digests met so far, on disk: memory is bounded whatever their number. Not for many threads."""

    def __init__(self) -> None:
        # An empty name is a private database in a temporary file, gone when it is closed.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA cache_size = -65536")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (digest TEXT PRIMARY KEY) WITHOUT ROWID")

    def first_time(self, digest: str) -> bool:
        """Whether `digest` is new; it is not from now on. An empty digest is always new."""
        if not digest:
            return True
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def close(self) -> None:
        """Give the disk space back."""
        self._database.close()


def server_captures(
    client: Client, index: str, crawl: str, url: str, server_filters: Sequence[str] = (), page_size: int | None = None
) -> Iterator[Capture]:
    """Captures of `url` (exact, `prefix*`, `*.domain`) in one crawl, page by page, in the index's order.

    `server_filters` are the server's own (`=status:200`, `~languages:.*eng.*`, `!=mime:…`). Raises FetchFailed.
    """
    address = f"{index.rstrip('/')}/{crawl}-index"
    asked: list[tuple[str, str]] = [("url", url), ("output", "json"), *(("filter", text) for text in server_filters)]
    if page_size is not None:
        asked.append(("pageSize", str(page_size)))
    count = client.get(f"{address}?{urlencode([*asked, ('showNumPages', 'true')])}")
    if count.status == 404:
        return
    if not count.ok:
        raise FetchFailed(FetchReason.HTTP_STATUS, said(count), count.url, status=count.status)
    pages = _page_count(json_of(count), count.url)
    for page in range(pages):
        reply = client.get(f"{address}?{urlencode([*asked, ('page', str(page))])}", max_bytes=_PAGE_BYTES)
        if reply.status == 404:
            # Filters may leave a page empty; the server then says that there is nothing.
            continue
        if not reply.ok:
            raise FetchFailed(FetchReason.HTTP_STATUS, f"page {page}: {said(reply)}", reply.url, status=reply.status)
        for number, line in enumerate(reply.body.splitlines(), start=1):
            if line.strip():
                yield _capture(line, f"{reply.url} line {number}")


def table_captures(base: ArchiveBase, crawl: str, urls: Sequence[str]) -> Iterator[Capture]:
    """The same from the columnar index: only row groups whose SURT range can hold one of `urls`, only the columns needed.

    Raises FetchFailed.
    """
    import pyarrow.parquet as pq

    patterns = [UrlPattern(url) for url in urls]
    for name in listed(base, f"crawl-data/{crawl}/cc-index-table.paths.gz"):
        if "/subset=warc/" not in name or not name.endswith(".parquet"):
            continue
        try:
            table = pq.ParquetFile(RangeFile(base, name))
        except (OSError, ValueError) as error:
            raise FetchFailed(FetchReason.WRONG_CONTENT, f"no Parquet: {error}"[:120], base.address(name)) from None
        for group in range(table.num_row_groups):
            if patterns and not _may_hold(table.metadata.row_group(group), patterns):
                continue
            for row in table.read_row_group(group, columns=list(_COLUMNS)).to_pylist():
                if not patterns or any(pattern.fits(row["url"]) for pattern in patterns):
                    yield _of_table(row)


@dataclass(frozen=True, slots=True)
class UrlPattern:
    """A URL as the index server takes it: exact, a prefix with `*` at its end, or `*.domain` with all below it."""

    text: str

    def fits(self, url: str) -> bool:
        """Whether a captured URL is meant; the scheme does not count."""
        plain = self._plain
        host, rest = (urlsplit(url).hostname or "").lower(), re.sub(r"^https?://", "", url)
        if plain.startswith("*."):
            domain = plain[2:].split("/", 1)[0].lower()
            return host == domain or host.endswith(f".{domain}")
        if plain.endswith("*"):
            return rest.startswith(plain[:-1])
        return rest.rstrip("/") == plain.rstrip("/")

    def surt_prefix(self) -> str:
        """What the SURT keys of all its URLs begin with; as short as is safe."""
        plain = self._plain.removeprefix("*.")
        host = re.sub(r"^www\d*\.", "", plain.split("/", 1)[0].split(":", 1)[0].lower())
        if "*" in host:
            return ""
        return ",".join(part for part in reversed(host.split(".")) if part)

    @property
    def _plain(self) -> str:
        return re.sub(r"^https?://", "", self.text)


def _may_hold(group: Any, patterns: Sequence[UrlPattern]) -> bool:
    """Whether a row group's SURT statistics leave room for one of the patterns; True where there are none."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema != "url_surtkey" or column.statistics is None or not column.statistics.has_min_max:
            continue
        low, high = column.statistics.min, column.statistics.max
        prefixes = [pattern.surt_prefix() for pattern in patterns]
        return any(low[: len(prefix)] <= prefix and prefix <= high for prefix in prefixes)
    return True


def _page_count(value: Any, url: str) -> int:
    pages = value.get("pages") if isinstance(value, dict) else value
    if not isinstance(pages, int) or not 0 <= pages <= 10_000_000:
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"{pages!r} is no number of pages", url)
    return pages


def _capture(line: bytes, where: str) -> Capture:
    try:
        row = json.loads(line)
        return Capture(
            url=str(row["url"]),
            timestamp=str(row["timestamp"]),
            status=_number(row.get("status")),
            mime=str(row.get("mime-detected") or row.get("mime") or ""),
            languages=_languages(row.get("languages")),
            digest=str(row.get("digest", "")).removeprefix("sha1:"),
            filename=_safe_name(str(row["filename"])),
            offset=int(row["offset"]),
            length=int(row["length"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"no row of an index: {error!r}"[:120], where) from None


def _of_table(row: dict[str, Any]) -> Capture:
    moment = row["fetch_time"]
    return Capture(
        url=row["url"],
        timestamp=moment if isinstance(moment, str) else moment.strftime("%Y%m%d%H%M%S"),
        status=_number(row["fetch_status"]),
        mime=row["content_mime_detected"] or "",
        languages=_languages(row["content_languages"]),
        digest=row["content_digest"] or "",
        filename=_safe_name(row["warc_filename"]),
        offset=int(row["warc_record_offset"]),
        length=int(row["warc_record_length"]),
    )


def _languages(value: object) -> tuple[str, ...]:
    return tuple(part for part in str(value).split(",") if part) if value else ()


def _number(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else 0


def _safe_name(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or "://" in name:
        raise ValueError(f"a file name that leads elsewhere: {name[:80]}")
    return name

"""Common Crawl: single records by the URL index, or whole WARC, WET and ARC files; by https, from S3, from a mirror.

Common Crawl's crawler obeyed robots.txt when it fetched; what a page's archived headers or meta elements reserve is
checked here, record by record. Whole files are checked by the stages that read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from expedition.data.connectors.archive_base import ArchiveBase, archive_base, listed
from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.crawl_index import (
    Capture,
    CaptureFilter,
    SeenDigests,
    server_captures,
    table_captures,
)
from expedition.data.connectors.crawl_records import Bundle, fetch_bundle, plan_path, read_plan
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.service_api import api_client
from expedition.workspace.atomic import write_atomic
from expedition.workspace.hashes import sha256_json

_UNPACKED_BYTES = 256 << 20
_PLAN_ROWS = 200_000


class CommonCrawlConfig(BaseModel):
    """What of Common Crawl is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crawls: tuple[str, ...] = Field(min_length=1)
    """Names such as CC-MAIN-2024-10; earlier ones win where a payload is in several."""
    what: Literal["records", "warc", "wet", "wat", "arc"] = "records"
    """Single records by the URL index, or whole files of one kind."""
    base: str = "https://data.commoncrawl.org"
    """Where the files are: an http(s) address, `s3://commoncrawl`, or the folder of a mirror."""
    index: str = "https://index.commoncrawl.org"
    """Index server for `records`, or `columnar`: the cc-index table below `base` (no request to the server)."""
    urls: tuple[str, ...] = ()
    """Exact URLs, prefixes ending in `*`, or `*.domain`. Needed for the index server."""
    status: tuple[int, ...] = (200,)
    """HTTP statuses of captures; empty: all."""
    mime: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """Detected content types; empty: all."""
    languages: tuple[str, ...] = ()
    """ISO 639-3 codes as the index has them; empty: all."""
    main_language_only: bool = True
    """Only a page's first language counts."""
    include: tuple[str, ...] = ()
    """Regular expressions of URLs, one of which must be found."""
    exclude: tuple[str, ...] = ()
    """Regular expressions of URLs, none of which may be found."""
    deduplicate: bool = True
    """One record for each payload digest."""
    max_records: int | None = Field(None, ge=1)
    """Stop after so many records."""
    max_record_bytes: int = Field(16 << 20, ge=1)
    """Larger records (as stored) are left out."""
    bundle_bytes: int = Field(64 << 20, ge=1)
    """Records are put together to WARC files of about this size."""
    index_page_size: int | None = Field(None, ge=1)
    """Blocks a page of the index server; None: its own choice."""
    skip_files: int = Field(0, ge=0)
    """Whole files: leave out so many of each listing's first."""
    max_files: int | None = Field(None, ge=1)
    """Whole files: take at most so many of each listing."""
    sample_seed: int | None = None
    """Whole files: order each listing by a hash with this seed first, so that `max_files` is a fair sample."""
    licence: str | None = None
    """SPDX expression that stands in the record of every item; the pages keep their own rights."""
    refresh: bool = False
    """Ask the index again although a finished plan is there."""

    @field_validator("crawls")
    @classmethod
    def _names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", value):
                raise ValueError(f"{value!r} is no crawl's name, such as CC-MAIN-2024-10")
        return values

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> CommonCrawlConfig:
        if self.what == "records" and self.index != "columnar" and not self.urls:
            raise ValueError('urls is empty: give URL patterns such as "*.example.org", or index: columnar')
        return self

    def wanted(self) -> CaptureFilter:
        """The filter on captures."""
        return CaptureFilter(
            status=self.status,
            mime=self.mime,
            languages=self.languages,
            main_language_only=self.main_language_only,
            include=tuple(map(re.compile, self.include)),
            exclude=tuple(map(re.compile, self.exclude)),
            max_record_bytes=self.max_record_bytes,
        )

    def server_filters(self) -> list[str]:
        """The same, as far as the index server can do it: fewer rows travel."""
        filters = []
        if self.status:
            filters.append(f"~status:{'|'.join(map(str, self.status))}")
        if self.mime:
            filters.append(f"~mime-detected:{'|'.join(map(re.escape, self.mime))}")
        if self.languages:
            filters.append(f"~languages:.*({'|'.join(map(re.escape, self.languages))}).*")
        return filters

    def query(self) -> str:
        """Names what a plan depends on: 12 hex digits."""
        kept = self.model_dump(mode="json", exclude={"licence", "refresh", "index_page_size", "base"})
        return sha256_json(kept)[:12]


class CommonCrawl:
    """The connector `common-crawl`."""

    name = "common-crawl"
    config = CommonCrawlConfig

    def items(self, context: Context, config: CommonCrawlConfig) -> Iterator[RemoteItem]:
        """Bundles of records, or whole files, in the order of the index or listing."""
        base = _base(context, config)
        if config.what == "records":
            yield from _bundle_items(context, config, base)
        else:
            yield from _file_items(config, base)

    def fetch(self, context: Context, config: CommonCrawlConfig, item: RemoteItem, target: Path) -> Downloaded:
        """One bundle, each record verified; or one whole file."""
        base = _base(context, config)
        if config.what != "records":
            return base.copy(str(item.meta["file"]), target)
        folder = context.state_dir / config.query()
        done, counts = fetch_bundle(
            base,
            read_plan(folder, item.key),
            target,
            folder / f"{item.key}.left-out.jsonl",
            context.client.policy.agent,
            honour_opt_out=context.client.policy.honour_opt_out,
            unpacked_bytes=_UNPACKED_BYTES,
        )
        left_out = {name: count for name, count in sorted(counts.items()) if name != "kept"}
        item.meta.update(records=counts["kept"], left_out=left_out)
        return done


def _base(context: Context, config: CommonCrawlConfig) -> ArchiveBase:
    place = config.base
    if "://" not in place:
        place = str(context.base / place)
    return archive_base(place, context.client)


def _file_items(config: CommonCrawlConfig, base: ArchiveBase) -> Iterator[RemoteItem]:
    for crawl in config.crawls:
        names = list(listed(base, f"crawl-data/{crawl}/{config.what}.paths.gz"))
        if config.sample_seed is not None:
            names.sort(key=lambda name: sha256_json([config.sample_seed, name]))
        end = None if config.max_files is None else config.skip_files + config.max_files
        for name in names[config.skip_files : end]:
            key = name.removeprefix("crawl-data/")
            meta = {"crawl": crawl, "file": name}
            yield RemoteItem(key, base.address(name), licence=config.licence, meta=meta)


def _bundle_items(context: Context, config: CommonCrawlConfig, base: ArchiveBase) -> Iterator[RemoteItem]:
    folder = context.state_dir / config.query()
    finished = folder / "finished.json"
    if finished.is_file() and not config.refresh:
        for row in json.loads(finished.read_bytes())["bundles"]:
            if plan_path(folder, row["key"]).is_file():
                yield _bundle_item(config, base, row["key"], row["records"])
        return
    rows: list[dict[str, Any]] = []
    for number, captures in enumerate(_cut(_captures(context, config, base), config.bundle_bytes)):
        ordered = sorted(captures, key=lambda capture: (capture.filename, capture.offset))
        digest = sha256_json([[one.filename, one.offset, one.length, one.url] for one in ordered])[:12]
        bundle = Bundle(f"{config.crawls[0]}/{config.query()}-{number:06d}-{digest}.warc.gz", tuple(ordered))
        bundle.write(folder)
        rows.append({"key": bundle.key, "records": len(ordered)})
        yield _bundle_item(config, base, bundle.key, len(ordered))
    if not rows:
        context.note(f"the index has no captures for {', '.join(config.urls) or 'this filter'}")
    write_atomic(finished, json.dumps({"bundles": rows}).encode())


def _bundle_item(config: CommonCrawlConfig, base: ArchiveBase, key: str, records: int) -> RemoteItem:
    meta = {"crawls": list(config.crawls), "urls": list(config.urls), "query": config.query(), "planned": records}
    return RemoteItem(key, f"{base.address('crawl-data')}#{key}", licence=config.licence, meta=meta)


def _captures(context: Context, config: CommonCrawlConfig, base: ArchiveBase) -> Iterator[Capture]:
    """Wanted captures, each payload once, at most `max_records`."""
    wanted, seen, count = config.wanted(), SeenDigests(), 0
    try:
        for crawl in config.crawls:
            for capture in _crawl_captures(context, config, base, crawl):
                if not wanted.wants(capture) or (config.deduplicate and not seen.first_time(capture.digest)):
                    continue
                if not capture.filename.endswith(".warc.gz"):
                    raise FetchFailed(
                        FetchReason.WRONG_CONTENT,
                        f"the index of {crawl} points into {capture.filename}: only WARC records can be taken singly "
                        "(use what: arc for whole files)",
                        base.address(capture.filename),
                    )
                yield capture
                count += 1
                if count == config.max_records:
                    return
    finally:
        seen.close()


def _crawl_captures(context: Context, config: CommonCrawlConfig, base: ArchiveBase, crawl: str) -> Iterator[Capture]:
    if config.index == "columnar":
        yield from table_captures(base, crawl, config.urls)
        return
    client = api_client(context.client)
    for url in config.urls:
        context.note(f"asking the index of {crawl} for {url}")
        yield from server_captures(client, config.index, crawl, url, config.server_filters(), config.index_page_size)


def _cut(captures: Iterable[Capture], bundle_bytes: int) -> Iterator[list[Capture]]:
    """Captures, in order, cut into bundles of about `bundle_bytes`; depends on the list alone."""
    bundle: list[Capture] = []
    size = 0
    for capture in captures:
        if bundle and (size + capture.length > bundle_bytes or len(bundle) >= _PLAN_ROWS):
            yield bundle
            bundle, size = [], 0
        bundle.append(capture)
        size += capture.length
    if bundle:
        yield bundle


CONNECTOR = CommonCrawl()

"""Connector `url-list`: the files that a list of URLs names, in text, JSON lines, CSV, TSV or Parquet.

A list is a file, a folder or pattern of files, or itself at a URL; .gz and .zst are read. Text: a URL a line, with an
optional SHA-256 behind it, and shard ranges as WebDataset writes them (`shard-{000000..000127}.tar`, `{a,b}`). Tables:
columns as img2dataset, LAION and DataComp lists name them. Other scalar columns go into the item's record, so captions
reach the documents.
"""

from __future__ import annotations

import csv
import io
import itertools
import lzma
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pydantic import BaseModel, ConfigDict, Field

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem, download_item
from expedition.data.connectors.paths import key_of_url, named_key_of_url
from expedition.data.connectors.url import checked_url
from expedition.data.decode.archives import open_stream
from expedition.data.decode.jsonl import json_lines
from expedition.data.decode.piece import Fault, Refused
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import HEAD_BYTES, Format, sniff
from expedition.errors import InputError

_URL = ("url", "source_url", "image_url", "video_url", "audio_url", "download_url", "href")
_SHA256 = ("sha256", "sha256sum", "checksum_sha256")
_LICENCE = ("licence", "license", "spdx", "license_id", "licence_id")
_PATH = ("path", "file", "file_name", "filename", "key", "name")
_BYTES = ("bytes", "size_bytes", "content_length", "file_size")
_HEX = re.compile(r"^[0-9a-fA-F]{64}$")
_BRACES = re.compile(r"\{([^{}]{1,4000})\}")
_NUMBERS = re.compile(r"^(\d{1,18})\.\.(\d{1,18})$")
_MAX_EXPANDED = 10_000_000
_MAX_TEXT = 20_000
_MAX_COLUMNS = 64


class UrlListConfig(BaseModel):
    """Settings of `url-list`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    list: str
    """The list: a file, a folder or pattern of files, or an http(s) URL."""
    format: str | None = Field(default=None, pattern="^(text|jsonl|csv|tsv|parquet)$")
    """text, jsonl, csv, tsv or parquet; by content and name where it is not given."""
    url_column: str | None = None
    """Column of the URL; the usual names are tried where it is not given. The same for those below."""
    sha256_column: str | None = None
    licence_column: str | None = None
    path_column: str | None = None
    """Column of the path under which a file lands."""
    bytes_column: str | None = None
    naming: str = Field(default="hash", pattern="^(hash|url)$")
    """Path of a file whose row names none: of its URL's hash, or of host and path (which people can read)."""
    licences: tuple[str, ...] = ()
    """Only items under one of these licences are fetched; others are refused. Empty: all."""
    keep_columns: tuple[str, ...] | None = None
    """Further columns that go into an item's record; None: every scalar one."""


class UrlList:
    """The connector."""

    name = "url-list"
    config: type[BaseModel] = UrlListConfig

    def items(self, context: Context, config: UrlListConfig) -> Iterator[RemoteItem]:
        """An item a URL, in the list's order. Raises InputError for an unreadable list, FetchFailed for a remote one."""
        for path in _files(context, config):
            for number, row in _rows(path, config):
                yield _item(row, config, f"{path}:{number}")

    def fetch(self, context: Context, config: UrlListConfig, item: RemoteItem, target: Path) -> Downloaded:
        """Download the item's URL."""
        return download_item(context.client, item, target)


CONNECTOR = UrlList()


def expanded(text: str) -> Iterator[str]:
    """A text with its braces expanded as WebDataset does: `{00..12}` and `{a,b}`; any other brace stays. Lazy."""
    found = next((brace for brace in _BRACES.finditer(text) if _choices(brace.group(1)) is not None), None)
    if found is None:
        yield text
        return
    for choice in _choices(found.group(1)) or ():
        for rest in expanded(text[found.end() :]):
            yield text[: found.start()] + choice + rest


def _choices(inside: str) -> Iterator[str] | None:
    numbers = _NUMBERS.match(inside)
    if numbers is not None:
        first, last, width = int(numbers.group(1)), int(numbers.group(2)), len(numbers.group(1))
        if abs(last - first) >= _MAX_EXPANDED:
            return None
        step = 1 if last >= first else -1
        return (str(value).zfill(width) for value in range(first, last + step, step))
    return iter(inside.split(",")) if "," in inside else None


def _files(context: Context, config: UrlListConfig) -> list[Path]:
    place = config.list
    if place.startswith(("http://", "https://")):
        target = context.state_dir / key_of_url(place)
        context.client.download(place, target)
        return [target]
    path = context.base / Path(place).expanduser()
    if path.is_file():
        return [path]
    pattern = "*" if path.is_dir() else path.name
    folder = path if path.is_dir() else path.parent
    found = sorted(item for item in folder.glob(pattern) if item.is_file() and not item.name.startswith("."))
    if not found:
        raise InputError("there is no such list", where=str(path), fix="give a file, a folder, a pattern or a URL")
    return found


def _rows(path: Path, config: UrlListConfig) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line or row number from 1, row) of a list, a batch in memory at a time."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head[:4] == b"PAR1" or config.format == "parquet":
            yield from _parquet_rows(path)
            return
        file.seek(0)
        form = sniff(head, path.name)
        stream: BinaryIO = file
        name = path.name
        if form in (Format.GZIP, Format.ZSTANDARD, Format.BZIP2, Format.XZ):
            stream, name = open_stream(file, form), path.name.rsplit(".", 1)[0]
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
        try:
            yield from _text_rows(buffered, config.format or _format(name, buffered.peek(4096)), path)
        except (Refused, OSError, EOFError, zlib.error, zstandard.ZstdError, lzma.LZMAError) as error:
            raise InputError(f"the list cannot be read: {error}", where=str(path)) from None


def _format(name: str, head: bytes) -> str:
    low = name.lower()
    if low.endswith((".jsonl", ".ndjson")) or head.lstrip()[:1] == b"{":
        return "jsonl"
    if low.endswith(".tsv"):
        return "tsv"
    return "csv" if low.endswith(".csv") else "text"


def _text_rows(stream: BinaryIO, form: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if form == "jsonl":
        for number, value in json_lines(stream, Limits()):
            if isinstance(value, Fault) or not isinstance(value, dict):
                what = value.detail or str(value.reason) if isinstance(value, Fault) else "not an object"
                raise InputError(f"is no row of a URL list: {what}", where=f"{path}:{number}")
            yield number, value
        return
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    if form in ("csv", "tsv"):
        table = csv.DictReader(text, delimiter="\t" if form == "tsv" else ",")
        try:
            for row in table:
                yield table.line_num, {str(name): value for name, value in row.items() if isinstance(value, str)}
        except csv.Error as error:
            raise InputError(f"is no table row: {error}", where=f"{path}:{table.line_num}") from None
        return
    for number, line in enumerate(text, start=1):
        words = line.split("#", 1)[0].split() if line.lstrip().startswith("#") else line.split()
        if not words:
            continue
        digest = words[1] if len(words) > 1 and _HEX.match(words[1]) else None
        for url in expanded(words[0]):
            yield number, {"url": url, "sha256": digest}


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        table = pq.ParquetFile(path)
        scalar = [field.name for field in table.schema_arrow if _is_scalar(field.type)]
        numbers = itertools.count(1)
        for batch in table.iter_batches(batch_size=1024, columns=scalar):
            for row in batch.to_pylist():
                yield next(numbers), row
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise InputError(f"is no readable Parquet file: {str(error)[:200]}", where=str(path)) from None


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_dictionary(kind)
    )


def _item(row: Mapping[str, Any], config: UrlListConfig, where: str) -> RemoteItem:
    names = {name.lower(): name for name in row}
    used: set[str] = set()

    def cell(stated: str | None, usual: tuple[str, ...]) -> Any:
        name = stated if stated is not None else next((names[low] for low in usual if low in names), None)
        if stated is not None and stated not in row:
            raise InputError(f"has no column {stated!r}", where=where, fix=f"columns: {', '.join(list(row)[:20])}")
        if name is None or row[name] in (None, ""):
            return None
        used.add(name)
        return row[name]

    url = cell(config.url_column, _URL)
    if not isinstance(url, str):
        raise InputError("has no URL", where=where, fix="say which column holds it: --set url_column=NAME")
    sha256, licence = cell(config.sha256_column, _SHA256), cell(config.licence_column, _LICENCE)
    path, size = cell(config.path_column, _PATH), cell(config.bytes_column, _BYTES)
    if sha256 is not None and not _HEX.match(str(sha256)):
        if config.sha256_column is not None:
            raise InputError(f"{sha256!r} is no SHA-256", where=where)
        sha256 = None
    licence = str(licence) if licence is not None else None
    refused = None
    if config.licences and licence not in config.licences:
        refused = f"licence {licence or 'unknown'} is none of {', '.join(config.licences)}"
    return RemoteItem(
        key=_key(url, path, config),
        url=_whole(url),
        expect_bytes=int(size) if isinstance(size, int | str) and str(size).isdigit() else None,
        expect_sha256=None if sha256 is None else str(sha256).lower(),
        licence=licence,
        meta=_kept(row, used, config),
        refused=refused,
    )


def _key(url: str, path: Any, config: UrlListConfig) -> str:
    if isinstance(path, str) and ("." in path or config.path_column is not None):
        return path
    return key_of_url(url) if config.naming == "hash" else named_key_of_url(url)


def _whole(url: str) -> str:
    """The URL in the form that the client uses; a faulty one stays as it is, and is refused when it is asked for."""
    from expedition.data.connectors.failure import FetchFailed

    try:
        return checked_url(url)
    except FetchFailed:
        return url


def _kept(row: Mapping[str, Any], used: set[str], config: UrlListConfig) -> dict[str, Any]:
    names = config.keep_columns if config.keep_columns is not None else tuple(name for name in row if name not in used)
    kept: dict[str, Any] = {}
    for name in names[:_MAX_COLUMNS]:
        value = row.get(name)
        if isinstance(value, str) and value:
            kept[name] = value[:_MAX_TEXT]
        elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            kept[name] = value
    return kept

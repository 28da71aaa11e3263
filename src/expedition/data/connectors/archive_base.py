"""A bucket of immutable files, the same by https, in an object store, or as a local mirror: whole files and ranges."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from expedition.data.connectors.client import Client, Downloaded
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.errors import InputError
from expedition.workspace import NotFound, Store, store_at
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors, write_atomic

_LISTING_BYTES = 64 << 20
_PIECE_BYTES = 8 << 20


class ArchiveBase(Protocol):
    """Files by name below one address. Safe for many threads."""

    def address(self, name: str) -> str:
        """Where a file is, for provenance."""
        ...

    def read_range(self, name: str, first: int, length: int) -> bytes:
        """Exactly `length` bytes from `first`. Raises FetchFailed."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file. Raises FetchFailed."""
        ...

    def copy(self, name: str, target: Path) -> Downloaded:
        """The whole file, verified, at `target`. Raises FetchFailed."""
        ...


def archive_base(place: str, client: Client) -> ArchiveBase:
    """The base at an http(s) address, an `s3://` URL or a local folder. Raises InputError for a folder that is missing."""
    if place.startswith(("http://", "https://")):
        return HttpBase(place.rstrip("/"), client)
    if not place.startswith("s3://") and not Path(place).is_dir():
        raise InputError(
            f"no such folder: {place}", fix="give https://data.commoncrawl.org, s3://commoncrawl or a mirror"
        )
    return StoreBase(store_at(place, create=False))


def listed(base: ArchiveBase, name: str) -> Iterator[str]:
    """The lines of a gzip listing such as warc.paths.gz. Raises FetchFailed."""
    data = base.read_range(name, 0, base.size(name))
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, _LISTING_BYTES)
    except zlib.error as error:
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"no gzip: {error}", base.address(name)) from None
    if not unpacker.eof:
        cut = FetchReason.TRUNCATED if not unpacker.unconsumed_tail else FetchReason.BOMB
        raise FetchFailed(cut, f"{len(text)} bytes unpacked, and no end", base.address(name))
    yield from (line for line in text.decode("utf-8", "replace").splitlines() if line.strip())


class HttpBase:
    """Files below an http(s) address that serves ranges."""

    def __init__(self, address: str, client: Client) -> None:
        self._address = address
        self._client = client

    def address(self, name: str) -> str:
        return f"{self._address}/{name}"

    def read_range(self, name: str, first: int, length: int) -> bytes:
        if length <= 0:
            return b""
        url = self.address(name)
        headers = {"range": f"bytes={first}-{first + length - 1}", "accept-encoding": "identity"}
        reply = self._client.get(url, headers=headers, max_bytes=length)
        if reply.status == 200 and len(reply.body) == length and first == 0:
            return reply.body
        reply.require_ok()
        if reply.status != 206 or not reply.headers.get("content-range", "").startswith(f"bytes {first}-"):
            raise FetchFailed(
                FetchReason.RANGE_NOT_SERVED, f"status {reply.status} to a range", url, status=reply.status
            )
        if len(reply.body) != length:
            raise FetchFailed(FetchReason.WRONG_LENGTH, f"{len(reply.body)} bytes, not {length}", url)
        return reply.body

    def size(self, name: str) -> int:
        url = self.address(name)
        reply = self._client.get(url, headers={"range": "bytes=0-0", "accept-encoding": "identity"}).require_ok()
        total = reply.headers.get("content-range", "").rpartition("/")[2]
        if not total.isdigit():
            raise FetchFailed(FetchReason.RANGE_NOT_SERVED, "the server does not say how long the file is", url)
        return int(total)

    def copy(self, name: str, target: Path) -> Downloaded:
        return self._client.download(self.address(name), target)


class StoreBase:
    """Files of an object store or a folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def address(self, name: str) -> str:
        return f"{self._store.describe().rstrip('/')}/{name}"

    def read_range(self, name: str, first: int, length: int) -> bytes:
        try:
            data = self._store.read_range(name, first, length)
        except NotFound as error:
            raise FetchFailed(FetchReason.HTTP_STATUS, "no such file", self.address(name), status=404) from error
        if len(data) != length:
            raise FetchFailed(FetchReason.WRONG_LENGTH, f"{len(data)} bytes, not {length}", self.address(name))
        return data

    def size(self, name: str) -> int:
        try:
            return self._store.size(name)
        except NotFound as error:
            raise FetchFailed(FetchReason.HTTP_STATUS, "no such file", self.address(name), status=404) from error

    def copy(self, name: str, target: Path) -> Downloaded:
        size, tag, address = self.size(name), self._store.tag(name), self.address(name)
        aside = target.with_name(f"{ASIDE_PREFIX}{target.name}")
        tagged = aside.with_name(f"{aside.name}.tag")
        aside.parent.mkdir(parents=True, exist_ok=True)
        # What a killed process left is gone on with, if it is of the same content.
        same = aside.is_file() and tagged.is_file() and tagged.read_text() == tag and aside.stat().st_size <= size
        if not same:
            aside.unlink(missing_ok=True)
            write_atomic(tagged, tag.encode())
        digest = hashlib.sha256()
        with storage_errors(target), aside.open("a+b") as file:
            file.seek(0)
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
            resumed_from = done = file.tell()
            while done < size:
                piece = self.read_range(name, done, min(_PIECE_BYTES, size - done))
                digest.update(piece)
                file.write(piece)
                done += len(piece)
        if self._store.tag(name) != tag:
            aside.unlink()
            raise FetchFailed(FetchReason.CHANGED, "the file was replaced while it was read", address)
        commit_file(aside, target)
        tagged.unlink(missing_ok=True)
        return Downloaded(address, address, size, digest.hexdigest(), etag=tag, resumed_from=resumed_from)


class RangeFile(io.RawIOBase):
    """A file of a base that can be sought in, read by ranges: Parquet readers fetch the columns they need."""

    def __init__(self, base: ArchiveBase, name: str) -> None:
        super().__init__()
        self._base, self._name = base, name
        self._size = base.size(name)
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` from the start, here, or the end."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; all that is left for -1."""
        left = max(0, self._size - self._at)
        count = left if size is None or size < 0 else min(size, left)
        data = self._base.read_range(self._name, self._at, count) if count else b""
        self._at += len(data)
        return data

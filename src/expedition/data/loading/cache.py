"""Where reads go: the shards themselves or the cache on disk, and decoded documents kept in memory; both count."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from expedition.data.loading.tier import TOUCH_S, Content, DiskTier
from expedition.errors import InputError
from expedition.workspace import Store
from expedition.workspace.store import FolderStore

FETCHERS = 4
"""Shards that are fetched ahead at once: one connection rarely fills the way to an object store."""
OPEN_FILES = 64
"""Shards of which a file is kept open."""

Value = TypeVar("Value")


@dataclass(slots=True)
class ReadCounts:
    """Reads since opening. A hit was served by an open or cached shard; `fetched_bytes` came over the network."""

    hits: int = 0
    misses: int = 0
    read_bytes: int = 0
    fetched_bytes: int = 0
    fetched_ahead: int = 0
    """Shards that were brought into the cache before their first read."""

    @property
    def hit_rate(self) -> float | None:
        """Hits ÷ reads; None before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else None


class _OpenFile:
    """A descriptor that closes when the last reader lets go of it, so eviction never cuts off a read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._touched = time.monotonic()
        self._view: memoryview | None = None

    def view(self) -> memoryview:
        """The file's bytes, mapped at the first call. Shards are never written to: their mapping stays valid."""
        if self._view is None:
            size = os.fstat(self.descriptor).st_size
            mapped = mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ) if size else b""
            self._view = memoryview(mapped)
        return self._view

    def touch_is_due(self) -> bool:
        """Whether it was last marked as used some time ago; then it counts as marked now."""
        now = time.monotonic()
        due = now - self._touched > TOUCH_S
        if due:
            self._touched = now
        return due

    def is_removed(self) -> bool:
        """Whether its name is gone from the disk."""
        return os.fstat(self.descriptor).st_nlink == 0

    def __del__(self) -> None:
        os.close(self.descriptor)


class ShardReader:
    """Byte ranges of a version's shards by `pread`. Safe for many threads.

    In a folder the shards themselves are read. From an object store whole shards (`whole_shards`, the default) come
    through `tier`, a cache on local disk, as soon as `expect` has said what they must contain; everything else, and
    what the tier cannot hold, is one ranged request a read.
    """

    def __init__(self, store: Store, *, whole_shards: bool = True, tier: DiskTier | None = None) -> None:
        self._store = store
        self._folder = isinstance(store, FolderStore)
        self._tier = tier if whole_shards and not self._folder else None
        self._contents: dict[str, Content] = {}
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self.counts = ReadCounts()

    @property
    def tier(self) -> DiskTier | None:
        """The cache, None where shards are read where they lie."""
        return self._tier

    def expect(self, folder: str, manifest: Mapping[str, Any]) -> None:
        """Shards of the version in `folder` must have the lengths and hashes of its manifest."""
        for shard in manifest["shards"]:
            self._contents[f"{folder}/{shard['path']}"] = Content(shard["sha256"], shard["bytes"])

    def content(self, key: str) -> Content | None:
        """What a shard must be; None where no manifest has said so."""
        return self._contents.get(key)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises InputError if the shard ends before, NotFound if it is missing."""
        opened = self._file(key)
        if opened is not None:
            data = os.pread(opened.descriptor, length, offset)
        else:
            data = self._store.read_range(key, offset, length)
            with self._lock:
                self.counts.misses += 1
                self.counts.fetched_bytes += length
        with self._lock:
            self.counts.read_bytes += length
        if len(data) != length:
            raise InputError(
                f"the shard ends at {offset + len(data)}, the index points to {offset}..{offset + length}",
                where=key,
                fix="the shard was changed after its build; restore it or build the version again",
            )
        return data

    def read_each(
        self, keys: Sequence[str], shards: list[int], offsets: list[int], lengths: list[int]
    ) -> Iterator[bytes]:
        """`read` of many places (parallel lists; `shards` number `keys`), with one look-up a run of the same shard."""
        files: dict[int, _OpenFile | None] = {}
        total = 0
        for shard, offset, length in zip(shards, offsets, lengths, strict=True):
            if shard not in files:
                files[shard] = self._file(keys[shard])
            opened = files[shard]
            data = os.pread(opened.descriptor, length, offset) if opened is not None else b""
            if len(data) != length or opened is None:
                data = self.read(keys[shard], offset, length)
            else:
                total += length
            yield data
        with self._lock:
            self.counts.hits += len(shards) - len(files)
            self.counts.read_bytes += total

    def view_each(
        self, keys: Sequence[str], shards: list[int], offsets: list[int], lengths: list[int]
    ) -> Iterator[memoryview]:
        """`read_each` without copying: read-only views into mapped shards, valid as long as they are held.

        What is not local is read and viewed.
        """
        maps: dict[int, memoryview | None] = {}
        total = 0
        for shard, offset, length in zip(shards, offsets, lengths, strict=True):
            if shard not in maps:
                opened = self._file(keys[shard])
                maps[shard] = None if opened is None else opened.view()
            whole = maps[shard]
            view = whole[offset : offset + length] if whole is not None else memoryview(b"")
            if len(view) != length or whole is None:
                view = memoryview(self.read(keys[shard], offset, length))
            else:
                total += length
            yield view
        with self._lock:
            self.counts.hits += len(shards) - len(maps)
            self.counts.read_bytes += total

    def fetch_ahead(self, key: str) -> None:
        """Bring a shard into the cache if there is room without pushing out what is in use."""
        content = self._contents.get(key)
        if self._tier is None or content is None or self._tier.has(content):
            return
        descriptor = self._tier.open(content, partial(self._store.stream, key), evict=False)
        if descriptor is not None:
            os.close(descriptor)
            with self._lock:
                self.counts.fetched_ahead += 1
                self.counts.fetched_bytes += content.bytes

    def retire(self, key: str) -> None:
        """A shard's window is over: the first to leave the cache."""
        content = self._contents.get(key)
        if self._tier is not None and content is not None:
            self._tier.retire(content)
            with self._lock:
                self._files.pop(key, None)

    def reject(self, key: str) -> bool:
        """Drop the cached copy of a shard if it no longer has its hash; whether it was dropped (then read again)."""
        content = self._contents.get(key)
        if self._tier is None or content is None or self._tier.is_intact(content):
            return False
        self._tier.drop(content)
        with self._lock:
            self._files.pop(key, None)
        return True

    def _file(self, key: str) -> _OpenFile | None:
        """The open shard; None where it is to be read by ranged requests."""
        with self._lock:
            found = self._files.get(key)
            if found is not None:
                self._files.move_to_end(key)
                self.counts.hits += 1
                due = self._tier is not None and found.touch_is_due()
            elif self._tier is None and not self._folder:
                return None
        if found is not None:
            if due and self._tier is not None and (content := self._contents.get(key)) is not None:
                self._tier.touch(content)
            return found
        return self._open(key)

    def _open(self, key: str) -> _OpenFile | None:
        content = self._contents.get(key)
        if self._folder:
            opened, fetched = _OpenFile(os.open(self._store.local(key), os.O_RDONLY)), 0
        elif self._tier is None or content is None:
            return None
        else:
            there = self._tier.has(content)
            descriptor = self._tier.open(content, partial(self._store.stream, key))
            if descriptor is None:
                return None
            opened, fetched = _OpenFile(descriptor), 0 if there else content.bytes
        with self._lock:
            self.counts.hits += not (fetched or self._folder)
            self.counts.misses += bool(fetched or self._folder)
            self.counts.fetched_bytes += fetched
            self._files[key] = opened
            self._let_go_of_evicted()
        return opened

    def _let_go_of_evicted(self) -> None:
        """Close the oldest files, and those that the cache removed: an open descriptor holds their disk space."""
        while len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)
        if self._tier is not None:
            for key in [key for key, file in self._files.items() if file.is_removed()]:
                del self._files[key]


class BytesBounded(Generic[Value]):
    """Values by key, least recently used first out, bounded by their summed bytes. Safe for many threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._values: OrderedDict[tuple[int, ...], tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def get(self, key: tuple[int, ...]) -> Value | None:
        """The value, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: tuple[int, ...], value: Value, size_bytes: int) -> None:
        """Keep `value` unless it alone is beyond the bound."""
        if size_bytes > self._limit_bytes:
            return
        with self._lock:
            old = self._values.pop(key, None)
            self._used_bytes += size_bytes - (old[1] if old is not None else 0)
            self._values[key] = (value, size_bytes)
            while self._used_bytes > self._limit_bytes:
                _, (_, freed) = self._values.popitem(last=False)
                self._used_bytes -= freed

"""Where reads go: a local tier of whole shards in front of the store, and decoded documents in memory; both count."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from expedition.errors import InputError
from expedition.workspace import Store

OPEN_FILES = 64
"""Shards of which a file is kept open."""

Value = TypeVar("Value")


@dataclass(slots=True)
class ReadCounts:
    """Reads since opening. A hit was served by the local tier; `fetched_bytes` came over the store for the others."""

    hits: int = 0
    misses: int = 0
    read_bytes: int = 0
    fetched_bytes: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits ÷ reads; None before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else None


class _OpenFile:
    """A descriptor that closes when the last reader lets go of it, so eviction never cuts off a read."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)


class ShardReader:
    """Byte ranges of a version's shards by `pread`. Safe for many threads.

    Whole shards (`whole_shards`, the default) are made local at their first read through `store.local`: the file itself
    in a folder, a download kept on disk from an object store. Otherwise every read is one ranged request.
    """

    def __init__(self, store: Store, *, whole_shards: bool = True) -> None:
        self._store = store
        self._whole_shards = whole_shards
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self.counts = ReadCounts()

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises InputError if the shard ends before, NotFound if it is missing."""
        if self._whole_shards:
            data = os.pread(self._file(key, length).descriptor, length, offset)
        else:
            data = self._store.read_range(key, offset, length)
            with self._lock:
                self.counts.misses += 1
                self.counts.read_bytes += length
                self.counts.fetched_bytes += length
        if len(data) != length:
            raise InputError(
                f"the shard ends at {offset + len(data)}, the index points to {offset}..{offset + length}",
                where=key,
                fix="the shard was changed after its build; restore it or build the version again",
            )
        return data

    def _file(self, key: str, length: int) -> _OpenFile:
        with self._lock:
            self.counts.read_bytes += length
            found = self._files.get(key)
            if found is not None:
                self._files.move_to_end(key)
                self.counts.hits += 1
                return found
            path = self._store.local(key)
            opened = _OpenFile(path)
            self.counts.misses += 1
            self.counts.fetched_bytes += path.stat().st_size
            self._files[key] = opened
            while len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
            return opened


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

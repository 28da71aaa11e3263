"""A cache of whole shards on local disk in front of an object store, shared by all processes of a machine.

A shard lies under its SHA-256. It is fetched in pieces into a file aside, hashed on the way, synced and renamed, so a
name that exists holds the whole content; its length is checked again at every opening. The file aside is locked by its
writer: the kernel drops the lock of a killed process, and the next one begins that shard again. Room is made, and the
size of a fetch reserved, under one lock: the sum of all files stays within the limit whatever the number of processes.
Finished shards go first (`retire`), then the least recently used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from expedition.errors import InputError, UsageError
from expedition.workspace.atomic import ASIDE_PREFIX, storage_errors, sync_folder

ENVIRONMENT = "EXPEDITION_CACHE"
"""Folder of the cache where none is given."""
DEFAULT_BYTES = 64 << 30
FULL_PAUSE_S = 30.0
"""After the disk refused a shard nothing is fetched into the cache for so long; reads are ranged requests."""
TOUCH_S = 2.0
"""A file in use is marked as used at most this often."""
_LOCK = ".room.lock"

Fetch = Callable[[], Iterable[bytes]]
"""The shard's bytes in order, in pieces; whole or an error."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a shard must be."""

    sha256: str
    bytes: int


@dataclass(slots=True)
class TierCounts:
    """What happened since opening, in this process. Bypassed shards were read by ranged requests instead."""

    opened: int = 0
    """Openings served by a file that was there."""
    fetched: int = 0
    fetched_bytes: int = 0
    evicted: int = 0
    damaged: int = 0
    """Files of another length than they must have, or asked to be dropped: removed."""
    bypassed_too_large: int = 0
    bypassed_no_room: int = 0
    """No room under the limit that may be made."""
    bypassed_disk_full: int = 0
    reasons: list[str] = field(default_factory=list)
    """The first few refusals in words."""

    def note(self, reason: str) -> None:
        """Keep a reason, the first sixteen."""
        if len(self.reasons) < 16:
            self.reasons.append(reason)


class DiskTier:
    """Shards by content in `folder`, at most `limit_bytes` together. Safe for many threads and processes.

    The files of shards that were evicted while a reader has them open keep their space until it lets go of them.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_BYTES) -> None:
        if limit_bytes < 0:
            raise UsageError(f"a cache of {limit_bytes} bytes", fix="give --cache-bytes 0 (none) or more")
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.counts = TierCounts()
        self._full_until = 0.0
        self._commits: list[threading.Thread] = []
        self._committing = threading.Lock()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, content: Content) -> Path:
        """Where a shard lies if it is there."""
        return self.folder / content.sha256[:2] / content.sha256

    def open(self, content: Content, fetch: Fetch, *, evict: bool = True) -> int | None:
        """A descriptor of the whole shard, fetched where it is not there; None where it cannot be kept (see `counts`).

        `evict` False makes room by finished shards alone: for what is fetched ahead. Raises InputError if what the
        store gives has another hash, and what `fetch` raises.
        """
        fetched: int | None = None
        try:
            while fetched is None:
                found = self._opened(content)
                if found is not None:
                    self.counts.opened += 1
                    return found
                if not self._may_fetch(content):
                    return None
                fetched = self._fetched(content, fetch, evict=evict)
            return None if fetched < 0 else fetched
        except OSError as error:
            self._disk_refused(error)
            return None

    def flush(self) -> None:
        """Wait until what was fetched by this process has its name."""
        while self._commits:
            self._commits.pop().join()

    def has(self, content: Content) -> bool:
        """Whether the shard is there."""
        return self.path(content).exists()

    def touch(self, content: Content) -> None:
        """Mark a shard as used just now."""
        with suppress(OSError):
            os.utime(self.path(content))

    def retire(self, content: Content) -> None:
        """Mark a shard as the first to go: its window is over."""
        with suppress(OSError):
            os.utime(self.path(content), (0, 0))

    def drop(self, content: Content) -> None:
        """Remove a shard whose content is doubted; the next opening fetches it again."""
        self.path(content).unlink(missing_ok=True)
        self.counts.damaged += 1

    def is_intact(self, content: Content) -> bool:
        """Whether the kept shard still has its hash; True if it is not there."""
        try:
            with self.path(content).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256
        except FileNotFoundError:
            return True

    def used_bytes(self) -> int:
        """Bytes of all shards, those that are being fetched included."""
        return sum(entry.stat().st_size for entry in self._entries())

    def _opened(self, content: Content) -> int | None:
        path = self.path(content)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        if os.fstat(descriptor).st_size == content.bytes:
            self.touch(content)
            return descriptor
        os.close(descriptor)
        self.drop(content)
        return None

    def _may_fetch(self, content: Content) -> bool:
        if content.bytes > self.limit_bytes:
            self.counts.bypassed_too_large += 1
            self.counts.note(f"a shard of {content.bytes} bytes is larger than the cache ({self.limit_bytes})")
            return False
        if time.monotonic() < self._full_until:
            self.counts.bypassed_disk_full += 1
            return False
        return True

    def _fetched(self, content: Content, fetch: Fetch, *, evict: bool) -> int | None:
        """A descriptor of the shard, fetched now; None if another writer was first (look again), -1 without room.

        The reader need not wait for the disk: the file is hashed, and gets its name in the background once it is durable.
        """
        final = self.path(content)
        final.parent.mkdir(exist_ok=True)
        path = final.parent / f"{ASIDE_PREFIX}{content.sha256}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        mine = handed_on = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            mine = _same_file(descriptor, path) and not final.exists()
            if not mine:
                return None
            if not self._reserve(descriptor, content, evict=evict):
                return -1
            self._fill(descriptor, content, fetch)
            found = os.open(path, os.O_RDONLY)
            commit = threading.Thread(target=self._commit, args=(descriptor, path, final), name="cache-commit")
            handed_on = True
            commit.start()
            with self._committing:
                self._commits = [one for one in self._commits if one.is_alive()] + [commit]
            return found
        finally:
            if not handed_on:
                if mine and _same_file(descriptor, path):
                    path.unlink()
                os.close(descriptor)

    def _commit(self, descriptor: int, path: Path, final: Path) -> None:
        """Give a whole file its name when it is on the disk; the lock on it is held until then."""
        try:
            os.fsync(descriptor)
            os.replace(path, final)
            sync_folder(final.parent)
        except OSError as error:
            self._disk_refused(error)
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _reserve(self, aside: int, content: Content, *, evict: bool) -> bool:
        """Give the file aside its size under the limit. False if there is no room, or the disk has none."""
        with self._room():
            os.ftruncate(aside, 0)
            if not self._evict(content.bytes, retired_only=not evict):
                self.counts.bypassed_no_room += 1
                self.counts.note(f"no room for {content.bytes} bytes under {self.limit_bytes}")
                return False
            for attempt in (1, 2):
                try:
                    _allocate(aside, content.bytes)
                    return True
                except OSError as error:
                    os.ftruncate(aside, 0)
                    target = self.used_bytes() - content.bytes
                    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                    if attempt == 2 or not full or not evict or target < 0:
                        raise
                    self._evict_down_to(target, retired_only=False)
        return False

    def _disk_refused(self, error: OSError) -> None:
        self._full_until = time.monotonic() + FULL_PAUSE_S
        self.counts.bypassed_disk_full += 1
        self.counts.note(f"the cache's disk refused a shard: {error.strerror}; reads are ranged requests meanwhile")

    def _fill(self, aside: int, content: Content, fetch: Fetch) -> None:
        digest = hashlib.sha256()
        offset = 0
        for piece in fetch():
            if offset + len(piece) > content.bytes:
                raise InputError(f"the store gives more than the {content.bytes} bytes of the manifest")
            digest.update(piece)
            view = memoryview(piece)
            while view:
                written = os.pwrite(aside, view, offset)
                offset, view = offset + written, view[written:]
        if offset != content.bytes or digest.hexdigest() != content.sha256:
            raise InputError(
                f"the store gave {offset} bytes with hash {digest.hexdigest()[:12]}…, the manifest says "
                f"{content.bytes} with {content.sha256[:12]}…",
                fix="the shard is damaged in the store: expedition data verify VERSION",
            )
        self.counts.fetched += 1
        self.counts.fetched_bytes += content.bytes

    @contextmanager
    def _room(self) -> Iterator[None]:
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _evict(self, wanted_bytes: int, *, retired_only: bool) -> bool:
        return self._evict_down_to(self.limit_bytes - wanted_bytes, retired_only=retired_only)

    def _evict_down_to(self, target_bytes: int, *, retired_only: bool) -> bool:
        """Remove files until at most `target_bytes` are used; whether that was possible."""
        used, kept = 0, []
        for entry in self._entries():
            with suppress(FileNotFoundError):
                stat = entry.stat()
                if entry.name.startswith(ASIDE_PREFIX):
                    used += 0 if _removed_if_orphan(Path(entry.path)) else stat.st_size
                else:
                    used += stat.st_size
                    kept.append((stat.st_mtime_ns, entry.path, stat.st_size))
        for used_at, path, size in sorted(kept):
            if used <= target_bytes or (retired_only and used_at > 0):
                break
            Path(path).unlink(missing_ok=True)
            self.counts.evicted += 1
            used -= size
        return used <= target_bytes

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for folder in os.scandir(self.folder):
            if folder.is_dir():
                with suppress(FileNotFoundError):
                    yield from os.scandir(folder.path)


def default_tier(folder: Path | None = None, limit_bytes: int | None = None) -> DiskTier:
    """The cache at `folder`, else at $EXPEDITION_CACHE, else in the temporary folder; at most half of its free disk
    where no limit is given."""
    place = folder or Path(
        os.environ.get(ENVIRONMENT) or Path(tempfile.gettempdir()) / f"expedition-cache-{os.getuid()}" / "shards"
    )
    if limit_bytes is None:
        with storage_errors(place):
            place.mkdir(parents=True, exist_ok=True)
        free = os.statvfs(place)
        limit_bytes = min(DEFAULT_BYTES, free.f_bavail * free.f_frsize // 2)
    return DiskTier(place, limit_bytes)


def _allocate(descriptor: int, size: int) -> None:
    """Disk blocks for `size` bytes. Raises OSError where the disk has none."""
    if not size:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(descriptor, size)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _removed_if_orphan(path: Path) -> bool:
    """Remove a file aside whose writer is gone; False if it is being written."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(descriptor, path):
            path.unlink()
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)

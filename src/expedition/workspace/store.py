"""Where bytes live: a local folder or an object-store prefix behind one small interface.

Keys are relative POSIX paths (`a/b/c.json`). Object stores have no append and no rename, so nothing here has either:
a key is replaced whole, or created once.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from expedition.errors import InputError, StorageError, UsageError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, create_atomic, storage_errors, write_atomic
from expedition.workspace.hashes import CHUNK_BYTES


class NotFound(InputError):
    """The key does not exist in the store."""


class AlreadyExists(StorageError):
    """A create-only write met an existing key: another writer was first."""


class AccessDenied(StorageError):
    """The store knows who asks and says no; trying again does not help."""


class Store(Protocol):
    """Bytes by key. Every write is atomic: a reader sees all of it or nothing. Safe for many processes."""

    def describe(self) -> str:
        """Where this is, for messages."""
        ...

    def read(self, key: str) -> bytes:
        """All bytes of `key`. Raises NotFound."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` (fewer at the end). Raises NotFound."""
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """All bytes of `key` in pieces of some MiB, whole or an error. Raises NotFound, StorageError."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Replace `key`. Raises StorageError."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write `key` once. Raises AlreadyExists if it is there."""
        ...

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        """Replace `key` with a local file's content; the file may be consumed (moved) unless `keep`."""
        ...

    def local(self, key: str) -> Path:
        """A local file with the content, not to be written to. Raises NotFound."""
        ...

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        ...

    def size(self, key: str) -> int:
        """Bytes of `key`. Raises NotFound."""
        ...

    def tag(self, key: str) -> str:
        """Something that differs after `key` was replaced: an ETag, or size and time. Raises NotFound."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """All keys under the folder `prefix`, recursively, sorted."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below the folder `prefix`, sorted; keys below them are not listed."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; nothing happens if it is not there."""
        ...


def checked_key(key: str) -> str:
    """`key` if it stays inside the store. Raises UsageError for absolute paths, `..` and empty parts."""
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts or "\\" in key or "\0" in key:
        raise UsageError(f"not a key inside the workspace: {key!r}")
    return "/".join(parts)


class FolderStore:
    """A store in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def describe(self) -> str:
        return str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def read(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"no such artefact: {key}", where=self.describe()) from error

    def read_range(self, key: str, start: int, length: int) -> bytes:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError as error:
            raise NotFound(f"no such artefact: {key}", where=self.describe()) from error
        try:
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)

    def stream(self, key: str) -> Iterator[bytes]:
        path = self.local(key)
        with path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    def write(self, key: str, data: bytes) -> None:
        write_atomic(self._path(key), data)

    def create(self, key: str, data: bytes) -> None:
        if not create_atomic(self._path(key), data):
            raise AlreadyExists(f"already there: {key}", where=self.describe())

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        final = self._path(key)
        with storage_errors(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            if not keep:
                try:
                    commit_file(path, final)
                except OSError:
                    pass
                else:
                    return
            aside = final.parent / f"{ASIDE_PREFIX}{final.name[:100]}-{uuid.uuid4().hex[:8]}"
            try:
                shutil.copyfile(path, aside)
                commit_file(aside, final)
            finally:
                aside.unlink(missing_ok=True)

    def local(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise NotFound(f"no such artefact: {key}", where=self.describe())
        return path

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"no such artefact: {key}", where=self.describe()) from error

    def tag(self, key: str) -> str:
        try:
            found = self._path(key).stat()
        except FileNotFoundError as error:
            raise NotFound(f"no such artefact: {key}", where=self.describe()) from error
        return f"{found.st_size}-{found.st_mtime_ns}"

    def list(self, prefix: str = "") -> Iterator[str]:
        top = self.root / checked_key(prefix) if prefix else self.root
        keys = sorted(
            path.relative_to(self.root).as_posix()
            for path in top.rglob("*")
            if path.is_file() and not path.name.startswith(ASIDE_PREFIX) and ".scratch" not in path.parts
        )
        yield from keys

    def folders(self, prefix: str) -> Iterator[str]:
        top = self._path(prefix)
        if top.is_dir():
            with os.scandir(top) as entries:
                yield from sorted(entry.name for entry in entries if entry.is_dir())

    def delete(self, key: str) -> None:
        with storage_errors(self._path(key)):
            self._path(key).unlink(missing_ok=True)

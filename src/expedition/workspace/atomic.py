"""Atomic file writes: aside, fsync, rename. A reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expedition.errors import StorageError

ASIDE_PREFIX = ".aside-"


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` with `data`. Raises StorageError (disk full, read-only, no permission); the old file stays."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(path)
        try:
            _write_and_sync(aside, data)
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def create_atomic(path: Path, data: bytes) -> bool:
    """Write `path` only if it does not exist; False (and nothing written) if it does.

    `link` refuses an existing name, so of two writers exactly one gets True.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(path)
        try:
            _write_and_sync(aside, data)
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True


def commit_file(written: Path, final: Path) -> None:
    """Move a finished file on the same disk to its final name, durable before it is visible."""
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        with written.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(written, final)
        sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        fix = {
            errno.ENOSPC: "free space on this disk and run the same command again; nothing committed was lost",
            errno.EDQUOT: "free space in your quota and run the same command again; nothing committed was lost",
            errno.EFBIG: "a limit on file sizes (ulimit -f): lift it and run the same command again; nothing was lost",
            errno.EROFS: "the file system is read-only: use --workspace with a folder you can write",
            errno.EACCES: "no permission: use --workspace with a folder you can write",
            errno.EPERM: "no permission: use --workspace with a folder you can write",
            errno.ENOENT: "this path cannot be made: use --workspace with another folder",
            errno.ENOTDIR: "a part of this path is a file: use --workspace with another folder",
        }.get(error.errno or 0)
        if fix is None:
            raise
        raise StorageError(
            f"cannot write: {os.strerror(error.errno or 0).lower()}", where=str(path), fix=fix
        ) from error


def _aside(path: Path) -> Path:
    return path.parent / f"{ASIDE_PREFIX}{path.name[:100]}-{uuid.uuid4().hex[:8]}"


def _write_and_sync(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""The files of a source in one fixed order: no hidden files, no links that lead out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

_SKIPPED_FOLDERS = frozenset({"__MACOSX", "__pycache__", "node_modules"})
_SKIPPED_FILES = frozenset({"Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a source: path below the source's folder with "/" between names, and its size in bytes."""

    path: str
    size: int


def walk(folder: Path, exclude: tuple[str, ...] = (), *, deep: bool = True) -> Iterator[Found]:
    """Files below `folder`, sorted by path (code points). Links count only where they stay below the folder.

    Not `deep`: the files of the folder itself.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith(".") and name not in _SKIPPED_FOLDERS]
        for name in names:
            if name.startswith(".") or name in _SKIPPED_FILES:
                continue
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            if excluded(relative, exclude) or not _plain(path, folder) or not _named(relative):
                continue
            found.append(Found(relative, path.stat().st_size))
    yield from sorted(found, key=lambda file: file.path)


def not_read(folder: Path, exclude: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """What `walk` passes over although no rule of a person excludes it, and why: path and cause, sorted by path.

    Links that lead out of the folder or nowhere, pipes, sockets and devices: none of them is ever opened.
    """
    found = []
    for root, folders, names in os.walk(folder):
        hidden = [name for name in folders if name.startswith(".") or name in _SKIPPED_FOLDERS]
        folders[:] = [name for name in folders if name not in hidden]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in [*linked, *names]:
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            if name.startswith(".") or name in _SKIPPED_FILES or excluded(relative, exclude):
                continue
            cause = _cause(path, folder) if _named(relative) else "a name that is not UTF-8"
            if cause is not None:
                found.append((relative.encode("utf-8", "backslashreplace").decode(), cause))
    yield from sorted(found)


def _named(path: str) -> bool:
    """Whether a path can be written down: bytes that are no UTF-8 arrive as lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cause(path: Path, folder: Path) -> str | None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            inside = path.resolve().is_relative_to(folder.resolve())
            if not inside:
                return "a link that leads out of the folder"
            # What a link to a folder within leads to is read where it is.
            return None if path.is_file() or path.is_dir() else "a link that leads nowhere"
    except (OSError, RuntimeError):
        return "a link that leads nowhere"
    return None if stat.S_ISREG(mode) else _SPECIAL.get(stat.S_IFMT(mode), "not a plain file")


_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def excluded(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path, or a folder that it lies in, matches one of the patterns."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(fnmatchcase(prefix, pattern.rstrip("/")) for prefix in prefixes for pattern in patterns)


def _plain(path: Path, folder: Path) -> bool:
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            return False
        return path.is_file()
    except (OSError, RuntimeError):
        return False

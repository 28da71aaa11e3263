"""The files of a source in one fixed order: no hidden files, no links that lead out."""

from __future__ import annotations

import os
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
            if excluded(relative, exclude) or not _plain(path, folder):
                continue
            found.append(Found(relative, path.stat().st_size))
    yield from sorted(found, key=lambda file: file.path)


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
    except OSError:
        return False

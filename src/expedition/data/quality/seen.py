"""What a build did with the documents and files that it saw, by the names under which truth knows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

_INNER: Final = re.compile(r"[#!]|::| ")


@dataclass(frozen=True, slots=True)
class Kept:
    """A document in the version. `inner` says where in the file it was found, or `path` does after "#", "!" or "::"."""

    id: str
    source: str
    kind: str
    path: str
    inner: str | None = None
    url: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A document or file that is not in the version: the stage that dropped or refused it, and why."""

    source: str
    path: str
    stage: str
    reason: str
    id: str | None = None
    kind: str | None = None
    inner: str | None = None
    url: str | None = None
    of: str | None = None


@dataclass(frozen=True)
class Seen:
    """All of a build. `text_of` reads a kept document's stored text, for checking redaction."""

    kept: tuple[Kept, ...]
    gone: tuple[Gone, ...]
    text_of: Callable[[str], str] | None = field(default=None, compare=False)

    @classmethod
    def from_rows(
        cls,
        kept: Iterable[Mapping[str, Any]],
        gone: Iterable[Mapping[str, Any]],
        text_of: Callable[[str], str] | None = None,
    ) -> Seen:
        """From rows of index and lineage tables and of `dropped.parquet`; unknown columns are left out."""
        kept_names, gone_names = set(Kept.__slots__), set(Gone.__slots__)
        return cls(
            tuple(Kept(**{name: row[name] for name in kept_names if name in row}) for row in kept),
            tuple(Gone(**{name: row[name] for name in gone_names if name in row}) for row in gone),
            text_of,
        )

    @cached_property
    def kept_by_id(self) -> dict[str, Kept]:
        """Kept documents by id."""
        return {row.id: row for row in self.kept}

    @cached_property
    def kept_by_name(self) -> dict[str, list[Kept]]:
        """Kept documents under every name that they go by."""
        table: dict[str, list[Kept]] = {}
        for row in self.kept:
            for name in names_of(row.path, row.inner, row.url):
                table.setdefault(name, []).append(row)
        return table

    @cached_property
    def gone_by_name(self) -> dict[str, list[Gone]]:
        """Dropped and refused things under every name that they go by."""
        table: dict[str, list[Gone]] = {}
        for row in self.gone:
            for name in names_of(row.path, row.inner, row.url):
                table.setdefault(name, []).append(row)
        return table


def names_of(path: str, inner: str | None, url: str | None) -> set[str]:
    """Names of a document: its URL, its path, its file, its inner part, and "file|inner part"."""
    names = {path} | ({url} if url else set())
    if inner:
        names |= {f"{path}|{inner}", f"{path}|{inner.split('@')[0].strip()}", inner}
    parts = _INNER.split(path, maxsplit=1)
    if len(parts) == 2:
        names |= {parts[0], parts[1].strip(), f"{parts[0]}|{parts[1].strip()}"}
    return names


def item_names(path: str, item: str | None, data_dir: Path | None) -> list[str]:
    """Names to look up a truth entry by, most telling first: the item's own, its line; its file where it is one."""
    if item is None:
        return [path]
    names = [item, f"{path}|{item}", f"{path}#{item}"]
    if "/" not in item:
        names += _line_names(path, item, data_dir)
    if f"/{item}/" in f"/{path}":
        # The item is a folder of files: a scene and its cameras.
        names += [path, path[: path.index(item) + len(item)]]
    return names


def _line_names(path: str, item: str, data_dir: Path | None) -> list[str]:
    if data_dir is None or not path.endswith(".jsonl"):
        return []
    line = _lines_of(data_dir / path).get(item)
    return [] if line is None else [f"{path}|line {line}", f"{path}|{line}", f"{path}#line {line}"]


_LINES: dict[Path, dict[str, int]] = {}
_ID: Final = re.compile(rb'"id":\s*"([^"]{1,200})"')


def _lines_of(path: Path) -> dict[str, int]:
    """Line number of each id in a JSON-lines file, from 1."""
    if path not in _LINES:
        table: dict[str, int] = {}
        if path.is_file():
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    found = _ID.search(line)
                    if found:
                        table[found.group(1).decode("utf-8", "replace")] = number
        _LINES[path] = table
    return _LINES[path]

"""Texts of benchmarks out of whatever files a folder of evaluations holds: JSON, JSON lines, CSV, TSV, plain lists.

Every string that is long enough counts as an item of its own: question, passage, choice. A benchmark's name is its
folder's. Files that cannot be read are reported, never guessed at.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SUFFIXES: Final = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
    ".csv": ",",
    ".tsv": "\t",
    ".txt": "text",
    ".lst": "text",
}
_MAX_FILE_BYTES: Final = 256 << 20
_MAX_DEPTH: Final = 12
# Fields that hold no text of the item itself.
_NOT_TEXT_TEXT: Final = (
    "id idx uid guid example_id task_id source url path file image media type label labels answer_info "
    "additional_metadata annotations canary license licence focus category"
)
_NOT_TEXT: Final = frozenset(_NOT_TEXT_TEXT.split())


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a benchmark: `name` is "benchmark/file#row.field", enough to find it again."""

    benchmark: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that gave no items, and why."""

    path: str
    reason: str


def read_benchmarks(folder: Path) -> Iterator[Item | Unread]:
    """Items of every evaluation file below `folder`, in the order of paths."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        form = _SUFFIXES.get(path.suffix.lower())
        if form is None:
            continue
        relative = path.relative_to(folder).as_posix()
        if path.stat().st_size > _MAX_FILE_BYTES:
            yield Unread(relative, "larger than 256 MiB")
            continue
        try:
            text = path.read_text("utf-8-sig")
            yield from _items(relative, text, form)
        except (OSError, UnicodeDecodeError, ValueError, RecursionError, csv.Error) as error:
            yield Unread(relative, f"{type(error).__name__}: {str(error)[:120]}")


def _items(relative: str, text: str, form: str) -> Iterator[Item]:
    benchmark = relative.split("/")[0] if "/" in relative else relative.rsplit(".", 1)[0]
    for row, value in _rows(text, form):
        for field, string in _strings(value, 0):
            yield Item(benchmark, f"{relative}#{row}{'.' + field if field else ''}", string)


def _rows(text: str, form: str) -> Iterator[tuple[int, Any]]:
    if form == "lines":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, json.loads(line)
    elif form == "json":
        value = json.loads(text)
        rows = value if isinstance(value, list) else [value]
        yield from enumerate(rows, 1)
    elif form == "text":
        for number, line in enumerate(text.split("\n"), 1):
            yield number, line
    else:
        # Answers of real sets run to megabytes in one field; a stray quote must not fail the file.
        csv.field_size_limit(1 << 24)
        lines = io.StringIO(text)
        if form == "\t":
            yield from enumerate(csv.reader(lines, delimiter=form, quoting=csv.QUOTE_NONE), 1)
        else:
            yield from enumerate(csv.reader(lines, delimiter=form), 1)


def _strings(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, list):
        for number, part in enumerate(value):
            for field, string in _strings(part, depth + 1):
                yield f"{number}{'.' + field if field else ''}", string
    elif isinstance(value, dict):
        for key, part in value.items():
            if str(key).lower() in _NOT_TEXT:
                continue
            for field, string in _strings(part, depth + 1):
                yield f"{key}{'.' + field if field else ''}", string

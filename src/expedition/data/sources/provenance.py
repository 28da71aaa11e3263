"""Where each fetched item of a source came from: the provenance log beside the files, and how it is read.

`<source>/.acquire/log/<n>.jsonl`: a segment a run, one JSON object an item, append-only; the last line about a path
holds. A line that a kill cut short can only be a segment's last one; it is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from expedition.errors import InputError

FOLDER = ".acquire"
LOG = "log"
SCHEMA = "data.provenance/1"

Status = Literal["kept", "refused", "failed", "duplicate"]
"""A duplicate has the path of another item of the same run, and says nothing about that path."""


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What happened to one item. Times are ISO 8601 UTC with microseconds."""

    path: str
    """Below the source's folder: the item's key."""
    status: Status
    url: str
    connector: str
    retrieved_at: str
    approval_id: str
    """The approval in force when it was fetched."""
    final_url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None
    licence: str | None = None
    range: tuple[int, int] | None = None
    """First and last byte of `url`, where the item is a part of it."""
    reason: str | None = None
    detail: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    """What the connector knows besides: title, digest, commit, …"""

    def line(self) -> str:
        """The record as a line of the log; fields without a value are left out."""
        told = {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}
        return json.dumps({"schema": SCHEMA, **told}, ensure_ascii=False, sort_keys=True) + "\n"


_NAMES = frozenset(item.name for item in fields(ItemRecord))


def segments(source_folder: Path) -> list[Path]:
    """The log's segments, oldest first; empty where nothing was ever fetched."""
    return sorted((source_folder / FOLDER / LOG).glob("*.jsonl"))


def records(source_folder: Path) -> Iterator[ItemRecord]:
    """Every record, oldest first, a line in memory at a time. Raises InputError for a line that is none."""
    for path in segments(source_folder):
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                yield _record(line, f"{path}:{number}")


def kept(source_folder: Path) -> dict[str, ItemRecord]:
    """The record that holds for each path that was kept."""
    newest: dict[str, ItemRecord] = {}
    for record in records(source_folder):
        if record.status == "kept":
            newest[record.path] = record
        elif record.status == "refused":
            newest.pop(record.path, None)
    return newest


def _record(line: bytes, where: str) -> ItemRecord:
    try:
        told = json.loads(line)
        if told.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        span = told.get("range")
        known = {name: value for name, value in told.items() if name in _NAMES}
        return ItemRecord(**{**known, "range": None if span is None else (int(span[0]), int(span[1]))})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(
            f"is no record of where an item came from ({error})",
            where=where,
            fix="restore the file from a copy, or move the source's folder away and acquire it again",
        ) from None

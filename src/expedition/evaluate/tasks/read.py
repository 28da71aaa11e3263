"""Tasks of a data folder: `eval/<task>/items.jsonl`, one item a line.

    {"id", "media": [{"kind", "path", "special"}], "text_before", "choices": […], "answer": 0, "target_actions": […]}

`attribute` and `modality` may be said too; all but `choices` with `answer`, or `target_actions`, may be absent. Paths
are relative to the task's folder and stay inside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from expedition.errors import InputError
from expedition.evaluate.task import Item, MediaFile, Task
from expedition.workspace.hashes import sha256_bytes

ITEMS = "items.jsonl"
ACTIONS = 256


def task_names(data_dir: Path, wanted: Sequence[str]) -> list[str]:
    """Tasks below `data_dir`/eval: the wanted ones first in their order, then any other by name."""
    folder = data_dir / "eval"
    found = {path.parent.name for path in folder.glob(f"*/{ITEMS}")} if folder.is_dir() else set()
    return [name for name in wanted if name in found] + sorted(found - set(wanted))


def read_task(data_dir: Path, name: str, limit: int) -> Task:
    """The first `limit` items of a task. Raises InputError with file and line for what is no item."""
    folder = data_dir / "eval" / name
    body = (folder / ITEMS).read_bytes()
    lines = [line for line in body.splitlines() if line.strip()]
    rows = [_row(folder / ITEMS, number, line) for number, line in enumerate(lines[:limit], start=1)]
    items = tuple(_item(folder, number, row) for number, row in enumerate(rows, start=1))
    if not items:
        raise InputError("the task has no item", where=str(folder / ITEMS))
    driving = bool(items[0].target_actions)
    return Task(
        name=name,
        attribute=str(rows[0].get("attribute") or name),
        modality=str(rows[0].get("modality") or (items[0].media[0].kind if items[0].media else "text")),
        metric="mean absolute bin error" if driving else "accuracy",
        items=items,
        digest=sha256_bytes(body),
        items_in_file=len(lines),
    )


def media_of(folder: Path, rows: Any, where: str) -> tuple[MediaFile, ...]:
    """Media of an item, in order. Raises InputError for a path that is missing or leaves `folder`."""
    media = []
    for row in rows or ():
        try:
            path = (folder / row["path"]).resolve()
            file = MediaFile(str(row["kind"]), path, row.get("special"))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"a medium needs kind and path: {error!r}", where=where) from error
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise InputError(f"there is no file {row['path']!r} in the task's folder", where=where)
        media.append(file)
    return tuple(media)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects of a file of lines. Raises InputError with file and line."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            yield _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not readable as JSON: {error}", where=f"{path}:{number}") from error
    if not isinstance(row, dict):
        raise InputError("not a JSON object", where=f"{path}:{number}")
    return row


def _item(folder: Path, number: int, row: dict[str, Any]) -> Item:
    where = f"{folder / ITEMS}:{number}"
    choices, answer, actions = row.get("choices") or [], row.get("answer"), row.get("target_actions") or []
    if actions:
        if not all(isinstance(action, int) and 0 <= action < ACTIONS for action in actions):
            raise InputError("target_actions must be bin numbers 0..255", where=where)
    elif len(choices) < 2 or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise InputError("an item needs two choices or more and the number of the right one", where=where)
    media = media_of(folder, row.get("media"), where)
    before = str(row.get("text_before") or "")
    if not media and not before:
        raise InputError("an item needs media or text_before", where=where)
    return Item(
        str(row.get("id", number)), media, before, tuple(str(choice) for choice in choices), answer, tuple(actions)
    )

"""Overlays one parsed file on another and keeps, for every value, the line and file that it came from."""

from __future__ import annotations

from typing import Any

from expedition.plan.yaml_lines import Lines, Path

Tree = dict[str, Any]


def overlay(base: Tree, base_lines: Lines, over: Tree, over_lines: Lines) -> tuple[Tree, Lines]:
    """`over` on `base`: mappings merge by key, lists of records merge by `id`, everything else is replaced."""
    lines = Lines(dict(base_lines.lines), dict(base_lines.files))
    return _mapping(base, over, (), (), (lines, over_lines)), lines


def _mapping(base: Tree, over: Tree, at: Path, over_at: Path, lines: tuple[Lines, Lines]) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _value(base.get(key), value, (*at, key), (*over_at, key), lines)
    return merged


def _value(old: Any, new: Any, at: Path, over_at: Path, lines: tuple[Lines, Lines]) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        _take(at, over_at, lines, whole=False)
        return _mapping(old, new, at, over_at, lines)
    if _by_id(old) and _by_id(new):
        records = list(old)
        places = {record["id"]: place for place, record in enumerate(old)}
        for number, record in enumerate(new):
            place = places.setdefault(record["id"], len(records))
            if place == len(records):
                _take((*at, place), (*over_at, number), lines, whole=True)
                records.append(record)
            else:
                records[place] = _mapping(records[place], record, (*at, place), (*over_at, number), lines)
        return records
    _take(at, over_at, lines, whole=True)
    return new


def _by_id(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "id" in item for item in value)


def _take(at: Path, over_at: Path, lines: tuple[Lines, Lines], *, whole: bool) -> None:
    """Let the value at `at` (with `whole`, all below it too) be reported where `over_at` stands."""
    target, source = lines
    if whole:
        for path in [path for path in target.lines if path[: len(at)] == at]:
            del target.lines[path]
            target.files.pop(path, None)
    below = len(over_at)
    for path in [path for path in source.lines if path[:below] == over_at and (whole or path == over_at)]:
        target.lines[at + path[below:]] = source.lines[path]
        target.files[at + path[below:]] = source.files[path]

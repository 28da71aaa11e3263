"""From YAML to a frozen programme: presets, `extends`, overrides, and errors that say line, value and remedy."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from expedition.errors import ProgrammeError
from expedition.plan.models import Programme
from expedition.plan.overlay import overlay
from expedition.plan.yaml_lines import Lines, parse_yaml

PRESETS = ("rehearsal", "onegpu", "w26", "smoke")
DEFAULT_PRESET = "rehearsal"
MAX_FILE_BYTES = 4 << 20


def preset_path(name: str) -> Path:
    """File of a preset. Raises ProgrammeError with the nearest name."""
    if name not in PRESETS:
        raise ProgrammeError(f"no preset {name!r}", fix=_nearest(name, PRESETS))
    return Path(str(resources.files("expedition.plan") / "presets" / f"{name}.yaml"))


def load_programme(source: str | Path = DEFAULT_PRESET, overrides: list[str] | None = None) -> Programme:
    """The programme of a preset name or a file, with `a.b=c` overrides.

    Raises ProgrammeError with file, line, path, value, and what would fit.
    """
    path = preset_path(source) if isinstance(source, str) and "/" not in source and "." not in source else Path(source)
    tree, lines = _read(path, ())
    for text in overrides or []:
        changed = override(tree, text)
        lines.lines[changed], lines.files[changed] = 0, f"--set {text}"
    return validate(tree, lines, str(path))


def validate(tree: dict[str, Any], lines: Lines, file: str) -> Programme:
    """A programme from a parsed tree. Raises ProgrammeError for the first problems, each with its line."""
    try:
        return Programme.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(dict(detail), tree, lines, file) for detail in error.errors()[:5]]
        first = problems[0]
        more = "".join(f"\n{problem.where}: {problem.what}" for problem in problems[1:])
        raise ProgrammeError(first.what + more, where=first.where, fix=first.fix) from error


def dump_programme(programme: Programme) -> str:
    """The resolved programme as YAML text; loading it gives an equal programme."""
    text: str = yaml.safe_dump(programme.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    return text


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Lines]:
    if path in seen:
        raise ProgrammeError("files extend each other", where=str(path))
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ProgrammeError(f"larger than {MAX_FILE_BYTES >> 20} MiB", where=str(path))
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ProgrammeError(
            "no such programme file", where=str(path), fix=f"or use --preset with one of: {', '.join(PRESETS)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProgrammeError(f"cannot be read: {error}", where=str(path)) from error
    tree, lines = parse_yaml(text, str(path))
    parts = tree.pop("include", [])
    parent = tree.pop("extends", None)
    base: dict[str, Any] = {}
    base_lines = Lines({}, {})
    if not isinstance(parts, list):
        raise ProgrammeError("include must be a list of files", where=f"{path}:{lines.of(('include',))}")
    for part in [*([parent] if parent is not None else []), *parts]:
        prefix, name = next(iter(part.items())) if isinstance(part, dict) and len(part) == 1 else ("", part)
        other = preset_path(name) if name in PRESETS else path.parent / str(name)
        other_tree, other_lines = _read(other, (*seen, path))
        if prefix:
            other_tree, other_lines = {prefix: other_tree}, other_lines.under(prefix)
        base, base_lines = overlay(base, base_lines, other_tree, other_lines)
    return overlay(base, base_lines, tree, lines)


def override(tree: dict[str, Any], text: str) -> tuple[Any, ...]:
    """Apply one `--set a.b=c` and return the path that it changed; the value is YAML. Raises ProgrammeError."""
    path, equals, raw = text.partition("=")
    where = f"--set {text}"
    if not equals or not path:
        raise ProgrammeError("not of the form a.b=value", where=where)
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise ProgrammeError(f"the value is no YAML: {error}", where=where) from error
    node: Any = tree
    parts = path.split(".")
    changed: list[Any] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if isinstance(node, list):
            record = _record(node, part, where)
            changed.append(node.index(record))
            node = record
            if last:
                raise ProgrammeError("names a whole record; go on with .field=value", where=where)
            continue
        if not isinstance(node, dict):
            raise ProgrammeError(f"{'.'.join(parts[:number])} is a value, it has no {part!r}", where=where)
        changed.append(part)
        if last:
            node[part] = value
        else:
            node = node.setdefault(part, {})
    return tuple(changed)


def _record(records: list[Any], name: str, where: str) -> Any:
    for record in records:
        if isinstance(record, dict) and name in (str(record.get("id")), str(record.get("kind"))):
            return record
    names = [str(record.get("id", record.get("kind", "?"))) for record in records if isinstance(record, dict)]
    raise ProgrammeError(f"no record {name!r}", where=where, fix=_nearest(name, names))


def _explain(detail: dict[str, Any], tree: dict[str, Any], lines: Lines, file: str) -> ProgrammeError:
    location = tuple(detail["loc"])
    path = ".".join(str(part) for part in location) or "(whole file)"
    line = lines.of(location)
    where = f"{lines.file_of(location, file)}{f':{line}' if line else ''} {path}"
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return ProgrammeError(f"unknown key {location[-1]!r}", where=where, fix=_nearest(str(location[-1]), known))
    if detail["type"] == "missing":
        return ProgrammeError(
            f"{location[-1]!r} is missing", where=where, fix=f"add it under {path.rpartition('.')[0]}"
        )
    message = str(detail["msg"]).removeprefix("Value error, ")
    value = detail.get("input")
    shown = f" (the value is {value!r})" if not isinstance(value, dict | list) else ""
    fix = None
    expected = detail.get("ctx", {}).get("expected")
    if detail["type"] in ("literal_error", "enum") and isinstance(expected, str):
        fix = _nearest(str(value), [part.strip(" '\"") for part in expected.replace(" or ", ",").split(",")])
    return ProgrammeError(message[:1].lower() + message[1:] + shown, where=where, fix=fix)


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at `location`."""
    kind: Any = Programme
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        models = _models_in(kind)
        if models:
            kind = models[0]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _nearest(name: str, known: list[str] | tuple[str, ...]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else None

"""YAML with line numbers: safe types only, no tags that build objects, no alias bombs, no double keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from expedition.errors import ProgrammeError

MAX_NODES = 100_000
MAX_DEPTH = 40

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Lines:
    """Where each value of a parsed file stands: line (from 1) and file by path from the root."""

    lines: dict[Path, int]
    files: dict[Path, str]

    def of(self, path: Path) -> int:
        """Line of the value at `path`, or of the nearest parent that is in a file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def file_of(self, path: Path, default: str) -> str:
        """File that the value at `path` came from."""
        while path and path not in self.files:
            path = path[:-1]
        return self.files.get(path, default)

    def under(self, key: str) -> Lines:
        """These lines with every path below `key`."""
        return Lines(
            {(key, *path): line for path, line in self.lines.items()},
            {(key, *path): file for path, file in self.files.items()},
        )


def parse_yaml(text: str, file: str) -> tuple[dict[str, Any], Lines]:
    """A mapping and the lines of its values. Raises ProgrammeError with the line."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        counter = [0]
        tree = _build(loader, node, (), lines, (file, counter)) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ProgrammeError(f"not valid YAML: {error.problem or error.context}", where=f"{file}:{line}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ProgrammeError(f"not valid YAML: {error}", where=f"{file}:1") from error
    finally:
        loader.dispose()
    if not isinstance(tree, dict):
        raise ProgrammeError("a programme file is a mapping of sections", where=f"{file}:1")
    return tree, Lines(lines, {path: file for path in lines})


def _build(
    loader: yaml.SafeLoader, node: Any, path: Path, lines: dict[Path, int], limits: tuple[str, list[int]]
) -> Any:
    file, counter = limits
    counter[0] += 1
    line = node.start_mark.line + 1
    if counter[0] > MAX_NODES or len(path) > MAX_DEPTH:
        raise ProgrammeError("too large when its aliases are expanded, or too deep", where=f"{file}:{line}")
    lines[path] = line
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise ProgrammeError(f"tag {node.tag!r} is not allowed", where=f"{file}:{line}", fix="use plain values")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                key = str(key)
            if key in result:
                raise ProgrammeError(f"key {key!r} is there twice", where=f"{file}:{key_node.start_mark.line + 1}")
            result[key] = _build(loader, value_node, (*path, key), lines, limits)
            lines[(*path, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*path, number), lines, limits) for number, item in enumerate(node.value)]
    return loader.construct_object(node)

"""What a verb prints: a table for people or one JSON document; progress always goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expedition.workspace.printable import printable


class Output:
    """Prints results. With `json`, stdout gets exactly one JSON document."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def result(self, value: Mapping[str, Any] | Sequence[Any], *, text: str | None = None) -> None:
        """Print the verb's result: `value` as JSON, or `text` (a plain rendering of `value` when it is None)."""
        if self.json:
            json.dump(value, sys.stdout, ensure_ascii=False, indent=1, default=str)
            sys.stdout.write("\n")
        elif text is not None:
            sys.stdout.write(printable(text) + "\n")
        else:
            for line in _lines(value, 0):
                sys.stdout.write(printable(line) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], value: Any) -> None:
        """Print `rows` as a table for people, or `value` as JSON."""
        if self.json:
            self.result(value)
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left", header_style="bold", title_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(printable(cell) for cell in row))
        Console().print(table)

    def note(self, text: str) -> None:
        """A line on stderr."""
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def _lines(value: Any, depth: int) -> Iterable[str]:
    pad = "  " * depth
    if isinstance(value, Mapping):
        width = max((len(str(key)) for key in value), default=0)
        for key, item in value.items():
            if isinstance(item, Mapping | list | tuple) and item:
                yield f"{pad}{key}:"
                yield from _lines(item, depth + 1)
            else:
                yield f"{pad}{str(key).ljust(width)}  {_scalar(item)}"
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Mapping) and all(not isinstance(part, Mapping | list) for part in item.values()):
                yield pad + "- " + "  ".join(f"{key}={_scalar(part)}" for key, part in item.items())
            else:
                yield from _lines(item, depth + 1)
    else:
        yield f"{pad}{_scalar(value)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.4g}"
    return str(value)

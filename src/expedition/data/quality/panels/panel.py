"""A panel: one table with units, and how it leaves for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a panel."""

    name: str
    unit: str
    """`text`, `time` (ISO 8601 UTC), `share` (0 to 1), or what is counted: `documents`, `tokens`, `s` …"""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows of one question. A value is text, a number, a bool, or None where it is unknown."""

    name: str
    title: str
    about: str
    """What the numbers are, with their definition."""
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    empty: str = ""
    """What to say, and to do, where there are no rows."""

    def of_version(self, version: str | None) -> Panel:
        """The panel with the rows of one version alone; itself where rows have no version or `version` is None."""
        if version is None or all(column.name != "version" for column in self.columns):
            return self
        rows = tuple(row for row in self.rows if row["version"] == version)
        return Panel(self.name, self.title, self.about, self.columns, rows, self.empty)


def csv_text(panel: Panel) -> str:
    """RFC 4180 with a header; None is an empty cell.

    A text cell that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    names = [column.name for column in panel.columns]
    writer = csv.writer(out)
    writer.writerow(names)
    for row in panel.rows:
        writer.writerow([_csv_cell(row[name]) for name in names])
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def json_value(panel: Panel, as_of: str) -> dict[str, Any]:
    """{panel, title, about, as_of, columns: [{name, unit, meaning}], rows}."""
    return {
        "panel": panel.name,
        "title": panel.title,
        "about": panel.about,
        "as_of": as_of,
        "columns": [asdict(column) for column in panel.columns],
        "rows": [dict(row) for row in panel.rows],
    }

"""The data quality report: every panel as JSON, and as Markdown for people, from the same queries as the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from expedition.data.quality.panels.catalogue import panels
from expedition.data.quality.panels.holdings import Holdings
from expedition.data.quality.panels.panel import Column, Panel, json_value
from expedition.data.quality.panels.safety import ALL
from expedition.workspace.printable import printable

OVER_TIME: Final = frozenset({"safety"})
"""Panels of which the page lists every version; of the others the newest alone."""
JSON_ALONE: Final = frozenset({"cells"})
"""Too fine for people."""
MOST_ROWS: Final = 200
"""Rows of a table on the page; the JSON has all."""
_MARKUP: Final = re.compile(r"([\\`*_\[\]|~$])")


def report_value(held: Holdings) -> dict[str, Any]:
    """{panel name: panel} with every row of every version."""
    return {panel.name: json_value(panel, held.as_of) for panel in panels(held)}


def report_text(held: Holdings) -> str:
    """The report as Markdown. Text from data is escaped: it can make no markup, link or HTML."""
    newest = held.newest
    lines = [
        "# Data quality",
        "",
        f"As of {held.as_of}. Newest version: {literal(newest.version) if newest else 'none'}. "
        f"{len(held.versions)} versions. The same figures are in data-quality.json and on the governance page "
        "(expedition watch).",
        "",
    ]
    for panel in panels(held):
        if panel.name not in JSON_ALONE:
            lines += _section(panel, None if newest is None else newest.version)
    return "\n".join(lines).rstrip() + "\n"


def literal(value: object) -> str:
    """Text that Markdown shows as it is, on one line, without control characters."""
    line = " ".join(printable(value).split())
    return _MARKUP.sub(r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(panel: Panel, newest: str | None) -> Iterator[str]:
    shown, of = panel, ""
    if panel.name in OVER_TIME:
        rows = tuple(row for row in panel.rows if row["source"] == ALL or row["version"] == newest)
        shown = Panel(panel.name, panel.title, panel.about, panel.columns, rows, panel.empty)
    elif panel.name not in ("builds", "detectors"):
        shown = panel.of_version(newest)
        of = f" of {literal(newest)}" if shown is not panel else ""
    yield from (f"## {panel.title}{of}", "", literal(panel.about), "")
    if not shown.rows:
        yield from (panel.empty or "Nothing.", "")
        return
    columns = [column for column in shown.columns if not (of and column.name == "version")]
    yield "| " + " | ".join(_heading(column) for column in columns) + " |"
    yield "|" + "|".join("---" if column.unit in ("text", "time") else "---:" for column in columns) + "|"
    for row in shown.rows[:MOST_ROWS]:
        yield "| " + " | ".join(_cell(row[column.name], column) for column in columns) + " |"
    if len(shown.rows) > MOST_ROWS:
        yield from ("", f"{len(shown.rows) - MOST_ROWS} further rows are in data-quality.json.")
    yield ""


def _heading(column: Column) -> str:
    name = column.name.replace("_", " ")
    plain = column.unit in ("text", "time", "share", "figure") or column.unit in name or column.name.endswith("_s")
    return name if plain else f"{name} ({column.unit})"


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return "–" if column.unit in ("text", "time") else "unknown"
    if column.unit == "share":
        return f"{100 * value:.2f} %"
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return literal(value)

"""A chart or a table on a card: title, what its numbers are, its data to take away, and what to say where it is empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from expedition.data.quality.panels import Column, Panel
from expedition.watch.web.charts import Options

Rows = Sequence[Mapping[str, Any]]
_FORMATS: Final = {
    "share": "v => v == null ? 'unknown' : (100 * v).toFixed(2) + ' %'",
    "time": "v => v == null ? '–' : String(v).slice(0, 16).replace('T', ' ')",
    "text": "v => v == null || v === '' ? '–' : String(v)",
}
_NUMBER: Final = "v => v == null ? 'unknown' : Number(v).toLocaleString('en', {maximumFractionDigits: 3})"
_OPEN_CELL: Final = (
    '<q-td :props="props"><q-btn flat dense no-caps size="sm" class="open" :label="props.row._open" '
    "@click=\"$parent.$emit('open', props.row)\" /></q-td>"
)
"""The only template of a table: it holds no text from data."""
STATE_TONES: Final = {
    "fresh": "good", "approved": "good", "fixed": "good", "running": "good",
    "soon": "warn", "planned": "warn", "stopped": "warn", "undecided": "warn", "unknown": "warn",
    "stale": "bad", "expired": "bad", "refused": "bad", "revoked": "bad", "open": "bad", "critical": "bad", "high": "bad",
}  # fmt: skip


def card(title: str, about: str, width: int = 6, *, panel: str | None = None, version: str | None = None) -> Card:
    """A card of `width` twelfths; with links to the data of `panel` where it has one."""
    return Card(title, about, width, panel, version)


class Card:
    """What every figure stands on. Use as a context manager to put things below the head."""

    def __init__(self, title: str, about: str, width: int, panel: str | None, version: str | None) -> None:
        self._panel = panel
        self.element = ui.element("section").classes(f"card w{width}")
        if panel is not None:
            self.element.props(f'id="figure-{panel}" data-panel="{panel}"')
        with self.element:
            with ui.element("div").classes("head"):
                self._title = ui.label(title).classes("title").props('role="heading" aria-level="3"')
                self._links = ui.element("div").classes("export")
            if about:
                ui.label(about).classes("about")
        self._hrefs: list[ui.link] = []
        if panel is not None:
            with self._links:
                for form in ("csv", "json"):
                    link = ui.link(form.upper(), export_path(panel, form, version))
                    self._hrefs.append(link.props(f'download aria-label="{title}: data as {form.upper()}"'))

    def __enter__(self) -> Card:
        self.element.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self.element.__exit__(*failure)

    def retitle(self, title: str) -> None:
        """Another title."""
        self._title.set_text(title)

    def link_to(self, version: str | None) -> None:
        """The data to take away is that of `version`; None: of all."""
        for link, form in zip(self._hrefs, ("csv", "json"), strict=False):
            link.props(f'href="{export_path(str(self._panel), form, version)}"')


def export_path(panel: str, form: str, version: str | None = None) -> str:
    """Where the data of a panel is served."""
    return f"/data/{panel}.{form}" + (f"?version={quote(version, safe='')}" if version else "")


class Chart:
    """An ECharts figure whose options follow rows. `draw` makes options of rows; `height` pixels of rows."""

    def __init__(
        self,
        draw: Callable[[Rows], Options],
        empty: str,
        *,
        height: Callable[[int], int] = lambda rows: 300,
        click: Callable[[Any], None] | None = None,
    ) -> None:
        self._draw, self._height = draw, height
        self._rows: Rows | None = None
        self._chart = ui.echart({}, renderer="svg").classes("chart")
        if click is not None:
            self._chart.on_point_click(click)
        self._empty = ui.label(empty).classes("empty")

    def show(self, rows: Rows, *, again: bool = False) -> None:
        """Draw `rows`; nothing happens if they are those that are drawn, unless `again`."""
        if rows == self._rows and not again:
            return
        self._rows = rows
        self._chart.set_visibility(bool(rows))
        self._empty.set_visibility(not rows)
        if rows:
            self._chart.style(f"height: {self._height(len(rows))}px")
            options = self._chart.options
            options.clear()
            options.update(self._draw(rows))
            self._chart.update()


class Table:
    """A table whose rows follow a panel's. `opens` adds a button a row, of that name, and is told the row."""

    def __init__(
        self,
        columns: Sequence[Column],
        empty: str,
        *,
        page_rows: int = 10,
        opens: str | None = None,
        on_open: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        self._names = [column.name for column in columns]
        self._opens = opens
        self._rows: Rows | None = None
        shown = [_column(column) for column in columns]
        if opens is not None:
            shown.append({"name": "_open", "label": "", "field": "_open", "align": "right"})
        with ui.element("div").classes("scroll"):
            self._table = ui.table(columns=shown, rows=[], row_key="_key", pagination=page_rows)
        self._table.props("flat dense wrap-cells").classes("table")
        if opens is not None:
            self._table.add_slot("body-cell-_open", _OPEN_CELL)
            self._table.on("open", lambda event: on_open(event.args) if on_open else None)
        for name in ("state", "status", "expiry", "severity"):
            if name in self._names:
                self._table.add_slot(f"body-cell-{name}", _chip_cell(name))
        self._empty = ui.label(empty).classes("empty")

    def show(self, rows: Rows) -> None:
        """Put `rows` in; nothing happens if they are those that are there."""
        if rows == self._rows:
            return
        self._rows = rows
        self._table.set_visibility(bool(rows))
        self._empty.set_visibility(not rows)
        extra = {} if self._opens is None else {"_open": self._opens}
        self._table.rows = [
            {**{name: row[name] for name in self._names}, **_tones(row), "_key": number, **extra}
            for number, row in enumerate(rows)
        ]
        self._table.update()


def _column(column: Column) -> dict[str, Any]:
    texts = ("text", "time")
    label = column.name.replace("_", " ").removesuffix(" s")
    unit = "" if column.unit in (*texts, "share", "figure") or column.unit in label else f" ({column.unit})"
    return {
        "name": column.name,
        "label": label + unit,
        "field": column.name,
        "align": "left" if column.unit in texts else "right",
        "sortable": True,
        ":format": _FORMATS.get(column.unit, _NUMBER),
    }


def _tones(row: Mapping[str, Any]) -> dict[str, str]:
    found = {
        name: STATE_TONES.get(str(row[name]), "") for name in ("state", "status", "expiry", "severity") if name in row
    }
    return {f"_tone_{name}": tone for name, tone in found.items()}


def _chip_cell(name: str) -> str:
    return f'<q-td :props="props"><span :class="[\'chip\', props.row._tone_{name}]">{{{{ props.value }}}}</span></q-td>'


def of_version(panel: Panel, version: str | None) -> Rows:
    """The rows of one version."""
    return panel.of_version(version).rows

"""Drill down: documents behind a number in a dialog, then one document with its lineage and its text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nicegui import ui

from expedition.data.quality.panels import Column, record
from expedition.data.quality.panels.records import Examples
from expedition.errors import ExpeditionError
from expedition.watch.web.figure import Table

if TYPE_CHECKING:
    from expedition.watch.web.frame import Frame

_COLUMNS = tuple(Column(name, "text") for name in ("source", "kind", "path", "inner", "reason", "id"))


class Records:
    """The dialog of one browser. All text stands in labels: a label's text is never markup."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._version: str | None = None
        self._rows: tuple[Mapping[str, Any], ...] = ()
        self._dialog = ui.dialog().classes("records")
        with self._dialog, ui.card().classes("records-card"):
            with ui.element("div").classes("head"):
                self._title = ui.label("").classes("title").props('role="heading" aria-level="2"')
                ui.button("close", on_click=self._dialog.close).props("flat dense no-caps")
            self._about = ui.label("").classes("about")
            with ui.element("div") as self._list:
                self._table = Table(
                    _COLUMNS, "No document on record.", page_rows=10, opens="open", on_open=self._open_row
                )
            with ui.element("div").classes("record") as self._one:
                self._back = ui.button("back to the list", on_click=self._show_list).props("flat dense no-caps")
                self._lineage = ui.label("").classes("mono").props('id="record-lineage"')
                self._note = ui.label("").classes("about")
                self._text = ui.label("").classes("mono text").props('id="record-text" dir="auto"')

    async def examples(self, title: str, find: Callable[[], Examples]) -> None:
        """Open the dialog with what `find` finds; `find` runs on another thread."""
        self._version = self._frame.version
        self._title.set_text(title)
        self._about.set_text("Reading …")
        self._table.show(())
        self._show_list()
        self._dialog.open()
        try:
            found = await asyncio.to_thread(find)
        except (ExpeditionError, OSError) as error:
            self._about.set_text(str(error))
            return
        self._rows = found.rows
        self._about.set_text(
            f"{len(found.rows)} of {found.matching:,} documents, a fair sample by the hash in their ids."
        )
        self._table.show([{**row, "id": row["id"] or None} for row in found.rows])

    async def document(self, document: str) -> None:
        """Open the dialog with one document."""
        self._version = self._frame.version
        self._rows = ()
        self._title.set_text(f"Document {document}")
        self._about.set_text("")
        self._dialog.open()
        await self._show({"id": document})

    async def _open_row(self, row: Mapping[str, Any]) -> None:
        await self._show(self._rows[int(row["_key"])])

    async def _show(self, row: Mapping[str, Any]) -> None:
        if self._version is None:
            self._about.set_text("There is no version yet.")
            return
        self._list.set_visibility(False)
        self._one.set_visibility(True)
        self._back.set_visibility(bool(self._rows))
        self._text.set_text("")
        self._lineage.set_text("Reading …")
        self._note.set_text("")
        try:
            found = await asyncio.to_thread(record, self._frame.ws, self._version, row)
        except (ExpeditionError, OSError) as error:
            self._lineage.set_text(str(error))
            return
        self._lineage.set_text("\n".join(found["lineage"]))
        if found["withheld"]:
            self._note.set_text(f"The text is not shown: {found['withheld']}.")
            return
        cut = f", its first {len(found['text']):,} characters" if found["cut"] else ""
        self._note.set_text(f"{found['text_from']}{cut}:" if found["text"] else f"{found['text_from']}: nothing in it.")
        self._text.set_text(found["text"])

    def _show_list(self) -> None:
        self._one.set_visibility(False)
        self._list.set_visibility(True)

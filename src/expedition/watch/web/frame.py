"""What every page has around it: menu, the time of the reading, the choice of version, and news of new readings."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING

from nicegui import ui

from expedition.watch.web.feed import Feed, Reading
from expedition.watch.web.pages import PAGES, Page

if TYPE_CHECKING:
    from expedition.workspace import Workspace

Update = Callable[[Reading, str | None], None]
"""Told the newest reading and the version that the person looks at; None: there is none."""
NEWEST = ""


class Frame:
    """One browser's page. Lives on the server's event loop."""

    def __init__(self, ws: Workspace, programme_name: str, feed: Feed, reading: Reading, page: Page) -> None:
        self.ws = ws
        self.reading = reading
        self._feed, self._name, self._page = feed, programme_name, page
        self._chosen = NEWEST
        self._updates: list[Update] = []

    @property
    def version(self) -> str | None:
        """The version that is looked at."""
        return self.reading.version(self._chosen or None)

    def on_update(self, update: Update) -> None:
        """Call `update` now and then for every reading and choice."""
        self._updates.append(update)

    def draw(self) -> None:
        """The frame, then the page in it, then the first reading."""
        ui.add_css(files("expedition.watch.web").joinpath("site.css").read_text(encoding="utf-8"))
        dark = ui.dark_mode(None)
        with ui.element("header").classes("bar"):
            with ui.element("div").classes("names"):
                ui.label(self._page.title).classes("page-title").props('role="heading" aria-level="1"')
                ui.label(f"{self._name} · {self.ws.store.describe()}").classes("place")
            if len(PAGES) > 1:
                with ui.element("nav"):
                    for page in PAGES:
                        ui.link(page.title, page.path).classes("here" if page == self._page else "")
            with ui.element("div").classes("controls"):
                self._select = ui.select({NEWEST: "newest"}, value=NEWEST, label="version")
                self._select.props("dense outlined options-dense").classes("version")
                self._select.on_value_change(self._choose)
                ui.button("light / dark", on_click=lambda: dark.set_value(not dark.value)).props("flat dense no-caps")
        self._state = ui.element("div").classes("asof").props('role="status"')
        with self._state:
            self._as_of = ui.label("").props('id="as-of"')
            self._fresh = ui.label("").classes("chip").props('id="freshness"')
            self._trouble = ui.label("").classes("trouble")
        with ui.element("main").classes("grid"):
            self._page.draw()(self)
        ui.label(
            f"Read again every {self._feed.interval_s:g} s. “unknown” means that nothing measured it. "
            "This page changes nothing."
        ).classes("foot")
        self._tell()
        ui.timer(self._feed.interval_s, self._read, immediate=False)

    async def _read(self) -> None:
        self.reading = await self._feed.reading()
        self._tell()

    def _choose(self) -> None:
        self._chosen = str(self._select.value or NEWEST)
        self._tell()

    def _tell(self) -> None:
        reading = self.reading
        names = [item.version for item in reversed(reading.held.versions)]
        options = {NEWEST: f"newest: {names[0]}" if names else "none yet", **{name: name for name in names}}
        if options != self._select.options:
            self._select.set_options(options, value=self._chosen if self._chosen in options else NEWEST)
        self._as_of.set_text(f"As of {reading.as_of[:19].replace('T', ' ')} UTC")
        state, text = freshness_line(reading)
        self._fresh.set_text(text)
        self._fresh.classes(replace=f"chip {state}")
        trouble = (
            f"The workspace cannot be read: {reading.trouble}. Shown is the reading before." if reading.trouble else ""
        )
        self._trouble.set_text(trouble)
        self._trouble.set_visibility(bool(trouble))
        for update in self._updates:
            update(reading, self.version)


def freshness_line(reading: Reading) -> tuple[str, str]:
    """(tone, sentence): the worst of the freshness panel. Pure."""
    rows = reading.panels["freshness"].rows
    stale = [row for row in rows if row["state"] == "stale"]
    if stale:
        worst = max(stale, key=lambda row: row["age_s"])
        return (
            "bad",
            f"stale: {worst['what']} {worst['name']} is {duration(worst['age_s'])} old, limit {duration(worst['limit_s'])}",
        )
    limited = [row for row in rows if row["state"] == "fresh"]
    if not limited:
        return "warn", "no version of known age yet"
    oldest = max(limited, key=lambda row: row["age_s"])
    return "good", f"fresh: {oldest['what']} {oldest['name']} is {duration(oldest['age_s'])} old"


def duration(seconds: float | None) -> str:
    """A time span for people."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

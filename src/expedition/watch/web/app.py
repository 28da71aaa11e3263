"""The server of the site: its pages, the data of every panel for other programs, and nothing to write to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from expedition.data.quality.panels import PANELS, Reader, csv_text, json_value
from expedition.errors import ExpeditionError, MissingExtra
from expedition.watch.web.address import LOOPBACK_NAMES, Address, Guard, url_of
from expedition.watch.web.feed import Feed
from expedition.watch.web.pages import PAGES, Page
from expedition.workspace.hashes import canonical_json

if TYPE_CHECKING:
    from fastapi import FastAPI, Response

    from expedition.plan.models import Programme
    from expedition.workspace import Workspace

START_S = 60.0
STOP_S = 10.0
_FORMS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


@contextmanager
def site(
    ws: Workspace, programme: Programme, address: Address | None = None, refresh_s: float | None = None
) -> Iterator[str]:
    """Serve the site while the context lasts; gives its URL. One at a time in a process.

    `refresh_s`: how often the workspace is read again; None: 5 s for a folder, 30 s for an object store. Raises
    MissingExtra without NiceGUI, UsageError for a host or port that cannot be had, ExpeditionError where the workspace
    cannot be read.
    """
    try:
        import nicegui  # noqa: F401
        import uvicorn
    except ImportError:
        raise MissingExtra("the live page needs NiceGUI", fix="pip install 'expedition-programme[watch]'") from None
    place = (address or Address()).checked()
    feed = Feed(Reader(ws, programme.data), refresh_s)
    allowed = None if place.allow_remote else LOOPBACK_NAMES | {place.host}
    listener = place.bound()
    guarded = Guard(application(ws, programme, feed), allowed)
    config = uvicorn.Config(guarded, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="watch", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise ExpeditionError("the page's server did not start", where=place.host, fix="see the lines above")
            time.sleep(0.02)
        yield url_of(place.host, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(STOP_S)
        listener.close()


def application(ws: Workspace, programme: Programme, feed: Feed) -> FastAPI:
    """The application: `/data/PANEL.csv|json`, `/healthz`, and the pages."""
    from fastapi import FastAPI
    from nicegui import ui

    app = FastAPI(title="Expedition", docs_url=None, redoc_url=None, openapi_url=None)
    _add_data(app, feed)
    for page in PAGES:
        for path in [page.path, *(["/"] if page == PAGES[0] else [])]:
            _add_page(path, page, ws, programme, feed)
    ui.run_with(app, title=f"{programme.name} · Expedition", dark=None, tailwind=False, show_welcome_message=False)
    return app


def _add_page(path: str, page: Page, ws: Workspace, programme: Programme, feed: Feed) -> None:
    from nicegui import ui

    from expedition.watch.web.frame import Frame

    @ui.page(path, title=f"{page.title} · {programme.name}")
    async def show() -> None:
        reading = await feed.reading()
        Frame(ws, programme.name, feed, reading, page).draw()


def _add_data(app: FastAPI, feed: Feed) -> None:
    from fastapi import HTTPException, Response

    @app.get("/data/{name}.{form}", response_class=Response)
    async def data(name: str, form: str, version: str | None = None) -> Response:
        """One panel as CSV or JSON; `version`: its rows of that version alone."""
        if name not in PANELS or form not in _FORMS:
            known = ", ".join(PANELS)
            raise HTTPException(404, f"there is /data/PANEL.csv and /data/PANEL.json for the panels {known}")
        reading = await feed.reading()
        panel = reading.panels[name].of_version(version)
        body = csv_text(panel).encode() if form == "csv" else canonical_json(json_value(panel, reading.as_of)) + b"\n"
        file = re.sub(r"[^A-Za-z0-9._-]", "_", f"{name}-{version}" if version else name)
        headers = {"content-disposition": f'attachment; filename="{file}.{form}"', "cache-control": "no-store"}
        return Response(body, media_type=_FORMS[form], headers=headers)

    @app.get("/healthz")
    async def health() -> dict[str, object]:
        """When the workspace was last read, and what of it is stale."""
        reading = await feed.reading()
        return {"as_of": reading.as_of, "trouble": reading.trouble, "freshness": list(reading.panels["freshness"].rows)}

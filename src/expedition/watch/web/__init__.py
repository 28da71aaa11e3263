"""web: what people look at in a browser: the live site (`expedition watch`) and the static page of a voyage.

Why a room: drawing is kept apart from asking. Numbers come from queries of other rooms (`data.quality.panels`), charts
are pure functions of them, and nothing here can change a workspace.
Verbs (all that other rooms may call):
    site(ws, programme, address) -> URL     context manager: the live site, served until it ends; extra `watch`
    Address(host, port, allow_remote)       where it listens
Seams: a page is a module with `draw(frame)` and a row in pages.PAGES.
Imports: errors, workspace, plan, data.quality.panels.  Imported by: watch, cli.
Reads / writes in the workspace: reads what panels read; static/ writes watch/index.html and watch/page.json.
Invariants: text from data is never markup [test_script_in_data_does_not_run]; nothing is fetched from elsewhere
    [test_page_asks_nothing_of_other_hosts]; there is nothing to write to [test_only_reading_is_answered].
Read in this order:
    address.py      where to listen, and who may ask
    pages.py        the pages, one line each
    app.py          the server; data for other programs
    feed.py         one reading of the workspace for all browsers
    frame.py        what every page has around it
    charts.py       panels → ECharts options
    figure.py       a chart or table with its title, its unit and its data to take away
    records.py      drill down to documents
    governance.py   the page of data governance
    static/         the static page
Try: expedition watch --workspace voyage; pytest tests/watch
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.watch.web.address import Address
    from expedition.watch.web.app import site

__all__ = ["Address", "site"]

_HOMES = {"Address": "address", "site": "app"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

"""`write_page`: the war room as one self-contained HTML file, and its health.

The data is embedded as JSON and drawn by the page's own script; nothing is fetched. Text from data reaches the page
only as text nodes, a Gantt only as an image.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from expedition.watch.catalogue import CATALOGUE
from expedition.watch.incidents import list_incidents, mean_times, timeline
from expedition.watch.web.static.governance import governance_views
from expedition.watch.web.static.views import View, global_view, hardware_view, moe_view, network_view, now_s
from expedition.workspace import NotFound, layout

if TYPE_CHECKING:
    from expedition.plan.models import Programme
    from expedition.workspace import Workspace

SCHEMA = "watch.page/1"
GANTT = "reports/gantt.svg"


def write_page(ws: Workspace, programme: Programme) -> dict[str, Any]:
    """Write watch/index.html and watch/page.json from what the workspace holds now; returns the health document."""
    now = now_s()
    views = {
        "global": global_view(ws, now),
        "hardware": hardware_view(ws, now),
        "network": network_view(ws, now),
        "moe": moe_view(ws, now),
        **governance_views(ws, programme, datetime.fromtimestamp(now, UTC).isoformat()),
    }
    ws.write_text(layout.PAGE, render(page_data(ws, programme, views, now)))
    health = {
        "page": layout.PAGE,
        "written": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "views": {
            name: {"present": view.present, "fresh_s": view.fresh_s, "ranks": view.ranks}
            for name, view in views.items()
        },
    }
    ws.write_json(layout.PAGE_HEALTH, health, schema=SCHEMA)
    return health


def page_data(ws: Workspace, programme: Programme, views: dict[str, View], now: float) -> dict[str, Any]:
    """Everything that the page shows, as JSON."""
    incidents = list_incidents(ws)
    return {
        "title": programme.name,
        "preset": programme.preset,
        "written": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "views": {name: asdict(view) for name, view in views.items()},
        "metrics": {metric.name: {"unit": metric.unit, "meaning": metric.meaning} for metric in CATALOGUE},
        "incidents": [{**i, "timeline": timeline(ws, i["id"])} for i in incidents],
        "times": mean_times(incidents),
        "gates": _optional(ws, layout.GATES),
        "goodput": _optional(ws, layout.GOODPUT),
        "nodes": [ws.read_json(key) for key in ws.store.list("cluster/nodes") if key.endswith(".json")],
        "drills": _optional(ws, layout.report("drill")),
        "mix": programme.data.mix.weights(),
        "gantt": _image(ws, GANTT),
    }


def render(data: dict[str, Any]) -> str:
    """The HTML file for `data`."""
    folder = files("expedition.watch.web.static")
    parts = {name: folder.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css")}
    scripts = [folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in ("charts", "page")]
    # "<" must not occur in the data: it would end the script element that holds it.
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = parts["html"].replace("/*STYLE*/", parts["css"]).replace("/*SCRIPT*/", "\n".join(scripts))
    return page.replace("/*DATA*/", body)


def _optional(ws: Workspace, key: str) -> dict[str, Any] | None:
    try:
        return ws.read_json(key)
    except NotFound:
        return None


def _image(ws: Workspace, key: str) -> str | None:
    """An SVG as a data URL: an image runs no script, whatever it holds."""
    try:
        return "data:image/svg+xml;base64," + base64.b64encode(ws.store.read(key)).decode()
    except NotFound:
        return None

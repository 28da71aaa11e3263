"""What the static page's governance panels show of the newest dataset, from the panels that all pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.watch.web.static.views import View

if TYPE_CHECKING:
    from expedition.data.quality.panels import Holdings, Panel
    from expedition.plan.models import Programme
    from expedition.workspace import Workspace

VIEWS = ("shares", "languages", "safety", "alignment")


def governance_views(ws: Workspace, programme: Programme, now: str) -> dict[str, View]:
    """The four panels by name: shares, languages, safety, alignment. `now` is ISO 8601 UTC."""
    # A training process imports watch, and needs nothing of data for it.
    from expedition.data.quality.panels import PANELS, Reader

    held = Reader(ws, programme.data).read(now)
    if held.newest is None:
        return {name: View(None, False, None, 0) for name in VIEWS}
    newest = held.newest.version
    panels = {name: query(held) for name, query in PANELS.items()}
    shown = {
        "shares": _shares(held, panels),
        "languages": [_language(row) for row in panels["languages"].of_version(newest).rows] or None,
        "safety": [_rates(row) for row in panels["safety"].rows] or None,
        "alignment": _alignment(panels["subtitles"].of_version(newest)),
    }
    age = held.age_s(held.newest.built_at)
    return {name: View(data, data is not None, age, 1) for name, data in shown.items()}


def _shares(held: Holdings, panels: dict[str, Panel]) -> dict[str, Any]:
    newest = held.newest
    assert newest is not None
    sources = panels["sources"].of_version(newest.version).rows
    return {
        "version": newest.version,
        "documents": newest.manifest["documents"],
        "tokens": sum(row["expanded_tokens"] for row in sources),
        "kinds": {row["kind"]: row["expanded_tokens"] for row in panels["mix"].of_version(newest.version).rows},
        "sources": [
            {"source": row["source"], "kind": row["kind"], "documents": row["documents"],
             "tokens": row["expanded_tokens"]}
            for row in sources
        ],
    }  # fmt: skip


def _language(row: Any) -> dict[str, Any]:
    named = {"class": row["group"], "tokens": row["expanded_tokens"]}
    return {**{name: row[name] for name in ("language", "documents")}, **named}


def _rates(row: Any) -> dict[str, Any]:
    from expedition.data.quality.panels.safety import ALL

    source = None if row["source"] == ALL else row["source"]
    return {"version": row["version"], "source": source, "pii": row["pii_rate"], "toxicity": row["toxicity_rate"]}


def _alignment(panel: Panel) -> dict[str, Any] | None:
    from expedition.data.quality.panels.subtitles import cell_label

    rows = [row for row in panel.rows if row["measure"] == "clips"]
    if not rows:
        return None
    labels = [cell_label(row["from_s"], row["to_s"]) for row in rows]
    return {
        "cells": [f"{label} s" for label in labels],
        "labels": [_short(row["from_s"], label) for row, label in zip(rows, labels, strict=True)],
        "counts": [row["count"] for row in rows],
        "clips": sum(row["count"] for row in rows),
    }


def _short(low: float | None, label: str) -> str:
    return label if low is None else f"{low:g}"

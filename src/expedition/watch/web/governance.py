"""What the governance panels show of the newest dataset: shares, languages, PII and toxicity, alignment."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from expedition.watch.web.views import View
from expedition.workspace import NotFound, layout

if TYPE_CHECKING:
    import pyarrow as pa

    from expedition.workspace import Workspace

CHINESE = ("yue", "wuu", "nan", "hak", "gan", "hsn", "cdo", "cjy", "cpx", "czh", "czo", "mnp", "hnm")
ARABIC = ("apc", "ary", "arz", "acm", "aeb", "ajp", "apd", "ars")
DIALECTS = frozenset((*CHINESE, *ARABIC, "gsw", "bar", "nds", "lmo", "vec", "nap", "scn"))
"""ISO 639-3 codes of dialects and varieties that the panel names as such."""
LARGE = frozenset(
    ("en", "zh", "es", "fr", "de", "ja", "ru", "pt", "it", "ko", "ar", "hi", "id", "tr", "vi", "nl", "pl", "fa", "uk",
     "cs", "sv", "ro", "el", "hu", "th", "he", "bn", "ur", "da", "fi", "no", "nb", "ta", "te", "mr",
     "eng", "cmn", "spa", "fra", "deu", "jpn", "rus", "por", "ita", "kor", "arb", "hin", "ind", "tur", "vie", "nld",
     "pol", "pes", "ukr", "ces", "swe", "ron", "ell", "hun", "tha", "heb", "ben")
)  # fmt: skip
"""Languages with large corpora; the others count as minority languages in the panel."""
CELL = re.compile(r"alignment_s:(?P<low>[-+.e\d]+|-inf):(?P<high>[-+.e\d]+|inf)")
"""A histogram cell in a stage's counts: seconds from, to."""


def governance_views(ws: Workspace, now: float) -> dict[str, View]:
    """The four panels by name: shares, languages, safety, alignment."""
    versions = _versions(ws)
    if not versions:
        return {name: View(None, False, None, 0) for name in ("shares", "languages", "safety", "alignment")}
    folder, manifest = versions[-1]
    age = _age(ws, now)
    reports = [(m["version"], _json(ws, f"{f}/report.json") or {}) for f, m in versions]
    panels = {
        "shares": _shares(manifest),
        "languages": _languages(_parquet(ws, f"{folder}/statistics.parquet")),
        "safety": _safety(reports),
        "alignment": _alignment(reports[-1][1]),
    }
    return {name: View(data, data is not None, age, 1) for name, data in panels.items()}


def _versions(ws: Workspace) -> list[tuple[str, dict[str, Any]]]:
    """Folder and manifest of every dataset version, by version name."""
    keys = [key for key in ws.store.list(f"data/{layout.DATASET}") if key.endswith("/manifest.json")]
    return [(key.removesuffix("/manifest.json"), ws.read_json(key)) for key in sorted(keys)]


def _age(ws: Workspace, now: float) -> float | None:
    times = [event.time for event in ws.events_all("data.")]
    return max(0.0, now - datetime.fromisoformat(max(times)).timestamp()) if times else None


def _shares(manifest: dict[str, Any]) -> dict[str, Any]:
    sources = [
        {"source": s["name"], "kind": s["kind"], "documents": s["documents"], "tokens": s["tokens"]}
        for s in manifest["sources"]
    ]
    return {
        "version": manifest["version"],
        "documents": manifest["documents"],
        "tokens": manifest["tokens"],
        "kinds": {kind: entry["tokens"] for kind, entry in manifest["kinds"].items()},
        "sources": sorted(sources, key=lambda s: -int(s["tokens"])),
    }


def _languages(statistics: pa.Table | None) -> list[dict[str, Any]] | None:
    if statistics is None or not {"language", "documents", "tokens"} <= set(statistics.column_names):
        return None
    grouped = statistics.group_by("language").aggregate([("tokens", "sum"), ("documents", "sum")])
    rows = [
        {"language": row["language"] or "und", "tokens": row["tokens_sum"], "documents": row["documents_sum"]}
        for row in grouped.to_pylist()
    ]
    for row in rows:
        row["class"] = language_class(row["language"])
    return sorted(rows, key=lambda row: (-int(row["tokens"]), row["language"])) or None


def language_class(code: str) -> str:
    """`dialect`, `large`, `minority` or `unknown` of a BCP-47 or ISO 639-3 code."""
    base = code.split("-")[0].lower()
    if base in ("und", ""):
        return "unknown"
    if base in DIALECTS or "-x-" in code:
        return "dialect"
    return "large" if base in LARGE else "minority"


def _safety(reports: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """Share of documents with personal data and with toxicity, by version and source, in build order."""
    rows = []
    for version, report in reports:
        stages = report.get("stages") or []
        for source in dict.fromkeys(row["source"] for row in stages):
            part = {"stages": [row for row in stages if row["source"] == source]}
            pii, toxicity = stage_rate(part, "pii"), stage_rate(part, "toxicity")
            if pii is not None or toxicity is not None:
                rows.append({"version": version, "source": source, "pii": pii, "toxicity": toxicity})
        pii, toxicity = stage_rate(report, "pii"), stage_rate(report, "toxicity")
        if pii is not None or toxicity is not None:
            rows.append({"version": version, "source": None, "pii": pii, "toxicity": toxicity})
    return rows or None


def stage_rate(report: Mapping[str, Any], name: str) -> float | None:
    """Documents that a stage dropped or changed over those it saw; None where the report has no such stage."""
    rows = [row for row in report.get("stages") or [] if row["stage"] == name]
    seen = sum(row["in"] for row in rows)
    acted = sum(sum(row[field].values()) for row in rows for field in ("dropped", "changed"))
    return acted / seen if seen else None


def _alignment(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Histogram of subtitle minus speech or picture time, from the cells `name:low:high` that stages count."""
    cells: dict[tuple[float, float], int] = {}
    for row in report.get("stages") or []:
        for key, count in row["counts"].items():
            found = CELL.fullmatch(key)
            if found:
                edges = float(found["low"]), float(found["high"])
                cells[edges] = cells.get(edges, 0) + int(count)
    if not cells:
        return None
    ordered = sorted(cells)
    return {
        "cells": [f"{low:g} to {high:g} s" for low, high in ordered],
        "labels": [f"{low:g}" if math.isfinite(low) else f"< {high:g}" for low, high in ordered],
        "counts": [cells[edges] for edges in ordered],
        "clips": sum(cells.values()),
    }


def _json(ws: Workspace, key: str) -> dict[str, Any] | None:
    try:
        return ws.read_json(key)
    except NotFound:
        return None


def _parquet(ws: Workspace, key: str) -> pa.Table | None:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(ws.store.read(key)), partitioning=None)
    except NotFound:
        return None

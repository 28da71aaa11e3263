"""A finished version as `Seen`, and the report over it, written into the workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from expedition.data.quality.report import quality_report
from expedition.data.quality.seen import Seen
from expedition.workspace import Workspace, layout

TRUTH: Final = "truth.jsonl"
REPORT_NAME: Final = "data-quality"
SCHEMA: Final = "reports.data-quality/1"
_DATASETS: Final = ("dataset", "heldout")


def read_build(ws: Workspace, version: str) -> Seen:
    """What the build of `version` kept (held-out documents included), dropped, could not read and was not allowed."""
    kept: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    places: dict[str, tuple[str, int, int]] = {}
    for dataset in _DATASETS:
        folder = layout.dataset(version, dataset)
        if not ws.store.exists(f"{folder}/manifest.json"):
            continue
        paths = {row["id"]: row for row in _table(ws, f"{folder}/lineage.parquet")}
        for row in _table(ws, f"{folder}/index/documents.parquet"):
            kept.append({**paths.get(row["id"], {}), **row})
            places[row["id"]] = (f"{folder}/{row['shard']}", row["json_offset"], row["json_bytes"])
        gone += _table(ws, f"{folder}/dropped.parquet") if ws.store.exists(f"{folder}/dropped.parquet") else []
        report = ws.read_json(f"{folder}/report.json") if dataset == _DATASETS[0] else {}
        gone += _refused(report)

    @lru_cache(maxsize=100_000)
    def text_of(document: str) -> str:
        shard, offset, size = places[document]
        value: str = json.loads(ws.store.read_range(shard, offset, size))["text"]
        return value

    return Seen.from_rows(kept, gone, text_of)


def _refused(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, why in dict(report.get("unapproved", {})).items():
        yield {"source": name, "path": name, "stage": "compliance", "reason": str(why)}
    for row in report.get("quarantined", ()):
        for path in row["items"]:
            yield {"source": row["source"], "path": path, "stage": "quarantine", "reason": row["reason"]}


def _table(ws: Workspace, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(ws.store.local(key)).to_pylist()
    return rows


def write_quality_report(
    ws: Workspace, version: str, data_dir: Path, labelled_dir: Path | None = None
) -> dict[str, Any]:
    """Compare a version with the truth file in its data folder, if there is one, and detectors with labelled sets, if
    the data folder or `labelled_dir` holds any. Writes reports/data-quality.json and returns it.
    """
    truth = data_dir / TRUTH
    report = quality_report(
        truth if truth.is_file() else None, read_build(ws, version), labelled_dir or data_dir, data_dir
    )
    document = {
        "conditions": ["generated data" if truth.is_file() else "no planted truth"],
        "dataset": version,
        **report,
    }
    ws.write_json(layout.report(REPORT_NAME), document, schema=SCHEMA)
    return document

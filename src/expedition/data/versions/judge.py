"""What a version kept and lost, under the names that truth files use; the data quality report, as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from expedition.data.quality import Seen, quality_report
from expedition.data.versions.index import DROPPED, INDEX, LINEAGE
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.seal import REPORT
from expedition.errors import InputError
from expedition.workspace import Workspace, layout

if TYPE_CHECKING:
    from expedition.plan.data import DataPlan

SCHEMA = "data.quality/1"
TRUTH = "truth.jsonl"


def judge(
    ws: Workspace,
    version: str | None = None,
    data_dir: Path | str | None = None,
    *,
    truth: Path | None = None,
    labelled: Path | None = None,
    plan: DataPlan | None = None,
) -> dict[str, Any]:
    """Compare a version with a truth file and with labelled sets, and list what the workspace holds.

    Writes reports/data-quality.json and its page reports/data-quality.md; returns {truth, labelled, panels}: `panels`
    are those of `data.quality.panels`, as the governance page shows them. `version` None: the one that was built last.
    `data_dir` None: no comparison but with what `truth` and `labelled` name. `truth` None: `data_dir/truth.jsonl`, if it
    is there. `labelled` None: labelled folders of `data_dir`. `plan` is what shares are held against; None: unknown.
    Without evidence a figure is None. Raises InputError for a truth file that is named and absent, UsageError where
    there is no such version.
    """
    from expedition.data.quality.panels import Reader, report_text, report_value

    if truth is not None and not truth.is_file():
        raise InputError("there is no such truth file", where=str(truth))
    held = Reader(ws, plan).read()
    chosen = version or (held.newest.version if held.newest else "v0.1")
    content_hash = read_manifest(ws, chosen)["content_hash"]
    root = None if data_dir is None else Path(data_dir).absolute()
    path = truth or (root / TRUTH if root else None)
    planted = path if path is not None and path.is_file() else None
    figures = quality_report(planted, seen(ws, chosen), labelled or root, root)
    built = {"version": chosen, "content_hash": content_hash, "conditions": []}
    held = replace(held, judged={**built, **figures})
    report = {**figures, "panels": report_value(held)}
    ws.write_text(layout.report_page("data-quality"), report_text(held))
    ws.write_json(layout.report("data-quality"), {**built, **report}, schema=SCHEMA)
    return report


def seen(ws: Workspace, version: str) -> Seen:
    """Everything that a build of `version` kept (training and held out), dropped, refused or was not allowed to use."""
    texts = _Texts(ws, version)
    kept = [row for dataset in texts.datasets for row in _kept(ws, version, dataset)]
    dropped = pq.read_table(ws.store.local(f"{layout.dataset(version)}/{DROPPED}")).to_pylist()
    gone = list(dropped)
    report = ws.read_json(f"{layout.dataset(version)}/{REPORT}")
    gone += [
        {"source": name, "path": name, "stage": "compliance", "reason": why}
        for name, why in sorted(report["unapproved"].items())
    ]
    return Seen.from_rows(kept, gone, texts)


class _Texts:
    """Stored text of a kept document by id, read from its shard."""

    def __init__(self, ws: Workspace, version: str) -> None:
        from expedition.data.versions.plan import HELDOUT

        self.datasets = (layout.DATASET, HELDOUT)
        self._ws = ws
        self._places: dict[str, tuple[str, int, int]] = {}
        for dataset in self.datasets:
            folder = layout.dataset(version, dataset)
            columns = ["id", "shard", "json_offset", "json_bytes"]
            for row in pq.read_table(ws.store.local(f"{folder}/{INDEX}"), columns=columns).to_pylist():
                self._places[row["id"]] = (f"{folder}/{row['shard']}", row["json_offset"], row["json_bytes"])

    def __call__(self, document: str) -> str:
        key, offset, size = self._places[document]
        return str(json.loads(self._ws.store.read_range(key, offset, size))["text"])


def _kept(ws: Workspace, version: str, dataset: str) -> Iterator[dict[str, Any]]:
    folder = layout.dataset(version, dataset)
    languages = pq.read_table(ws.store.local(f"{folder}/{INDEX}"), columns=["language"]).column("language").to_pylist()
    lineage = pq.read_table(ws.store.local(f"{folder}/{LINEAGE}")).to_pylist()
    for row, language in zip(lineage, languages, strict=True):
        yield {**row, "language": language}

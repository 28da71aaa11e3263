"""What changed from one version to another: documents, tokens by kind, language and source, reasons for dropping."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from expedition.data.versions.index import DROPPED, INDEX, STATISTICS, totals
from expedition.data.versions.manifest import read_manifest
from expedition.workspace import Workspace, layout


def difference(ws: Workspace, old: str, new: str, dataset: str = layout.DATASET) -> dict[str, Any]:
    """Compare two finished versions.

    Returns {old, new, documents: {added, removed, kept}, tokens, kinds, languages, sources, dropped, tokenizer_equal};
    each table maps a name to {old, new} where they differ.
    """
    manifests = [read_manifest(ws, version, dataset) for version in (old, new)]
    ids = [set(_table(ws, version, dataset, INDEX, ["id"]).column("id").to_pylist()) for version in (old, new)]
    statistics = [_table(ws, version, dataset, STATISTICS) for version in (old, new)]
    reasons = [_reasons(ws, version, dataset) for version in (old, new)]
    return {
        "old": old,
        "new": new,
        "documents": {"added": len(ids[1] - ids[0]), "removed": len(ids[0] - ids[1]), "kept": len(ids[0] & ids[1])},
        "tokens": {"old": manifests[0]["tokens"], "new": manifests[1]["tokens"]},
        **{
            f"{by}s": _changed(
                *({name: cell["tokens"] for name, cell in totals(table, by).items()} for table in statistics)
            )
            for by in ("kind", "language", "source")
        },
        "dropped": _changed(*reasons),
        "tokenizer_equal": manifests[0]["tokenizer_fingerprint"] == manifests[1]["tokenizer_fingerprint"],
    }


def _changed(old: dict[str, int], new: dict[str, int]) -> dict[str, dict[str, int]]:
    names = sorted(old.keys() | new.keys())
    pairs = {name: {"old": old.get(name, 0), "new": new.get(name, 0)} for name in names}
    return {name: pair for name, pair in pairs.items() if pair["old"] != pair["new"]}


def _reasons(ws: Workspace, version: str, dataset: str) -> dict[str, int]:
    table = _table(ws, version, dataset, DROPPED, ["stage", "reason"])
    return dict(Counter(f"{row['stage']}: {row['reason']}" for row in table.to_pylist()))


def _table(ws: Workspace, version: str, dataset: str, name: str, columns: list[str] | None = None) -> Any:
    return pq.read_table(ws.store.local(f"{layout.dataset(version, dataset)}/{name}"), columns=columns)

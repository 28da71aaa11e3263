"""What changed from one version to another: documents in and out by reason and source, shares, and what trains on them.

The ids of both versions are compared partition by partition of the id space, so memory is bounded by
`PARTITION_ROWS` rows of each version (some 150 bytes a row), whatever the versions' size; above that, rows go through
scratch files.
"""

from __future__ import annotations

import bisect
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expedition.data.compliance.approval import STATES
from expedition.data.engine.tables import read_table
from expedition.data.versions.clean import COMPLIANCE, short
from expedition.data.versions.index import DROPPED, INDEX, STATISTICS, totals
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.mixture import shares
from expedition.data.versions.plan import HELDOUT
from expedition.data.versions.seal import REPORT
from expedition.plan.data import DataMix
from expedition.workspace import Workspace, layout

PARTITION_ROWS = 2_000_000
_BATCH_ROWS = 1 << 17
_ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("tokens", pa.int64()),
        ("place", pa.string()),
        ("why", pa.string()),
    ]
)
"""A document that a version knows. `place` is IN, OUT (dropped, for the reason `why`) or HELDOUT."""
IN, OUT = "in", "out"
Reasons = Counter[tuple[str, str]]
"""Counts by (reason, source)."""


@dataclass(slots=True)
class Compared:
    """Sums over the partitions that were compared."""

    kept: int = 0
    changed: int = 0
    """Documents in both versions whose stored tokens differ in number."""
    documents: dict[str, Reasons] = field(default_factory=lambda: {"in": Counter(), "out": Counter()})
    tokens: dict[str, Reasons] = field(default_factory=lambda: {"in": Counter(), "out": Counter()})
    new_tokens: Counter[str] = field(default_factory=Counter)
    """Stored tokens of documents that came in, by kind."""

    def rows(self, way: str) -> list[dict[str, Any]]:
        """[{reason, source, documents, tokens}], most tokens first."""
        tokens = self.tokens[way]
        found = [
            {"reason": reason, "source": source, "documents": count, "tokens": tokens[reason, source]}
            for (reason, source), count in self.documents[way].items()
        ]
        return sorted(found, key=lambda row: (-row["tokens"], row["reason"], row["source"]))


def difference(
    ws: Workspace, old: str, new: str, mix: DataMix | None = None, *, partition_rows: int = PARTITION_ROWS
) -> dict[str, Any]:
    """Compare two finished versions; `mix` (the programme's) adds what training would see differently.

    Returns {old, new, documents: {added, removed, kept, changed}, tokens, in, out, kinds, languages, sources, dropped,
    stages, tokenizer_equal, code_version, seed, training}. `in` and `out` list documents by reason and source; kinds,
    languages and sources map a name to its tokens and share, old and new; `dropped` counts reasons that changed.
    """
    manifests = [read_manifest(ws, version) for version in (old, new)]
    compared = _compare(ws, old, new, partition_rows)
    statistics = [pq.read_table(_local(ws, version, layout.DATASET, STATISTICS)) for version in (old, new)]
    return {
        "old": old,
        "new": new,
        "documents": {
            "added": sum(compared.documents["in"].values()),
            "removed": sum(compared.documents["out"].values()),
            "kept": compared.kept,
            "changed": compared.changed,
        },
        "tokens": {"old": manifests[0]["tokens"], "new": manifests[1]["tokens"]},
        "in": compared.rows("in"),
        "out": compared.rows("out"),
        **{f"{by}s": _shares(*(totals(table, by) for table in statistics)) for by in ("kind", "language", "source")},
        "dropped": _changed(*(_reasons(ws, version) for version in (old, new))),
        "stages": _changed_stages(*(manifest["stages"] for manifest in manifests)),
        "tokenizer_equal": manifests[0]["tokenizer_fingerprint"] == manifests[1]["tokenizer_fingerprint"],
        "code_version": {"old": manifests[0]["code_version"], "new": manifests[1]["code_version"]},
        "seed": {"old": manifests[0]["seed"], "new": manifests[1]["seed"]},
        "training": None if mix is None else training_change(mix, manifests[0], manifests[1], compared.new_tokens),
    }


def training_change(
    mix: DataMix, old: Mapping[str, Any], new: Mapping[str, Any], new_tokens: Mapping[str, int]
) -> dict[str, Any]:
    """What a run in the planned mix would read differently. Pure.

    {new_share: part of its tokens that come from documents the old version does not have, kinds: [{kind, planned,
    new_share, epochs_old, epochs_new}]}; epochs are those of one pass over the whole version at the planned shares. A
    kind that the new version lacks is left out of the mix, as the loader does.
    """
    epochs = [{row["kind"]: row["epochs_at_plan"] for row in shares(mix, manifest)} for manifest in (old, new)]
    planned = mix.weights()
    there = {kind: planned.get(kind, 0.0) for kind, cell in new["kinds"].items() if cell["tokens"]}
    total = sum(there.values())
    rows = [
        {
            "kind": kind,
            "planned": planned.get(kind, 0.0),
            "new_share": new_tokens.get(kind, 0) / new["kinds"][kind]["tokens"] if kind in there else None,
            "epochs_old": epochs[0].get(kind),
            "epochs_new": epochs[1].get(kind),
        }
        for kind in sorted(planned.keys() | there.keys())
    ]
    seen = sum(
        weight / total * new_tokens.get(kind, 0) / new["kinds"][kind]["tokens"]
        for kind, weight in there.items()
        if total
    )
    return {"new_share": seen, "kinds": rows}


def _compare(ws: Workspace, old: str, new: str, partition_rows: int) -> Compared:
    largest = max(_known_rows(ws, version) for version in (old, new))
    partitions = max(1, -(-largest // partition_rows))
    folder = ws.scratch(f"difference/{old}-{new}")
    compared = Compared()
    sources = [_source_reasons(ws, version) for version in (old, new)]
    try:
        parts = [_partitioned(ws, version, folder / name, partitions) for name, version in (("old", old), ("new", new))]
        for before, after in zip(*parts, strict=True):
            _compare_part(before, after, sources, compared)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return compared


def _compare_part(before: pa.Table, after: pa.Table, sources: Sequence[Mapping[str, str]], compared: Compared) -> None:
    was, now = _in(before), _in(after)
    place = pc.index_in(now.column("id"), value_set=was.column("id"))
    both = pc.is_valid(place)
    compared.kept += pc.sum(both).as_py() or 0
    same = now.filter(both)
    tokens = was.column("tokens").take(pc.drop_null(place))
    compared.changed += pc.sum(pc.not_equal(same.column("tokens"), tokens)).as_py() or 0
    added = now.filter(pc.invert(both))
    removed = was.filter(pc.invert(pc.is_in(was.column("id"), value_set=now.column("id"))))
    told = {name: f"source was {reason}" if reason in STATES else reason for name, reason in sources[0].items()}
    _add(compared, "in", added, _reason(added, before, told, "no longer ", "new item"))
    _add(compared, "out", removed, _reason(removed, after, sources[1], "", "item gone"))
    for row in added.group_by("kind").aggregate([("tokens", "sum")]).to_pylist():
        compared.new_tokens[row["kind"]] += row["tokens_sum"]


def _in(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table.column("place"), IN))


def _reason(moved: pa.Table, other: pa.Table, sources: Mapping[str, str], prefix: str, otherwise: str) -> pa.Array:
    """Why each document of `moved` is not in the version that `other` is the knowledge of."""
    known = other.filter(pc.not_equal(other.column("place"), IN))
    place = pc.index_in(moved.column("id"), value_set=known.column("id"))
    told = pc.binary_join_element_wise(pa.scalar(prefix), known.column("why").take(place), "")
    missing = [sources.get(name, sources[""]) for name in moved.column("source").to_pylist()]
    by_source = pa.array([reason or None for reason in missing], pa.string())
    return pc.coalesce(told, by_source, pa.scalar(otherwise))


def _add(compared: Compared, way: str, moved: pa.Table, reasons: pa.Array) -> None:
    table = moved.select(["source", "tokens"]).append_column("reason", reasons)
    for row in table.group_by(["reason", "source"]).aggregate([("tokens", "sum"), ([], "count_all")]).to_pylist():
        key = (row["reason"], row["source"])
        compared.documents[way][key] += row["count_all"]
        compared.tokens[way][key] += row["tokens_sum"]


def _source_reasons(ws: Workspace, version: str) -> dict[str, str]:
    """Why a version has nothing of a source, by source; "" stands for any that it does not know of.

    A source that takes part has no such reason: it maps to an empty string.
    """
    manifest, report = read_manifest(ws, version), ws.read_json(f"{layout.dataset(version)}/{REPORT}")
    reasons = {"": "source not there", **{row["name"]: "" for row in manifest["sources"]}}
    reasons |= {name: "source of a later version" for name in report.get("later", ())}
    return reasons | dict(report.get("left_out", {}))


def _partitioned(ws: Workspace, version: str, folder: Path, partitions: int) -> Iterator[pa.Table]:
    """What a version knows, a partition of the id space at a time; in memory if there is but one."""
    if partitions == 1:
        batches = list(_known(ws, version))
        yield pa.Table.from_batches(batches, _ROWS)
        return
    bounds = [f"{number * 65536 // partitions:04x}" for number in range(1, partitions)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.arrow" for number in range(partitions)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_file(stack.enter_context(pa.OSFile(str(p), "wb")), _ROWS)) for p in paths
        ]
        for batch in _known(ws, version):
            ordered = batch.sort_by("id")
            names = ordered.column("id").to_pylist()
            edges = [0, *(bisect.bisect_left(names, bound) for bound in bounds), len(names)]
            for writer, first, end in zip(writers, edges[:-1], edges[1:], strict=True):
                if end > first:
                    writer.write_batch(ordered.slice(first, end - first))
    for path in paths:
        yield read_table(path)
        path.unlink()


def _known(ws: Workspace, version: str) -> Iterator[pa.RecordBatch]:
    for dataset, place in ((layout.DATASET, IN), (HELDOUT, HELDOUT)):
        if not ws.store.exists(layout.manifest(version, dataset)):
            continue
        columns = ["id", "source", "kind", "tokens"]
        for batch in pq.ParquetFile(_local(ws, version, dataset, INDEX)).iter_batches(_BATCH_ROWS, columns=columns):
            yield _batch(batch, place, ["held out" if place == HELDOUT else None] * batch.num_rows)
    columns = ["id", "source", "kind", "stage", "reason"]
    for batch in pq.ParquetFile(_local(ws, version, layout.DATASET, DROPPED)).iter_batches(
        _BATCH_ROWS, columns=columns
    ):
        named = batch.filter(pc.not_equal(batch.column("id"), ""))
        pairs = zip(named.column("stage").to_pylist(), named.column("reason").to_pylist(), strict=True)
        yield _batch(named, OUT, [why_dropped(stage, reason) for stage, reason in pairs])


def _batch(batch: pa.RecordBatch, place: str, why: Sequence[str | None]) -> pa.RecordBatch:
    tokens = (
        batch.column("tokens").cast(pa.int64()) if "tokens" in batch.schema.names else pa.nulls(len(why), pa.int64())
    )
    columns = [batch.column(name) for name in ("id", "source", "kind")]
    return pa.record_batch(
        [*columns, tokens, pa.array([place] * len(why), pa.string()), pa.array(why, pa.string())], schema=_ROWS
    )


def why_dropped(stage: str, reason: str) -> str:
    """A reason as differences count it: copies and policies by their own names, the rest by stage. Pure."""
    if stage == "dedup":
        return f"copy: {short(reason)}"
    return f"policy: {short(reason)}" if stage == COMPLIANCE else f"dropped by {stage}: {short(reason)}"


def _known_rows(ws: Workspace, version: str) -> int:
    names = [(layout.DATASET, INDEX), (layout.DATASET, DROPPED), (HELDOUT, INDEX)]
    return sum(
        pq.ParquetFile(_local(ws, version, dataset, name)).metadata.num_rows
        for dataset, name in names
        if ws.store.exists(f"{layout.dataset(version, dataset)}/{name}")
    )


def _shares(old: Mapping[str, Mapping[str, int]], new: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Tokens and share of each name, where either differs."""
    sums = [sum(cell["tokens"] for cell in table.values()) or 1 for table in (old, new)]
    told = {}
    for name in sorted(old.keys() | new.keys()):
        tokens = [table.get(name, {"tokens": 0})["tokens"] for table in (old, new)]
        shares_of = [count / total for count, total in zip(tokens, sums, strict=True)]
        told[name] = {"old": tokens[0], "new": tokens[1], "old_share": shares_of[0], "new_share": shares_of[1]}
    return {name: row for name, row in told.items() if row["old"] != row["new"] or row["old_share"] != row["new_share"]}


def _changed_stages(old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    kinds = sorted(kind for kind in old.keys() | new.keys() if list(old.get(kind, ())) != list(new.get(kind, ())))
    return {kind: {"old": list(old.get(kind, ())), "new": list(new.get(kind, ()))} for kind in kinds}


def _changed(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, dict[str, int]]:
    pairs = {name: {"old": old.get(name, 0), "new": new.get(name, 0)} for name in sorted(old.keys() | new.keys())}
    return {name: pair for name, pair in pairs.items() if pair["old"] != pair["new"]}


def _reasons(ws: Workspace, version: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    file = pq.ParquetFile(_local(ws, version, layout.DATASET, DROPPED))
    for batch in file.iter_batches(_BATCH_ROWS, columns=["stage", "reason"]):
        pairs = zip(batch.column("stage").to_pylist(), batch.column("reason").to_pylist(), strict=True)
        counts.update(f"{stage}: {short(reason)}" for stage, reason in pairs)
    return dict(counts)


def _local(ws: Workspace, version: str, dataset: str, name: str) -> Path:
    return ws.store.local(f"{layout.dataset(version, dataset)}/{name}")


def report_tables(found: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """A difference for a person: (title, columns, rows) of each table that has rows."""
    old, new = found["old"], found["new"]
    documents, tokens = found["documents"], found["tokens"]
    head = [
        ["documents in", f"{documents['added']:,}"],
        ["documents out", f"{documents['removed']:,}"],
        ["documents kept", f"{documents['kept']:,} ({documents['changed']:,} of other length)"],
        ["tokens", f"{tokens['old']:,} → {tokens['new']:,}"],
        ["tokenizer", "the same" if found["tokenizer_equal"] else "another"],
        *(
            [name, f"{found[name]['old']} → {found[name]['new']}"]
            for name in ("code_version", "seed")
            if found[name]["old"] != found[name]["new"]
        ),
        *(
            [f"stages of {kind}", f"{', '.join(row['old']) or 'none'} → {', '.join(row['new']) or 'none'}"]
            for kind, row in found["stages"].items()
        ),
    ]
    tables = [(f"{old} → {new}", ["what", "value"], head)]
    for way in ("in", "out"):
        rows = [[row["reason"], row["source"], f"{row['documents']:,}", f"{row['tokens']:,}"] for row in found[way]]
        tables.append((f"Documents {way}", ["reason", "source", "documents", "tokens"], rows))
    for by in ("kind", "language", "source"):
        rows = [
            [name, f"{row['old']:,}", f"{row['new']:,}", f"{row['old_share']:.2%}", f"{row['new_share']:.2%}"]
            for name, row in found[f"{by}s"].items()
        ]
        tables.append((f"Tokens by {by}", [by, old, new, f"share {old}", f"share {new}"], rows))
    training = found["training"]
    if training is not None:
        rows = [[row["kind"], f"{row['planned']:.2%}", *map(_cell, _training_cells(row))] for row in training["kinds"]]
        title = f"Training in the planned mix: {training['new_share']:.2%} of its tokens would be new"
        tables.append((title, ["kind", "planned", "new tokens", f"epochs {old}", f"epochs {new}"], rows))
    return [table for table in tables if table[2]]


def _training_cells(row: Mapping[str, Any]) -> list[float | None]:
    return [row["new_share"], row["epochs_old"], row["epochs_new"]]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"

"""Drill down: documents behind a number, and one document with its lineage and its text.

Examples are those with the smallest ids of all that match: an id is a hash, so they are a fair and repeatable sample.
Text is shown only while an approval covers its source.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expedition.data.compliance.approval import state_at, why_refused
from expedition.data.compliance.ledger import inspect
from expedition.data.compliance.ledger import now as ledger_now
from expedition.data.trace import report_lines, trace_document
from expedition.data.versions.clean import short
from expedition.data.versions.decisions import parse_decisions
from expedition.data.versions.index import DROPPED, INDEX, LINEAGE
from expedition.data.versions.manifest import read_manifest
from expedition.errors import ExpeditionError
from expedition.workspace import Workspace, layout
from expedition.workspace.printable import printable

MOST_EXAMPLES: Final = 20
MOST_CHARACTERS: Final = 4_000
MOST_RAW_BYTES: Final = 256 << 20
"""Largest raw file that is opened for its text: finding a place in one means reading it."""
_CELLS: Final = ("id", "source", "kind", "path", "inner", "reason", "of")


@dataclass(frozen=True, slots=True)
class Examples:
    """Some of the documents that match, and how many there are."""

    rows: tuple[Mapping[str, Any], ...]
    """{id, source, kind, path, inner, reason, of}; what a table does not know is None."""
    matching: int


def dropped_examples(
    ws: Workspace,
    version: str,
    stage: str,
    reason: str | None = None,
    source: str | None = None,
    limit: int = MOST_EXAMPLES,
) -> Examples:
    """Documents that `stage` dropped, for `reason` (as counted: without its particulars) and of `source`."""

    def matches(batch: pa.Table) -> pa.Table:
        rows = batch.filter(pc.equal(batch.column("stage"), stage))
        if source is not None:
            rows = rows.filter(pc.equal(rows.column("source"), source))
        if reason is None:
            return rows
        fits = [text is not None and reason in (text, short(text)) for text in rows.column("reason").to_pylist()]
        return rows.filter(pa.array(fits, pa.bool_()))

    return _examples(ws, f"{layout.dataset(version)}/{DROPPED}", matches, limit)


def changed_examples(
    ws: Workspace, version: str, stage: str, source: str | None = None, limit: int = MOST_EXAMPLES
) -> Examples:
    """Kept documents in which `stage` changed something; `reason` says what."""

    def matches(batch: pa.Table) -> pa.Table:
        rows = batch.filter(pc.fill_null(pc.match_substring(batch.column("decisions"), stage), False))
        if source is not None:
            rows = rows.filter(pc.equal(rows.column("source"), source))
        said = [
            next((", ".join(row["changed"]) for row in parse_decisions(text) if row["stage"] == stage), None)
            for text in rows.column("decisions").to_pylist()
        ]
        rows = rows.append_column("reason", pa.array(said, pa.string()))
        return rows.filter(pc.is_valid(rows.column("reason")))

    return _examples(ws, f"{layout.dataset(version)}/{LINEAGE}", matches, limit)


def kept_examples(
    ws: Workspace,
    version: str,
    *,
    source: str | None = None,
    kind: str | None = None,
    language: str | None = None,
    limit: int = MOST_EXAMPLES,
) -> Examples:
    """Documents in the version, of a source, a kind and a language."""

    def matches(batch: pa.Table) -> pa.Table:
        for name, value in (("source", source), ("kind", kind), ("language", language)):
            if value is not None:
                there = batch.column(name)
                found = pc.if_else(pc.equal(pc.fill_null(there, ""), ""), "und", there)
                batch = batch.filter(pc.equal(found if name == "language" else there, value))
        return batch

    return _examples(ws, f"{layout.dataset(version)}/{INDEX}", matches, limit)


def record(ws: Workspace, version: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """One document: {row, lineage, text, text_from, cut, withheld}.

    `row` is an example's; {"id": …} is enough for a document that has one. `lineage` are lines for people as
    `data trace` prints them. `text` is the stored text of a kept document and the beginning of the raw item of another;
    None with the reason in `withheld` where no approval covers the source now, or the raw file cannot be opened.
    Raises UsageError for an id that the version has never seen.
    """
    told = trace_document(ws, version, str(row["id"])) if row.get("id") else None
    source = str(told["source"] if told else row["source"])
    lineage = report_lines(told) if told else _unread_lines(row)
    shown: dict[str, Any] = {"row": dict(row), "lineage": [printable(line) for line in lineage]}
    refused = _refusal(ws, version, source)
    if refused is not None:
        return {**shown, "text": None, "text_from": None, "cut": False, "withheld": refused}
    try:
        text, text_from = _stored(ws, version, told) if told and told["kept"] else _raw(ws, told, row)
    except (ExpeditionError, OSError) as error:
        what = error.what if isinstance(error, ExpeditionError) else str(error.strerror)
        withheld = f"the raw item cannot be read: {what}"
        return {**shown, "text": None, "text_from": None, "cut": False, "withheld": withheld}
    cut = len(text) > MOST_CHARACTERS
    return {
        **shown,
        "text": printable(text[:MOST_CHARACTERS]),
        "text_from": text_from,
        "cut": cut,
        "withheld": None,
    }


def _refusal(ws: Workspace, version: str, source: str) -> str | None:
    """Why the text of a source may not be shown; None: it may."""
    entries, problems = inspect(ws)
    if problems:
        return "the ledger is damaged: expedition compliance verify"
    scope, moment = str(read_manifest(ws, version)["scope"]), ledger_now(entries)
    if state_at(entries, source, scope, moment) == "approved":
        return None
    return why_refused(entries, source, scope, moment)


def _stored(ws: Workspace, version: str, told: Mapping[str, Any]) -> tuple[str, str]:
    place = told["place"]
    key = f"{layout.dataset(version, told['dataset'])}/{place['shard']}"
    text = json.loads(ws.store.read_range(key, place["json_offset"], place["json_bytes"]))["text"]
    return str(text), "text as it stands in the version"


def _raw(ws: Workspace, told: Mapping[str, Any] | None, row: Mapping[str, Any]) -> tuple[str, str]:
    from expedition.data.sources.raw import raw_bytes
    from expedition.errors import InputError

    item = told["item"] if told else {**row, "folder": _folder(ws, str(row["source"]))}
    if not item["folder"]:
        raise InputError("it is not on record where the raw files are")
    root = Path(item["folder"]).resolve()
    file = (root / str(item["path"])).resolve()
    if not file.is_relative_to(root):
        raise InputError("the path leads out of the data folder")
    if file.is_file() and file.stat().st_size > MOST_RAW_BYTES:
        raise InputError(f"the file is larger than {MOST_RAW_BYTES >> 20} MiB; expedition data trace --raw finds it")
    found = raw_bytes(root, str(item["path"]), item["inner"])
    text = found.data[: 4 * MOST_CHARACTERS + 4].decode("utf-8", "replace")
    return text, f"raw {found.what} as it came in, {found.size_bytes} bytes, before any stage"


def _folder(ws: Workspace, source: str) -> str | None:
    from expedition.data.compliance import list_acquisitions

    return next((str(i["folder"]) for i in list_acquisitions(ws) if i["source"] == source and i.get("folder")), None)


def _unread_lines(row: Mapping[str, Any]) -> list[str]:
    inside = f", {row['inner']}" if row.get("inner") else ""
    return [f"source       {row['source']}: {row['path']}{inside}", f"  decode         dropped: {row['reason']}"]


def _examples(ws: Workspace, key: str, matches: Callable[[pa.Table], pa.Table], limit: int) -> Examples:
    matching = 0
    least: list[dict[str, Any]] = []
    for batch in _row_groups(ws, key):
        found = matches(batch)
        matching += found.num_rows
        names = [name for name in _CELLS if name in found.column_names]
        few = found.select(names).take(pc.select_k_unstable(found, k=limit, sort_keys=[("id", "ascending")]))
        least = heapq.nsmallest(
            limit,
            [*least, *few.to_pylist()],
            key=lambda row: (row["id"], row.get("path") or "", row.get("inner") or ""),
        )
    return Examples(tuple({**dict.fromkeys(_CELLS), **row} for row in least), matching)


def _row_groups(ws: Workspace, key: str) -> Iterator[pa.Table]:
    file = pq.ParquetFile(ws.store.local(key))
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)

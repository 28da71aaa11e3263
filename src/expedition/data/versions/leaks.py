"""What decontamination took out of a version and why, as JSON and as a page."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from expedition.data.stages.benchmark_files import Item, read_benchmarks
from expedition.data.stages.decontaminate import CUT, STAGE, parse_leaks
from expedition.data.versions.decisions import parse_decisions
from expedition.data.versions.index import DROPPED, LINEAGE
from expedition.data.versions.manifest import read_manifest, versions
from expedition.data.versions.plan import HELDOUT
from expedition.workspace import Workspace, layout
from expedition.workspace.printable import printable

NAME: Final = "decontamination"
SCHEMA: Final = "data.decontamination/1"
MOST_ROWS: Final = 10_000
"""Rows of the report; sums count all."""
_PAGE_ROWS: Final = 200
_PAGE_EXCERPT: Final = 120
_PARTICULAR = re.compile(r"(?P<item>.+#.+) (?P<overlap>[01]\.\d\d)")


def report_leaks(ws: Workspace, version: str, benchmarks: Path | None = None) -> dict[str, Any]:
    """Write and return reports/decontamination.json (page: .md) of a finished version.

    {version, content_hash, searched: {benchmark: items} or None, unread: [{path, reason}], removed, cut (documents),
    by_benchmark, by_source: [{name, documents}], rows: [{action, document, source, path, benchmark, item, overlap,
    excerpt}], rows_total}. `benchmarks` is the folder that was searched for; None: what it held is not known any more.
    `overlap` is the share of an item's own tokens that the document covers.
    """
    searched, unread = _searched(benchmarks)
    documents: Counter[str] = Counter()
    by_benchmark: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    total = 0
    for action, where, leaks in _found(ws, version):
        documents[action] += 1
        by_source[where["source"]] += 1
        by_benchmark.update({leak["benchmark"] for leak in leaks})
        total += len(leaks)
        rows += [{"action": action, **where, **leak} for leak in leaks[: max(0, MOST_ROWS - len(rows))]]
    report = {
        "version": version,
        "content_hash": read_manifest(ws, version)["content_hash"],
        "searched": searched,
        "unread": unread,
        "removed": documents["removed"],
        "cut": documents["cut"],
        "by_benchmark": _sums(by_benchmark),
        "by_source": _sums(by_source),
        "rows": rows,
        "rows_total": total,
    }
    ws.write_text(layout.report_page(NAME), page(report))
    ws.write_json(layout.report(NAME), report, schema=SCHEMA)
    return report


def is_due(ws: Workspace, version: str) -> bool:
    """Whether the newest version has no report: a build that was stopped at its very end."""
    if versions(ws)[-1:] != [version]:
        return False
    key = layout.report(NAME)
    return not ws.store.exists(key) or ws.read_json(key)["version"] != version


def page(report: dict[str, Any]) -> str:
    """The report for people. What comes from documents is escaped."""
    searched = report["searched"]
    told = "not known" if searched is None else f"{sum(searched.values()):,} texts of {len(searched)} benchmarks"
    lines = [
        f"# Decontamination of {_cell(report['version'])}",
        "",
        f"Searched for: {told}. Removed: {report['removed']:,} documents. Cut: {report['cut']:,} documents.",
        "Overlap is the share of an item's own tokens that the document covers. Translations and paraphrases are not found.",
        "",
    ]
    if report["unread"]:
        lines += ["Benchmark files that could not be read, and so were not searched for:", ""]
        lines += [f"- {_cell(item['path'])}: {_cell(item['reason'])}" for item in report["unread"]]
        lines.append("")
    for title, name in (("benchmark", "by_benchmark"), ("source", "by_source")):
        lines += [f"| {title} | documents |", "|---|---:|"]
        lines += [f"| {_cell(row['name'])} | {row['documents']:,} |" for row in report[name]]
        lines.append("")
    shown = report["rows"][:_PAGE_ROWS]
    lines += [f"{len(shown):,} of {report['rows_total']:,} findings:", ""]
    lines += ["| document | source | done | item | overlap | excerpt |", "|---|---|---|---|---:|---|"]
    for row in shown:
        overlap = "unknown" if row["overlap"] is None else f"{row['overlap']:.0%}"
        cells = [row["document"], row["source"], row["action"], row["item"], overlap]
        excerpt = (row["excerpt"] or "")[:_PAGE_EXCERPT]
        lines.append(f"| {' | '.join(map(_cell, cells))} | {_cell(excerpt)} |")
    return "\n".join(lines) + "\n"


def _searched(folder: Path | None) -> tuple[dict[str, int] | None, list[dict[str, str]]]:
    if folder is None or not folder.is_dir():
        return None, []
    items: Counter[str] = Counter()
    unread = []
    for found in read_benchmarks(folder):
        if isinstance(found, Item):
            items[found.benchmark] += 1
        else:
            unread.append({"path": found.path, "reason": found.reason})
    return dict(sorted(items.items())), unread


def _found(ws: Workspace, version: str) -> Iterator[tuple[str, dict[str, str], list[dict[str, Any]]]]:
    """(action, where, leaks) of every document that was removed or cut; leaks as `parse_leaks` has them."""
    folder = layout.dataset(version)
    for row in _rows(
        ws, f"{folder}/{DROPPED}", "reason", lambda table: pc.equal(table.column("stage"), STAGE), "stage"
    ):
        yield "removed", _where(row), parse_leaks(row["reason"])
    told = f"{STAGE}:"
    for dataset in (layout.DATASET, HELDOUT):
        key = f"{layout.dataset(version, dataset)}/{LINEAGE}"
        for row in _rows(ws, key, "decisions", lambda table: pc.match_substring(table.column("decisions"), told)):
            leaks = _cut_leaks(row["decisions"])
            if leaks is not None:
                yield "cut", _where(row), leaks


def _rows(ws: Workspace, key: str, column: str, chosen: Any, *more: str) -> Iterator[dict[str, Any]]:
    """Chosen rows of a table, a row group in memory at a time."""
    if not ws.store.exists(key):
        return
    table = pq.ParquetFile(ws.store.local(key))
    for group in range(table.num_row_groups):
        rows = table.read_row_group(group, columns=["id", "source", "path", column, *more])
        yield from rows.filter(chosen(rows)).to_pylist()


def _where(row: dict[str, Any]) -> dict[str, str]:
    return {"document": row["id"], "source": row["source"], "path": row["path"]}


def _cut_leaks(decisions: str) -> list[dict[str, Any]] | None:
    """The items that a cut document held; None for a document that was not cut."""
    for step in parse_decisions(decisions):
        if step["stage"] == STAGE and CUT in step["changed"]:
            found = filter(None, map(_PARTICULAR.fullmatch, step["changed"]))
            return [
                {
                    "benchmark": match["item"].split("/")[0],
                    "item": match["item"],
                    "overlap": float(match["overlap"]),
                    "excerpt": None,
                }
                for match in found
            ]
    return None


def _sums(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"name": name, "documents": count} for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]


def _cell(value: object) -> str:
    """Text for one cell of a Markdown table: no mark-up, no line ends."""
    flat = " ".join(printable(value).split())
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(flat, quote=False))

"""How much there is: tokens and documents by version, source, kind and language, planned against achieved."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from expedition.data.quality.panels.holdings import Holdings, VersionHeld
from expedition.data.quality.panels.panel import Column, Panel
from expedition.data.versions.index import MODALITIES
from expedition.data.versions.mixture import cells_of, scaled, shares

NO_VERSION = "No dataset version yet: expedition data build DATA"
VERSION = Column("version", "text", "dataset version, in build order")
SOURCE = Column("source", "text", "folder of raw files with one approval")
KIND = Column("kind", "text", "kind of documents")
DOCUMENTS = Column("documents", "documents")
_EXPANDED = "stored tokens with every picture, clip and sound at the length that the loader gives it"


def sources(held: Holdings) -> Panel:
    """Tokens and share by version and source, against what the mix plans to read."""
    rows = [row for version in held.versions for row in _source_rows(version, held)]
    return Panel(
        "sources",
        "Tokens by source",
        f"Share of the version's expanded tokens ({_EXPANDED}). Planned: what the mix would read of the source in one "
        "pass of the version's size.",
        (
            VERSION,
            SOURCE,
            KIND,
            DOCUMENTS,
            Column("tokens", "tokens", "stored tokens"),
            Column("expanded_tokens", "tokens", _EXPANDED),
            Column("share", "share", "expanded tokens over the version's"),
            Column("planned_share", "share", "unknown where the plan does not name the kind"),
            Column("licence", "text"),
            Column("approval_id", "text", "ledger entry under which it was built"),
        ),
        tuple(rows),
        NO_VERSION,
    )


def mix(held: Holdings) -> Panel:
    """Planned against achieved share of every kind, by version."""
    rows = [
        {
            "version": version.version,
            "kind": row["kind"],
            "documents": version.manifest["kinds"].get(row["kind"], {}).get("documents", 0),
            "expanded_tokens": row["tokens"],
            "achieved_share": row["achieved"],
            "planned_share": row["planned"] if held.plan else None,
            "epochs_at_plan": row["epochs_at_plan"] if held.plan else None,
        }
        for version in held.versions
        for row in _kinds(version, held)
    ]
    return Panel(
        "mix",
        "Planned against achieved",
        "Share of expanded tokens by kind: what the programme plans, and what the version has.",
        (
            VERSION,
            KIND,
            DOCUMENTS,
            Column("expanded_tokens", "tokens", _EXPANDED),
            Column("achieved_share", "share"),
            Column("planned_share", "share"),
            Column("epochs_at_plan", "passes", "how often the kind is read for its planned share; unknown: none there"),
        ),
        tuple(rows),
        NO_VERSION,
    )


def cells(held: Holdings) -> Panel:
    """The finest sums that a version keeps: every number above is a sum of these rows."""
    rows = [
        {
            "version": version.version,
            "source": row["source"],
            "kind": row["kind"],
            "language": row["language"] or "und",
            **{name: row[name] for name in ("documents", "characters", "tokens")},
            "expanded_tokens": expanded(row),
            **{f"{name}_tokens": row[f"{name}_tokens"] for name in MODALITIES},
        }
        for version in held.versions
        for row in version.statistics
    ]
    return Panel(
        "cells",
        "Sums by source, kind and language",
        "The finest sums that a version keeps; the other panels add these up.",
        (
            VERSION,
            SOURCE,
            KIND,
            Column("language", "text", "BCP-47"),
            DOCUMENTS,
            Column("characters", "characters"),
            Column("tokens", "tokens", "stored tokens"),
            Column("expanded_tokens", "tokens", _EXPANDED),
            *(Column(f"{name}_tokens", "tokens", f"expanded tokens of {name}") for name in MODALITIES),
        ),
        tuple(rows),
        NO_VERSION,
    )


def expanded(row: Mapping[str, Any]) -> int:
    """Expanded tokens of a row of the statistics table."""
    return sum(int(row[f"{name}_tokens"]) for name in MODALITIES)


def share(part: float, whole: float) -> float | None:
    """part / whole to six digits; None for an empty whole."""
    return round(part / whole, 6) if whole else None


def _kinds(version: VersionHeld, held: Holdings) -> list[dict[str, Any]]:
    if held.plan is not None:
        rows = shares(held.plan.mix, version.manifest)
    else:
        kinds = version.manifest["kinds"]
        total = sum(cell["expanded_tokens"] for cell in kinds.values())
        rows = [
            {"kind": kind, "planned": None, "achieved": cell["expanded_tokens"] / total if total else 0.0,
             "tokens": cell["expanded_tokens"], "epochs_at_plan": None}
            for kind, cell in sorted(kinds.items())
        ]  # fmt: skip
    for row in rows:
        row["achieved"] = round(row["achieved"], 6)
        if row["epochs_at_plan"] is not None:
            row["epochs_at_plan"] = round(row["epochs_at_plan"], 4)
    return rows


def _source_rows(version: VersionHeld, held: Holdings) -> Iterable[dict[str, Any]]:
    told = {source["name"]: source for source in version.manifest["sources"]}
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in version.statistics:
        one = {"documents": row["documents"], "tokens": row["tokens"], "expanded": expanded(row)}
        sums[row["source"], row["kind"]].update(one)
    # A source of which nothing is left is a row too.
    there = {source for source, _ in sums}
    sums |= {(name, source["kind"]): Counter() for name, source in told.items() if name not in there}
    total = sum(cell["expanded"] for cell in sums.values())
    planned = _planned(version, held, total)
    for (source, kind), cell in sorted(sums.items(), key=lambda item: (-item[1]["expanded"], item[0])):
        yield {
            "version": version.version,
            "source": source,
            "kind": kind,
            "documents": cell["documents"],
            "tokens": cell["tokens"],
            "expanded_tokens": cell["expanded"],
            "share": share(cell["expanded"], total),
            "planned_share": planned.get((source, kind)),
            "licence": told.get(source, {}).get("licence"),
            "approval_id": told.get(source, {}).get("approval_id"),
        }


def _planned(version: VersionHeld, held: Holdings, total: int) -> dict[tuple[str, str], float]:
    """What the scaled mix would read of each source in one pass of the version's size, as shares of it."""
    if held.plan is None or not total:
        return {}
    try:
        mixed = scaled(held.plan, held.plan.mix.weights(), cells_of(version.statistics), total)
    except ValueError:
        return {}
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in mixed.cells:
        sums[row.cell.source, row.cell.kind] += row.planned_tokens
    return {key: round(tokens / total, 6) for key, tokens in sums.items()}

"""Personal data and toxicity: shares of documents by version and build time, and what was found by type."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from expedition.data.quality.panels.amounts import NO_VERSION, SOURCE, VERSION, share
from expedition.data.quality.panels.holdings import Holdings, VersionHeld
from expedition.data.quality.panels.panel import Column, Panel

ALL: Final = "all sources"
STAGES: Final = ("pii", "toxicity")
_FOUND: Final = re.compile(r"found (.+)")
BUILT_AT: Final = Column("built_at", "time", "when the build finished; unknown for a version from elsewhere")


def safety(held: Holdings) -> Panel:
    """Rates by version, for all sources together and for each."""
    rows = [row for version in held.versions for row in _rows(version)]
    return Panel(
        "safety",
        "Personal data and toxicity over time",
        "Share of the documents that a stage saw and then dropped or changed (redacted), by version in build order. "
        "Unknown: the build had no such stage for the source.",
        (
            VERSION,
            BUILT_AT,
            SOURCE,
            *(
                Column(f"{stage}_{name}", unit)
                for stage in STAGES
                for name, unit in (("seen", "documents"), ("acted_on", "documents"), ("rate", "share"))
            ),
        ),
        tuple(rows),
        NO_VERSION,
    )


def findings(held: Holdings) -> Panel:
    """What the stages found by type, whether or not they acted on it."""
    rows = []
    for version in held.versions:
        sums: dict[tuple[str, str], int] = defaultdict(int)
        seen: dict[str, int] = defaultdict(int)
        for row in version.report.get("totals") or ():
            seen[row["stage"]] += row["in"]
            for key, count in row["counts"].items():
                found = _FOUND.fullmatch(key)
                if found:
                    sums[row["stage"], found[1]] += int(count)
        rows += [
            {
                "version": version.version,
                "stage": stage,
                "finding": name,
                "count": count,
                "per_1000_documents": round(1000 * count / seen[stage], 4) if seen[stage] else None,
            }
            for (stage, name), count in sorted(sums.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
        ]
    return Panel(
        "findings",
        "What was found, by type",
        "Occurrences that detectors counted, whatever was then done with them; per 1,000 documents that the stage saw.",
        (
            VERSION,
            Column("stage", "text"),
            Column("finding", "text", "type of finding"),
            Column("count", "occurrences"),
            Column("per_1000_documents", "occurrences per 1,000 documents"),
        ),
        tuple(rows),
        "No stage of a finished build has counted findings.",
    )


def acted_on(rows: Iterable[Mapping[str, Any]], stage: str) -> tuple[int, int] | None:
    """(documents seen, documents dropped or changed) by `stage`; None where no row is of it.

    A document that is changed for two reasons counts twice in a stage's own counts, so the sum is held below those seen.
    """
    mine = [row for row in rows if row["stage"] == stage]
    if not mine:
        return None
    seen = sum(row["in"] for row in mine)
    acted = sum(
        sum(row["dropped"].values()) + min(sum(row["changed"].values()), row["in"] - sum(row["dropped"].values()))
        for row in mine
    )
    return seen, acted


def _rows(version: VersionHeld) -> Iterable[dict[str, Any]]:
    stages = version.report.get("stages") or []
    names = list(dict.fromkeys(row["source"] for row in stages))
    for source in (ALL, *names):
        mine = stages if source == ALL else [row for row in stages if row["source"] == source]
        figures: dict[str, Any] = {}
        for stage in STAGES:
            found = acted_on(mine, stage)
            seen, acted = found or (None, None)
            rate = None if seen is None or acted is None else share(acted, seen)
            figures |= {f"{stage}_seen": seen, f"{stage}_acted_on": acted, f"{stage}_rate": rate}
        if any(figures[f"{stage}_seen"] is not None for stage in STAGES):
            yield {"version": version.version, "built_at": version.built_at, "source": source, **figures}

"""The funnel: what went into each stage and came out, and why the rest did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from expedition.data.quality.panels.amounts import KIND, NO_VERSION, SOURCE, VERSION, share
from expedition.data.quality.panels.holdings import Holdings, VersionHeld
from expedition.data.quality.panels.panel import Column, Panel

DECODE: Final = "decode"
UNLISTED: Final = "not listed in the build's report"
"""A report lists only so many unreadable parts with their reasons, and counts them all."""
DROPPED, CHANGED = "dropped", "changed"


def funnel(held: Holdings) -> Panel:
    """Documents in, kept, dropped and changed by version and stage, in the order in which stages run."""
    rows = [row for version in held.versions for row in _stages(version)]
    return Panel(
        "funnel",
        "Funnel by stage",
        "Documents that came to each stage and stayed. A stage sees only the kinds whose list names it, so one stage "
        "may see more than the stage before. Decode counts files and parts that could not be read.",
        (
            VERSION,
            Column("stage", "text", "in the order in which they run"),
            Column("documents_in", "documents"),
            Column("kept", "documents"),
            Column("dropped", "documents"),
            Column("changed", "documents", "kept, with something in them repaired or redacted"),
            Column("dropped_share", "share", "dropped over documents in"),
        ),
        tuple(rows),
        NO_VERSION,
    )


def reasons(held: Holdings) -> Panel:
    """Documents by version, stage, source, kind, outcome and reason, most first within a stage."""
    rows = [row for version in held.versions for row in _reasons(version)]
    return Panel(
        "reasons",
        "Reasons",
        "Why documents were dropped or changed, by the stage's own name of the reason.",
        (
            VERSION,
            Column("stage", "text"),
            Column("outcome", "text", f"{DROPPED} or {CHANGED}"),
            Column("reason", "text"),
            SOURCE,
            KIND,
            Column("documents", "documents"),
        ),
        tuple(rows),
        "No stage of a finished build has dropped or changed a document.",
    )


def _stages(version: VersionHeld) -> Iterable[dict[str, Any]]:
    report = version.report
    read = sum(source.get("decoded", 0) for source in report.get("sources") or ())
    unread = int(report.get("unreadable_count", 0))
    if read or unread:
        yield _stage_row(version.version, DECODE, read + unread, unread, 0)
    for row in report.get("totals") or ():
        lost = sum(row["dropped"].values())
        # A document that is changed for two reasons is one document.
        changed = min(sum(row["changed"].values()), row["in"] - lost)
        yield _stage_row(version.version, row["stage"], row["in"], lost, changed)


def _stage_row(version: str, stage: str, into: int, lost: int, changed: int) -> dict[str, Any]:
    return {
        "version": version,
        "stage": stage,
        "documents_in": into,
        "kept": into - lost,
        "dropped": lost,
        "changed": changed,
        "dropped_share": share(lost, into),
    }


def _reasons(version: VersionHeld) -> list[dict[str, Any]]:
    unread = Counter((row["source"], row["reason"]) for row in version.report.get("unreadable") or ())
    for source in version.report.get("sources") or ():
        listed = sum(count for (name, _), count in unread.items() if name == source["name"])
        if source.get("unreadable", 0) > listed:
            unread[source["name"], UNLISTED] = source["unreadable"] - listed
    found = [(DECODE, DROPPED, reason, source, None, count) for (source, reason), count in unread.items()]
    for row in version.report.get("stages") or ():
        found += [
            (row["stage"], outcome, reason, row["source"], row["kind"], count)
            for outcome in (DROPPED, CHANGED)
            for reason, count in row[outcome].items()
        ]
    order = {stage: place for place, stage in enumerate(dict.fromkeys(item[0] for item in found))}
    names = ("stage", "outcome", "reason", "source", "kind", "documents")
    rows = [{"version": version.version, **dict(zip(names, item, strict=True))} for item in found]
    return sorted(rows, key=lambda row: (order[row["stage"]], -row["documents"], row["reason"], row["source"]))

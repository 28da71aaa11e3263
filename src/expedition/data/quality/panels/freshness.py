"""How old what is shown is, and what is being built: nothing old passes for new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from expedition.data.quality.panels.holdings import Holdings
from expedition.data.quality.panels.panel import Column, Panel

RUNNING_LIMIT_S: Final = 300.0
"""Oldest report of a running build that counts as fresh."""
VERSION_LIMIT_S: Final = 86_400.0
"""Oldest newest version that counts as fresh: the governance page is to be no older than a day."""


def freshness(held: Holdings) -> Panel:
    """Age of everything shown, against its limit; stale where it is beyond."""
    newest = held.newest
    running = [build for build in held.builds if build["state"] == "running"]
    rows = [
        # While a build runs, its own reports are what must be fresh.
        _row(held, "newest version", newest.version if newest else None, newest.built_at if newest else None,
             None if running else VERSION_LIMIT_S),
        *(_row(held, "running build", build["version"], build.get("updated"), RUNNING_LIMIT_S) for build in running),
        _row(held, "ledger", held.entries[-1].id if held.entries else None,
             held.entries[-1].when if held.entries else None, None),
    ]  # fmt: skip
    return Panel(
        "freshness",
        "Freshness",
        f"A running build reports at least every {RUNNING_LIMIT_S / 60:g} minutes; without one, the newest version is to "
        f"be at most {VERSION_LIMIT_S / 3600:g} h old.",
        (
            Column("what", "text"),
            Column("name", "text"),
            Column("last", "time", "when it was last written"),
            Column("age_s", "s"),
            Column("limit_s", "s", "unknown: there is no limit"),
            Column("state", "text", "fresh, stale, no limit or unknown"),
        ),
        tuple(rows),
    )


def builds(held: Holdings) -> Panel:
    """Builds that have not finished: how far, how fast, what was refused, what to do."""
    rows = [
        {
            "version": build["version"],
            "state": build["state"],
            "phase": build.get("phase"),
            "done": build.get("done"),
            "total": build.get("total"),
            "records_in": build.get("records_in"),
            "records_out": build.get("records_out"),
            "records_per_s": build.get("records_per_s"),
            "remaining_s": build.get("remaining_s"),
            "refused": "; ".join(f"{reason}: {count}" for reason, count in (build.get("rejects") or {}).items()),
            "updated": build.get("updated"),
            "age_s": held.age_s(build.get("updated")),
            "advice": build.get("advice"),
        }
        for build in held.builds
    ]
    return Panel(
        "builds",
        "Builds under way",
        "Builds that run in some process, or stopped before they finished.",
        (
            Column("version", "text"),
            Column("state", "text", "running or stopped"),
            Column("phase", "text"),
            Column("done", "tasks"),
            Column("total", "tasks"),
            Column("records_in", "records"),
            Column("records_out", "records"),
            Column("records_per_s", "records/s"),
            Column("remaining_s", "s", "estimate for the step under way"),
            Column("refused", "text", "records refused in this phase, by reason"),
            Column("updated", "time"),
            Column("age_s", "s"),
            Column("advice", "text"),
        ),
        tuple(rows),
        "No build is under way.",
    )


def state_of(age_s: float | None, limit_s: float | None) -> str:
    """fresh, stale, no limit or unknown."""
    if age_s is None:
        return "unknown"
    if limit_s is None:
        return "no limit"
    return "fresh" if age_s <= limit_s else "stale"


def _row(held: Holdings, what: str, name: str | None, last: str | None, limit_s: float | None) -> Mapping[str, Any]:
    age = held.age_s(last)
    return {"what": what, "name": name, "last": last, "age_s": age, "limit_s": limit_s, "state": state_of(age, limit_s)}

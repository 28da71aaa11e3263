"""Who is on duty: a small roster kept in the workspace, read by incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.errors import InputError
from expedition.workspace import NotFound

if TYPE_CHECKING:
    from expedition.workspace import Workspace

ROSTER = "incidents/roster.json"
SCHEMA = "watch.roster/1"


def add_shift(ws: Workspace, name: str, start: str, end: str) -> dict[str, Any]:
    """Put a person on duty from `start` to `end` (ISO 8601 UTC). Raises InputError for an empty shift."""
    if end <= start:
        raise InputError(f"the shift of {name} ends ({end}) before it starts ({start})", where=ROSTER)
    shifts = [*shifts_of(ws), {"name": name, "start": start, "end": end}]
    document: dict[str, Any] = {"shifts": sorted(shifts, key=lambda shift: (shift["start"], shift["name"]))}
    ws.write_json(ROSTER, document, schema=SCHEMA)
    ws.events("watch").append("roster.shift", name=name, start=start, end=end)
    return document


def shifts_of(ws: Workspace) -> list[dict[str, str]]:
    """Shifts in order of start; empty when no roster is kept."""
    try:
        return list(ws.read_json(ROSTER)["shifts"])
    except NotFound:
        return []


def on_duty(ws: Workspace, at: str) -> str | None:
    """Who is on duty at a time (ISO 8601 UTC); None when nobody is or no roster is kept."""
    return next((shift["name"] for shift in shifts_of(ws) if shift["start"] <= at < shift["end"]), None)


def system_user() -> str:
    """Name of the user of this system, `unknown` where it has none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

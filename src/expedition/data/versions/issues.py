"""Known quality issues, each with the version that will fix it: reports/data-issues.json.

People open and plan issues; a build opens those that it sees itself, under an id made from what it saw, and marks them
fixed when a later version no longer shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from expedition.errors import UsageError
from expedition.workspace import Workspace, layout

SCHEMA = "data.issues/1"
KEY = layout.report("data-issues")
STATES = ("open", "planned", "fixed", "accepted")


@dataclass(frozen=True, slots=True)
class Issue:
    """A known flaw of a data set."""

    id: str
    title: str
    found_in: str
    planned_version: str | None
    status: str
    """One of `STATES`."""
    automatic: bool = False
    """Opened by a build, which also closes it."""


def list_issues(ws: Workspace) -> list[Issue]:
    """All issues, sorted by id."""
    if not ws.store.exists(KEY):
        return []
    names = Issue.__slots__
    return [Issue(**{name: row[name] for name in names}) for row in ws.read_json(KEY)["issues"]]


def open_issue(ws: Workspace, title: str, found_in: str, planned_version: str | None = None) -> Issue:
    """Open an issue by hand. Raises UsageError for an empty title."""
    if not title.strip():
        raise UsageError("an issue needs a title", fix="expedition data issue open 'what is wrong' --found-in v0.1")
    known = list_issues(ws)
    issue = Issue(
        _free_id(known, _slug(title)), title, found_in, planned_version, "planned" if planned_version else "open"
    )
    _write(ws, [*known, issue])
    return issue


def change_issue(
    ws: Workspace, issue_id: str, *, planned_version: str | None = None, status: str | None = None
) -> Issue:
    """Plan, fix or accept an issue. Raises UsageError for an unknown id or status."""
    known = {issue.id: issue for issue in list_issues(ws)}
    if issue_id not in known:
        raise UsageError(f"no issue {issue_id!r}; known: {', '.join(known) or 'none'}")
    if status is not None and status not in STATES:
        raise UsageError(f"status {status!r} is none of {', '.join(STATES)}")
    issue = known[issue_id]
    version = planned_version or issue.planned_version
    known[issue_id] = replace(issue, planned_version=version, status=status or ("planned" if version else "open"))
    _write(ws, known.values())
    return known[issue_id]


def record_findings(ws: Workspace, version: str, findings: dict[str, str], next_version: str) -> list[Issue]:
    """Bring the automatic issues in line with what a build of `version` saw (key → title); returns the open ones.

    Seen and new: opened, planned for `next_version`. Seen again: planned on. No longer seen: fixed.
    """
    known = {issue.id: issue for issue in list_issues(ws)}
    for key, title in findings.items():
        name = f"auto-{_slug(key)}"
        found_in = known[name].found_in if name in known else version
        known[name] = Issue(name, title, found_in, next_version, "planned", automatic=True)
    for name, issue in known.items():
        if issue.automatic and name not in {f"auto-{_slug(key)}" for key in findings}:
            known[name] = replace(issue, status="fixed")
    _write(ws, known.values())
    return [issue for issue in known.values() if issue.status in ("open", "planned")]


def next_version(version: str) -> str:
    """The version after `version`: v0.1 → v0.2. Other names get `-next`."""
    found = re.fullmatch(r"(.*?)(\d+)", version)
    return f"{found[1]}{int(found[2]) + 1}" if found else f"{version}-next"


def _write(ws: Workspace, issues: Iterable[Issue]) -> None:
    rows: list[dict[str, Any]] = [asdict(issue) for issue in sorted(issues, key=lambda issue: issue.id)]
    unplanned = sum(issue["planned_version"] is None and issue["status"] == "open" for issue in rows)
    ws.write_json(KEY, {"conditions": [], "issues": rows, "unplanned": unplanned}, schema=SCHEMA)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "issue"


def _free_id(known: Iterable[Issue], slug: str) -> str:
    taken = {issue.id for issue in known}
    number = 1
    while (name := slug if number == 1 else f"{slug}-{number}") in taken:
        number += 1
    return name

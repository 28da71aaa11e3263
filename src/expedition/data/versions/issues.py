"""Known quality issues, each with the version that will fix it: reports/data-issues.json.

People add, plan and close issues, and closing one needs evidence: a report, a diff, a hash. A build opens those that it
sees itself, under an id made from what it saw, and marks them fixed when a later version no longer shows them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from expedition.errors import UsageError, WorkspaceBusy
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_file

SCHEMA = "data.issues/2"
KEY = layout.report("data-issues")
STATES = ("open", "planned", "fixed", "accepted")
SEVERITIES = ("low", "medium", "high", "critical")
MODALITIES = ("all", "text", "image", "video", "audio", "driving")
WAIT_S = 10.0

Status = Literal["open", "planned", "fixed", "accepted"]


@dataclass(frozen=True, slots=True)
class Issue:
    """A known flaw of a data set."""

    id: str
    title: str
    found_in: str
    planned_version: str | None
    status: str
    """One of `STATES`."""
    severity: str = "medium"
    """One of `SEVERITIES`."""
    modality: str = "all"
    """One of `MODALITIES`."""
    fixed_in: str | None = None
    """Version that no longer has it."""
    evidence: tuple[str, ...] = ()
    """What shows it, and what shows that it is gone: workspace keys, paths, URLs, each with ` sha256:…` where known."""
    automatic: bool = False
    """Opened by a build, which also closes it."""


def list_issues(ws: Workspace, version: str | None = None) -> list[Issue]:
    """All issues sorted by id, or those of a version: found in it, planned for it or fixed in it."""
    if not ws.store.exists(KEY):
        return []
    names = Issue.__slots__
    rows = ws.read_json(KEY)["issues"]
    issues = [Issue(**{name: _value(row[name]) for name in names if name in row}) for row in rows]
    return [item for item in issues if version in (None, item.found_in, item.planned_version, item.fixed_in)]


def add_issue(
    ws: Workspace,
    title: str,
    found_in: str,
    planned_version: str | None = None,
    *,
    severity: str = "medium",
    modality: str = "all",
    evidence: Sequence[str] = (),
) -> Issue:
    """Open an issue by hand. Raises UsageError for an empty title, an unknown severity or modality."""
    if not title.strip():
        raise UsageError("an issue needs a title", fix="expedition data issue add 'what is wrong' --found-in v0.1")
    _one_of("severity", severity, SEVERITIES)
    _one_of("modality", modality, MODALITIES)
    shown = tuple(_evidence(ws, item) for item in evidence)

    def add(known: dict[str, Issue]) -> Issue:
        name = _free_id(known, _slug(title))
        status = "planned" if planned_version else "open"
        return Issue(name, title, found_in, planned_version, status, severity, modality, evidence=shown)

    return _change(ws, "added", add)


def plan_issue(ws: Workspace, issue_id: str, planned_version: str) -> Issue:
    """Say which version will fix an issue; one that was closed is open again. Raises UsageError for an unknown id."""
    return _change(
        ws,
        "planned",
        lambda known: replace(
            _known(known, issue_id), planned_version=planned_version, status="planned", fixed_in=None
        ),
    )


def close_issue(
    ws: Workspace,
    issue_id: str,
    evidence: Sequence[str],
    *,
    fixed_in: str | None = None,
    accepted: bool = False,
) -> Issue:
    """Close an issue as fixed in a version, or as accepted (it stays as it is), with the evidence for that.

    Evidence is a key of the workspace, a file, a URL or a hash; files are recorded with their SHA-256. Raises UsageError
    without evidence, without a version that exists, or for an unknown id.
    """
    from expedition.data.versions.manifest import read_manifest

    if not evidence:
        raise UsageError(
            f"issue {issue_id!r} cannot be closed without evidence",
            fix="--evidence reports/data-quality.json, a file such as a saved `expedition data diff`, a URL or sha256:…",
        )
    if accepted == (fixed_in is not None):
        raise UsageError("an issue is fixed in a version or accepted", fix="give --fixed-in VERSION or --accepted")
    if fixed_in is not None:
        read_manifest(ws, fixed_in)
    shown = tuple(_evidence(ws, item) for item in evidence)

    def close(known: dict[str, Issue]) -> Issue:
        issue = _known(known, issue_id)
        status = "accepted" if accepted else "fixed"
        return replace(issue, status=status, fixed_in=fixed_in, evidence=(*issue.evidence, *shown))

    return _change(ws, "closed", close)


def record_findings(ws: Workspace, version: str, findings: dict[str, str], next_version: str) -> list[Issue]:
    """Bring the automatic issues in line with what a build of `version` saw (key → title); returns the open ones.

    Seen and new: opened, planned for `next_version`. Seen again: planned on. No longer seen: fixed in `version`.
    """
    report = f"{layout.dataset(version)}/report.json"
    seen = {f"auto-{_slug(key)}": title for key, title in findings.items()}

    def align(known: dict[str, Issue]) -> Issue | None:
        for name, title in seen.items():
            found_in = known[name].found_in if name in known else version
            known[name] = Issue(name, title, found_in, next_version, "planned", evidence=(report,), automatic=True)
        for name, issue in known.items():
            if issue.automatic and name not in seen and issue.status != "fixed":
                known[name] = replace(issue, status="fixed", fixed_in=version, evidence=(*issue.evidence, report))
        return None

    _locked(ws, align)
    return [issue for issue in list_issues(ws) if issue.status in ("open", "planned")]


def next_version(version: str) -> str:
    """The version after `version`: v0.1 → v0.2. Other names get `-next`."""
    found = re.fullmatch(r"(.*?)(\d+)", version)
    return f"{found[1]}{int(found[2]) + 1}" if found else f"{version}-next"


def _change(ws: Workspace, what: str, change: Callable[[dict[str, Issue]], Issue]) -> Issue:
    """One issue changed or added, under the lease, with an event."""
    made: list[Issue] = []

    def run(known: dict[str, Issue]) -> Issue:
        made.append(change(known))
        return made[-1]

    _locked(ws, run)
    issue = made[-1]
    ws.events("data").append(
        f"data.issue.{what}",
        issue=issue.id,
        status=issue.status,
        planned_version=issue.planned_version,
        fixed_in=issue.fixed_in,
        evidence=list(issue.evidence),
    )
    return issue


def _locked(ws: Workspace, change: Callable[[dict[str, Issue]], Issue | None]) -> None:
    """Read, change, write, with no other writer in between; waits a little for one."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with ws.lease("reports/data-issues") as lease:
                known = {issue.id: issue for issue in list_issues(ws)}
                made = change(known)
                if made is not None:
                    known[made.id] = made
                lease.check()
                _write(ws, known.values())
                return
        except WorkspaceBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _write(ws: Workspace, issues: Iterable[Issue]) -> None:
    rows: list[dict[str, Any]] = [asdict(issue) for issue in sorted(issues, key=lambda issue: issue.id)]
    unplanned = sum(issue["planned_version"] is None and issue["status"] == "open" for issue in rows)
    ws.write_json(KEY, {"conditions": [], "issues": rows, "unplanned": unplanned}, schema=SCHEMA)


def _evidence(ws: Workspace, item: str) -> str:
    """Evidence as it is recorded. Raises UsageError for what is neither a key, a file, a URL nor a hash."""
    if re.fullmatch(r"sha256:[0-9a-f]{64}|https?://\S+", item):
        return item
    if not item.startswith("/") and ".." not in item and ws.store.exists(item):
        return f"{item} sha256:{ws.hash(item)}"
    path = Path(item).expanduser()
    if path.is_file():
        return f"{path.name} sha256:{sha256_file(path)}"
    raise UsageError(
        f"evidence {item!r} is no key of the workspace, file, URL or hash",
        fix="give for example reports/data-quality.json, or sha256: and 64 hex digits",
    )


def _one_of(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{what} {value!r} is none of {', '.join(known)}", fix=f"give --{what} {known[0]}")


def _known(known: dict[str, Issue], issue_id: str) -> Issue:
    if issue_id not in known:
        raise UsageError(f"no issue {issue_id!r}; known: {', '.join(known) or 'none'}")
    return known[issue_id]


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "issue"


def _free_id(known: Iterable[str], slug: str) -> str:
    taken = set(known)
    number = 1
    while (name := slug if number == 1 else f"{slug}-{number}") in taken:
        number += 1
    return name

"""A workspace → `Holdings`. What is immutable is read once; what changes is read each time."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from expedition.data.compliance import list_acquisitions
from expedition.data.compliance.ledger import inspect
from expedition.data.quality.panels.holdings import Holdings, VersionHeld
from expedition.data.under_way import builds_under_way
from expedition.data.versions.index import STATISTICS
from expedition.data.versions.issues import list_issues
from expedition.data.versions.manifest import read_manifest, versions
from expedition.data.versions.seal import REPORT
from expedition.workspace import NotFound, layout
from expedition.workspace.events import utc_now

if TYPE_CHECKING:
    from expedition.plan.data import DataPlan
    from expedition.workspace import Workspace

JUDGED = layout.report("data-quality")
EVENT_LAG_S = 600.0
"""How long the time of a new version is looked for."""


class Reader:
    """Reads one workspace again and again; may be called from several threads."""

    def __init__(self, ws: Workspace, plan: DataPlan | None = None) -> None:
        self._ws, self._plan = ws, plan
        self._versions: dict[str, VersionHeld] = {}
        self._first_seen: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def ws(self) -> Workspace:
        """The workspace that is read."""
        return self._ws

    def read(self, as_of: str | None = None) -> Holdings:
        """What is there. `as_of` is the moment that ages count from; None: now. Changes nothing."""
        with self._lock:
            held = self._held()
        entries, problems = inspect(self._ws)
        return Holdings(
            as_of=as_of or utc_now(),
            versions=tuple(held),
            plan=self._plan,
            entries=tuple(entries),
            ledger_problems=tuple(problems),
            acquisitions=tuple(list_acquisitions(self._ws)),
            issues=tuple(list_issues(self._ws)),
            builds=tuple(builds_under_way(self._ws, [item.version for item in held])),
            judged=_optional(self._ws, JUDGED),
        )

    def _held(self) -> list[VersionHeld]:
        names = versions(self._ws)
        for name in names:
            if name not in self._versions:
                self._versions[name] = _version(self._ws, name)
                self._first_seen[name] = time.monotonic()
        untimed = [name for name in names if self._versions[name].built_at is None and self._may_be_told(name)]
        if untimed:
            built = _built_at(self._ws)
            for name in untimed:
                self._versions[name] = replace(self._versions[name], built_at=built.get(name))
        return sorted((self._versions[name] for name in names), key=_age_order)

    def _may_be_told(self, name: str) -> bool:
        """The manifest makes a version; the event that says when follows it, and one from elsewhere has none."""
        return time.monotonic() - self._first_seen[name] < EVENT_LAG_S


def _version(ws: Workspace, version: str) -> VersionHeld:
    folder = layout.dataset(version)
    return VersionHeld(
        version=version,
        built_at=None,
        manifest=read_manifest(ws, version),
        report=_optional(ws, f"{folder}/{REPORT}") or {},
        statistics=tuple(pq.read_table(ws.store.local(f"{folder}/{STATISTICS}"), partitioning=None).to_pylist()),
    )


def _built_at(ws: Workspace) -> dict[str, str]:
    finished = ws.events_all("data.build.finished")
    return {str(event.fields["version"]): event.time for event in finished if "version" in event.fields}


def _age_order(item: VersionHeld) -> tuple[Any, ...]:
    """By build time; versions of unknown time by name, v0.2 before v0.10, and before the others."""
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", item.version)]
    return item.built_at or "", parts


def _optional(ws: Workspace, key: str) -> dict[str, Any] | None:
    try:
        return ws.read_json(key)
    except NotFound:
        return None

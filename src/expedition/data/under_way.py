"""What a build says of itself while it runs: one small file in the workspace, events by phase, and who reads them.

The file is written aside and renamed at most once in `interval_s`, so another process, or a person after a kill, sees
where the build is. It is a report, not a state: a build that goes on never reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from expedition.data.engine import Limits, Meter, PhaseState, Progress
from expedition.errors import ExpeditionError
from expedition.workspace import NotFound, Workspace, layout
from expedition.workspace.events import utc_now
from expedition.workspace.hashes import canonical_json
from expedition.workspace.store import FolderStore

SCHEMA = "data.build-status/1"
_FOLDER_INTERVAL_S = 1.0
_OBJECTS_INTERVAL_S = 5.0

PhaseProgress = Callable[[PhaseState], None]
"""Called in the building process with how far the phase under way is."""


class UnderWay:
    """Reports of one build: `phase` by `phase`, then `finish` or `fail`."""

    def __init__(self, ws: Workspace, version: str, limits: Limits, tell: PhaseProgress | None = None) -> None:
        self._ws, self._version, self._limits, self._tell = ws, version, limits, tell
        self._interval_s = _FOLDER_INTERVAL_S if isinstance(ws.store, FolderStore) else _OBJECTS_INTERVAL_S
        self._written = float("-inf")
        self._started, self._started_at = time.monotonic(), utc_now()
        self._meter = Meter("start")
        self._given_up: list[dict[str, str]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[Limits]:
        """A phase of the build; engine calls within are given the limits that this yields, and are reported."""
        self._meter = meter = Meter(name)
        self._event(phase=name, state="started")
        self._report(now=True)

        def step(progress: Progress) -> None:
            meter.add(progress)
            self._report(now=False)

        yield replace(self._limits, report=step)
        state = meter.state()
        self._given_up += [{"key": item.key, "reason": item.reason} for item in state.quarantined]
        row = state.row()
        names = ("wall_s", "total", "records_in", "records_out", "read_bytes", "rejects")
        self._event(phase=name, state="finished", quarantined=len(state.quarantined), **{n: row[n] for n in names})
        self._report(now=True)

    def fail(self, error: BaseException) -> None:
        """Leave the reason why the build stopped. A full disk loses the report, not the reason."""
        what = error.what if isinstance(error, ExpeditionError) else f"{type(error).__name__} {error}".strip()
        try:
            self._write({"stopped_by": what})
        except ExpeditionError:
            return

    def finish(self) -> None:
        """The version is there: its manifest and report say the rest."""
        self._ws.store.delete(layout.build_status(self._version))

    def _report(self, *, now: bool) -> None:
        state = self._meter.state()
        if self._tell is not None:
            self._tell(state)
        if now or time.monotonic() - self._written >= self._interval_s:
            self._write({})

    def _write(self, more: dict[str, Any]) -> None:
        row = self._meter.state().row()
        row["quarantined"] = [*self._given_up, *row["quarantined"]]
        build = {
            "schema": SCHEMA,
            "version": self._version,
            "engine": self._limits.engine,
            "workers": self._limits.workers,
            "started": self._started_at,
            "updated": utc_now(),
            "build_wall_s": round(time.monotonic() - self._started, 3),
        }
        self._ws.store.write(layout.build_status(self._version), canonical_json({**build, **row, **more}) + b"\n")
        self._written = time.monotonic()

    def _event(self, **fields: Any) -> None:
        events = self._ws.events("data")
        events.append("data.build.phase", dataset=layout.DATASET, version=self._version, **fields)


def builds_under_way(ws: Workspace, finished: list[str]) -> list[dict[str, Any]]:
    """Builds that have not finished: running in some process, or stopped, with their last report and what to do."""
    rows = []
    for key in ws.store.list(layout.BUILDS):
        try:
            row = ws.read_json(key)
        except NotFound:
            continue
        if row["version"] in finished:
            continue
        holder = ws.lease(layout.dataset(row["version"])).live_holder()
        row.pop("schema", None)
        if holder is not None:
            state = {"state": "running", "process": holder["pid"], "host": holder["host"]}
        else:
            state = {"state": "stopped", "advice": _advice(row), "remaining_s": None}
        rows.append({**row, **state})
    return rows


def _advice(row: dict[str, Any]) -> str:
    cause = f" because: {row['stopped_by']}" if row.get("stopped_by") else ""
    place = f"{row['phase']} {row['done']}/{row['total']}" if row["total"] else row["phase"]
    return f"stopped at {place}{cause}; run the same command again: what is done stays done"

"""Where the wall time of training went: named buckets from the event log that add up to the wall time exactly.

Wall time of a run is from the start of its first attempt to its last event. An attempt ends with its last event; what
lies between attempts is downtime: planned after a pause or an interruption, a fault otherwise.

Events that are read (field `run` in all; seconds; a field in brackets may be missing, and so may the event):
    train.started      step; [setup_s]: process start to this event; [restore_s]: reading the checkpoint, within it
    train.step_window  first_step, last_step, wall_s; [data_s, overhead_s]: parts of wall_s; [skipped]: dropped updates
    train.paused, train.interrupted, train.finished (and kinds that begin so)   end of an attempt
Any other `train.` event of the run shows that the attempt was still alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from expedition.workspace import Event, layout

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "cluster.goodput/1"
BUCKETS: dict[str, str] = {
    "productive": "steps that count: not waiting for data, not skipped, not made before",
    "data_stall": "steps waiting for their batch",
    "overhead": "between the updates of two steps: metrics, rules, snapshots for checkpoints",
    "skipped": "steps whose update the bad-step decision dropped",
    "recomputed": "steps made again after a fault",
    "restore": "reading a checkpoint on resume",
    "startup": "from process start to the trainer's readiness, restore left out",
    "fault": "between an attempt that died and the next one",
    "paused": "between a pause or an interruption and the next attempt",
    "other": "inside an attempt and in no other bucket: first batch, last save, summary",
}
"""Name and meaning of every bucket, in the order in which they are shown."""
ENDS = ("train.paused", "train.interrupted", "train.finished")


@dataclass(slots=True)
class Account:
    """Seconds by bucket; `wall_s` is their sum."""

    buckets: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BUCKETS, 0.0))

    @property
    def wall_s(self) -> float:
        """All seconds."""
        return sum(self.buckets.values())

    @property
    def ratio(self) -> float | None:
        """Productive over wall seconds; None where there is no wall time."""
        return self.buckets["productive"] / self.wall_s if self.wall_s else None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        productive_s = self.buckets["productive"]
        return {"wall_s": self.wall_s, "productive_s": productive_s, "buckets": self.buckets, "ratio": self.ratio}


def write_goodput(ws: Workspace) -> dict[str, Any]:
    """Account for every run in the event log and write cluster/goodput.json; returns the document."""
    runs = account_by_run(ws.events_all("train."))
    total = Account()
    for account in runs.values():
        for name, seconds in account.buckets.items():
            total.buckets[name] += seconds
    document = {**total.document(), "by_run": {run: account.document() for run, account in runs.items()}}
    stepless = [run for run, account in runs.items() if not account.buckets["productive"]]
    conditions = [f"no step windows of run {run}: its steps are in `other`" for run in stepless]
    document["conditions"] = conditions if runs else ["no training events"]
    ws.write_json(layout.GOODPUT, document, schema=SCHEMA)
    return document


def account_by_run(events: Iterable[Event]) -> dict[str, Account]:
    """Account of each run; events in order of time."""
    by_run: dict[str, list[Event]] = {}
    for event in events:
        run = event.fields.get("run")
        if isinstance(run, str):
            by_run.setdefault(run, []).append(event)
    return {run: account(found) for run, found in sorted(by_run.items())}


def account(events: Sequence[Event]) -> Account:
    """Account of one run's events, in order of time."""
    attempts: list[list[Event]] = []
    for event in events:
        if event.kind == "train.started" or not attempts:
            attempts.append([])
        attempts[-1].append(event)
    total = Account()
    highest = -1
    for index, attempt in enumerate(attempts):
        highest = _account_attempt(total, attempt, highest)
        if index + 1 < len(attempts):
            gap_s = _begin(attempts[index + 1]) - _time(attempt[-1])
            ended = any(event.kind.startswith(ENDS) for event in attempt)
            total.buckets["paused" if ended else "fault"] += max(0.0, gap_s)
    return total


def _account_attempt(total: Account, attempt: Sequence[Event], highest: int) -> int:
    """Add one attempt's seconds; returns the highest step that has been made so far."""
    parts = dict.fromkeys(BUCKETS, 0.0)
    started = attempt[0].fields
    parts["restore"] = float(started.get("restore_s") or 0.0)
    parts["startup"] = max(0.0, float(started.get("setup_s") or 0.0) - parts["restore"])
    for event in attempt:
        if event.kind == "train.step_window":
            highest = _account_window(parts, event.fields, highest)
    rest = max(0.0, _time(attempt[-1]) - _begin(attempt)) - sum(parts.values())
    if rest >= 0:
        parts["other"] = rest
    else:
        _shrink(parts, -rest)
    for name, seconds in parts.items():
        total.buckets[name] += seconds
    return highest


def _account_window(parts: dict[str, float], fields: dict[str, Any], highest: int) -> int:
    first, last = int(fields["first_step"]), int(fields["last_step"])
    wall_s = float(fields["wall_s"])
    data_s = min(wall_s, float(fields.get("data_s") or 0.0))
    overhead_s = min(wall_s - data_s, float(fields.get("overhead_s") or 0.0))
    steps = last - first + 1
    again = max(0, min(last, highest) - first + 1)
    skipped = min(int(fields.get("skipped") or 0), steps - again)
    per_step_s = (wall_s - data_s - overhead_s) / steps
    parts["data_stall"] += data_s
    parts["overhead"] += overhead_s
    parts["recomputed"] += again * per_step_s
    parts["skipped"] += skipped * per_step_s
    parts["productive"] += (steps - again - skipped) * per_step_s
    return max(highest, last)


def _shrink(parts: dict[str, float], excess_s: float) -> None:
    """Overlapping figures must not make more than the wall time: the surplus leaves `productive` first."""
    order = ("productive", "recomputed", "skipped", "overhead", "data_stall", "startup", "restore")
    for name in order:
        taken = min(parts[name], excess_s)
        parts[name] -= taken
        excess_s -= taken


def _begin(attempt: Sequence[Event]) -> float:
    """When the attempt's process started."""
    return _time(attempt[0]) - float(attempt[0].fields.get("setup_s") or 0.0)


def _time(event: Event) -> float:
    return datetime.fromisoformat(event.time).timestamp()

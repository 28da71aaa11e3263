"""Goodput: buckets that add up, whatever the log holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.cluster.goodput import BUCKETS, account, account_by_run, write_goodput
from expedition.workspace import Event, Workspace

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: str, at_s: float, **fields: Any) -> Event:
    time = (START + timedelta(seconds=at_s)).isoformat()
    return Event(kind, time, "train", "chain", 0, {"run": "main", **fields}, "", "")


def window(at_s: float, first: int, last: int, wall_s: float, **more: float) -> Event:
    return event("train.step_window", at_s, first_step=first, last_step=last, wall_s=wall_s, **more)


KILLED_AND_RESUMED = [
    event("train.started", 10, step=0, setup_s=10),
    window(110, 0, 99, 100, data_s=5, overhead_s=10, skipped=10),
    event("train.checkpoint.complete", 111, step=50),
    # killed here; the next process starts at 121 and resumes from step 50
    event("train.started", 141, step=50, setup_s=20, restore_s=8),
    window(241, 50, 149, 100),
    event("train.paused", 242, step=149),
    event("train.paused.summary", 243, step=149),
    event("train.started", 343, step=150, setup_s=0),
    window(393, 150, 199, 50),
    event("train.finished.summary", 395),
]


def test_buckets_add_up_to_the_wall_time() -> None:
    found = account(KILLED_AND_RESUMED)
    assert found.wall_s == pytest.approx(395)
    assert found.buckets == pytest.approx(
        {
            "productive": 90 * 0.85 + 50 + 50,
            "data_stall": 5,
            "overhead": 10,
            "skipped": 10 * 0.85,
            "recomputed": 50,
            "restore": 8,
            "startup": 10 + 12,
            "fault": 10,
            "paused": 100,
            "other": 1 + 2 + 2,
        }
    )
    assert found.ratio == pytest.approx((90 * 0.85 + 100) / 395)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_log_adds_up_and_no_bucket_is_negative(data: st.DataObject) -> None:
    number = st.floats(0, 50)
    at_s, step = 100.0, 0
    events = []
    for _ in range(data.draw(st.integers(1, 12))):
        at_s += data.draw(number)
        kind = data.draw(st.sampled_from(["started", "step_window", "paused", "checkpoint.complete", "interrupted"]))
        if kind == "started":
            events.append(
                event("train.started", at_s, step=step, setup_s=data.draw(number), restore_s=data.draw(number))
            )
        elif kind == "step_window":
            first = max(0, step - data.draw(st.integers(0, 5)))
            step = first + data.draw(st.integers(0, 9))
            more = {name: data.draw(number) for name in ("data_s", "overhead_s")}
            events.append(window(at_s, first, step, data.draw(number), skipped=data.draw(st.integers(0, 9)), **more))
            step += 1
        else:
            events.append(event(f"train.{kind}", at_s))
    found = account(events)
    begin_s = (datetime.fromisoformat(events[0].time) - START).total_seconds() - events[0].fields.get("setup_s", 0.0)
    assert all(seconds >= 0 for seconds in found.buckets.values()) and set(found.buckets) == set(BUCKETS)
    assert found.wall_s >= at_s - begin_s - 1e-3


def test_runs_are_accounted_apart(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    log = ws.events("train")
    for run in ("1b", "main"):
        log.append("train.started", run=run, step=0, setup_s=4.0)
        log.append("train.step_window", run=run, first_step=0, last_step=9, wall_s=0.0)
        log.append("train.finished.summary", run=run)
    report = write_goodput(ws)
    assert set(report["by_run"]) == {"1b", "main"}
    assert report["buckets"]["startup"] == pytest.approx(8, abs=0.5)
    assert report["wall_s"] == pytest.approx(sum(report["buckets"].values()))
    assert ws.read_json("cluster/goodput.json")["wall_s"] == report["wall_s"]


def test_without_training_nothing_is_claimed(tmp_path: Path) -> None:
    report = write_goodput(Workspace.open(tmp_path / "w", create=True))
    assert report["ratio"] is None and report["conditions"] == ["no training events"]
    assert account_by_run([]) == {}

"""The event log: chains that hold, and changes that are noticed."""

from __future__ import annotations

import json
import multiprocessing

from expedition.workspace import Workspace


def test_events_come_back_in_order_of_time(place: str) -> None:
    ws = Workspace.open(place, create=True)
    ws.events("data").append("data.build.started", version="v0.1")
    ws.events("train").append("train.started", run="main")
    ws.events("data").append("data.build.finished", version="v0.1")
    events = list(ws.events_all())
    assert [event.kind for event in events] == ["data.build.started", "train.started", "data.build.finished"]
    assert [event.sequence for event in events if event.writer == "data"] == [0, 1]
    assert [event.kind for event in ws.events_all("train.")] == ["train.started"]
    assert ws.verify_events() == []


def _append(place: str) -> None:
    ws = Workspace.open(place)
    for number in range(5):
        ws.events("data").append("data.shard", number=number)


def test_many_processes_write_at_once(place: str) -> None:
    ws = Workspace.open(place, create=True)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(place,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(list(ws.events_all("data.shard"))) == 15
    assert ws.verify_events() == []


def test_changed_event_is_noticed(place: str) -> None:
    ws = Workspace.open(place, create=True)
    ws.events("data").append("data.accepted", items=3)
    ws.events("data").append("data.accepted", items=4)
    key = next(key for key in ws.store.list("events") if key.endswith("00000000.json"))
    raw = json.loads(ws.store.read(key))
    raw["fields"]["items"] = 30
    ws.store.write(key, json.dumps(raw).encode())
    assert any("was changed" in problem for problem in ws.verify_events())


def test_chain_cut_at_its_end_is_noticed_by_the_anchor(place: str) -> None:
    ws = Workspace.open(place, create=True)
    for number in range(3):
        ws.events("data").append("data.accepted", number=number)
    ws.anchor_events()
    assert ws.verify_events() == []
    last = [key for key in ws.store.list("events") if "anchors" not in key][-1]
    ws.store.delete(last)
    assert any("no longer holds" in problem for problem in ws.verify_events())

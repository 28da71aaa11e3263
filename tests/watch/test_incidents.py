"""Incidents: evidence, idempotence, times, cost, post-mortem."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from expedition.errors import InputError, UsageError
from expedition.watch.diagnosis import diagnose
from expedition.watch.incidents import (
    IncidentReport,
    Price,
    acknowledge,
    list_incidents,
    mean_times,
    open_incident,
    read_incident,
    report_alarm,
    resolve_incident,
    timeline,
)
from expedition.watch.postmortem import PostMortem
from expedition.watch.roster import add_shift
from expedition.watch.rules.rule import Alarm
from expedition.watch.segments import MetricWriter
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_bytes

ALARM = Alarm("spike", "SEV-2", "pause", 120, 12_000, 118, 6.4, 2.9, "nats/token", "loss 6.4 above 2.9")
ANSWERS = PostMortem("a shard of repeated boilerplate", "its window was skipped", "dedup before v0.2")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    ws = Workspace.open(tmp_path / "w", create=True)
    with MetricWriter(ws, "main") as writer:
        for step in range(121):
            writer.append(step, step * 100, {"loss": math.nan if step == 119 else 2.0}, time_s=step * 2.0)
    ws.write_text("runs/main/config.yaml", "model: tiny\n")
    return ws


def test_an_incident_holds_its_evidence(ws: Workspace) -> None:
    report = report_alarm(ALARM, "main", {"gradients": {"a": 1.0}}, evidence=("runs/main/config.yaml",))
    document = open_incident(ws, report)
    names = {item["path"].rsplit("/", 1)[1] for item in document["evidence"]}
    assert names == {"metrics.json", "diagnosis.json", "details.json", "runs__main__config.yaml"}
    for item in document["evidence"]:
        assert sha256_bytes(ws.store.read(item["path"])) == item["sha256"]
    metrics = json.loads(ws.store.read(f"incidents/{document['id']}/evidence/metrics.json"))
    assert metrics["step"][-1] == 120 and metrics["loss"][-2] is None
    assert 3.9 < document["detect_s"] < 10
    assert [event.kind for event in ws.events_all("incident.")] == ["incident.opened"]


def test_opening_twice_gives_one(ws: Workspace) -> None:
    first = open_incident(ws, report_alarm(ALARM, "main"))
    assert open_incident(ws, report_alarm(ALARM, "main")) == first | {"schema": "watch.incident/1"}
    assert len(list_incidents(ws)) == 1
    resolve_incident(ws, first["id"], ANSWERS, "ann")
    second = open_incident(ws, report_alarm(ALARM, "main"))
    assert second["id"] == first["id"] + "-2"


def test_times_and_cost_follow_from_the_clock(ws: Workspace) -> None:
    began = "2026-11-01T00:00:00.000000Z"
    report = IncidentReport("main", "rise", "SEV-1", 9, 900, "loss rises", began=began)
    incident = open_incident(ws, report, Price(256, 4.0))["id"]
    earlier = read_incident(ws, incident) | {"opened": "2026-11-01T00:10:00.000000Z"}
    ws.write_json(f"incidents/{incident}/incident.json", earlier, schema="watch.incident/1")
    acknowledge(ws, incident, "ann", at="2026-11-01T00:15:00.000000Z")
    done = resolve_incident(ws, incident, ANSWERS, "ann", at="2026-11-01T02:00:00.000000Z")
    assert (done["acknowledge_s"], done["resolve_s"]) == (300.0, 6600.0)
    assert done["lost_gpu_hours"] == 512.0 and done["cost_usd"] == 2048.0
    assert mean_times(list_incidents(ws))["mttr_s"] == 6600.0


def test_the_post_mortem_is_complete_or_refused(ws: Workspace) -> None:
    incident = open_incident(ws, report_alarm(ALARM, "main"))["id"]
    with pytest.raises(UsageError, match="lacks fix, prevention"):
        resolve_incident(ws, incident, PostMortem("known", "", " "), "ann")
    resolve_incident(ws, incident, ANSWERS, "ann")
    page = ws.store.read(f"incidents/{incident}/postmortem.md").decode()
    for part in ("## Symptom", "## Root cause", "## Fix", "## Prevention", "## Timeline", ANSWERS.root_cause):
        assert part in page
    with pytest.raises(UsageError, match="already resolved"):
        resolve_incident(ws, incident, ANSWERS, "ann")
    with pytest.raises(UsageError, match="already resolved"):
        acknowledge(ws, incident, "ann")


def test_the_timeline_is_in_order(ws: Workspace) -> None:
    incident = open_incident(ws, report_alarm(ALARM, "main"))["id"]
    acknowledge(ws, incident, "ann")
    resolve_incident(ws, incident, ANSWERS, "bob")
    lines = timeline(ws, incident)
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert [line["who"] for line in lines] == ["spike", "spike", "ann", "bob"]


def test_unknown_incident_names_the_known_ones(ws: Workspace) -> None:
    incident = open_incident(ws, report_alarm(ALARM, "main"))["id"]
    with pytest.raises(UsageError) as error:
        read_incident(ws, "main-1-nan")
    assert error.value.fix is not None and incident in error.value.fix


def test_missing_evidence_opens_nothing(ws: Workspace) -> None:
    with pytest.raises(InputError, match="evidence"):
        open_incident(ws, report_alarm(ALARM, "main", evidence=("runs/none.json",)))
    assert list_incidents(ws) == []


def test_who_is_on_duty_is_known_to_the_incident(ws: Workspace) -> None:
    assert open_incident(ws, report_alarm(ALARM, "main"))["on_duty"] is None
    add_shift(ws, "ann", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")
    assert open_incident(ws, report_alarm(ALARM, "1b"))["on_duty"] == "ann"
    with pytest.raises(InputError, match="before it starts"):
        add_shift(ws, "ann", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")


def test_diagnosis_names_what_stands_out() -> None:
    found = diagnose(
        {
            "gradients": {"embed": 0.1, "layers.3": 9.0, "head": math.nan},
            "activations": {"layers.3": {"mean": 0.0, "std": 1.0, "absmax": 80.0, "nonfinite": 2}},
            "samples": [4, 5],
        }
    )
    assert found.gradients["head"] is None and found.samples == ("4", "5")
    text = " | ".join(found.findings)
    assert "head is not finite" in text and "layers.3 holds 100%" in text and "80 standard deviations" in text
    assert diagnose({}).findings == ()
    with pytest.raises(InputError, match="samples"):
        diagnose({"samples": "abc"})

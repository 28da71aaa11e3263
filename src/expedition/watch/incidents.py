"""Incidents: opened by a rule or a person, with evidence copied and hashed, a timeline, times and cost, a post-mortem.

`incident.json` is written last, so an incident exists with all its evidence or not at all. Opening the same incident
again (same run, rule and step, not yet resolved) gives the one that is there: a killed and repeated step opens one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from expedition.errors import InputError, UsageError
from expedition.plan.rules import Severity
from expedition.watch.diagnosis import diagnose
from expedition.watch.postmortem import PostMortem, render_postmortem
from expedition.watch.roster import on_duty
from expedition.watch.rules.rule import Alarm, finite_or_none
from expedition.watch.segments import read_metrics
from expedition.workspace import NotFound, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "watch.incident/1"
EVIDENCE_ROWS = 200
_STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class Price:
    """What a stopped run costs."""

    gpus: int = 256
    usd_per_gpu_hour: float = 4.0

    def cost_usd(self, seconds: float) -> float:
        """Money for `seconds` of all accelerators."""
        return self.gpu_hours(seconds) * self.usd_per_gpu_hour

    def gpu_hours(self, seconds: float) -> float:
        """Accelerator hours in `seconds`."""
        return self.gpus * seconds / 3600


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """What whoever opens an incident knows."""

    run: str
    rule: str
    severity: Severity
    step: int
    tokens: int
    symptom: str
    began: str | None = None
    """When the symptom began, ISO 8601 UTC; None = when it was opened."""
    evidence: Sequence[str] = ()
    """Workspace keys to copy into the incident."""
    diagnosis: Mapping[str, Any] = field(default_factory=dict)
    """What `diagnosis.diagnose` takes: gradients, activations, samples."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Anything else that is JSON: stored as evidence `details.json`."""


def report_alarm(alarm: Alarm, run: str, diagnosis: Mapping[str, Any] | None = None, **more: Any) -> IncidentReport:
    """An incident report from a rule's alarm; `more`: began, evidence, details."""
    details = {
        "alarm": {
            "rule": alarm.rule,
            "action": alarm.action,
            "began_step": alarm.began_step,
            "value": alarm.value,
            "threshold": alarm.threshold,
            "unit": alarm.unit,
        },
        **dict(more.pop("details", {})),
    }
    return IncidentReport(
        run=run,
        rule=alarm.rule,
        severity=alarm.severity,
        step=alarm.step,
        tokens=alarm.tokens,
        symptom=alarm.message,
        diagnosis=diagnosis or {},
        details=details,
        **more,
    )


def open_incident(ws: Workspace, report: IncidentReport, price: Price | None = None) -> dict[str, Any]:
    """Open an incident and return its document (`incident.json`). Idempotent; blocking; writes an event.

    Copies the given evidence, the run's metric rows around the step and the diagnosis into the incident, each hashed.
    """
    incident_id, existing = _identity(ws, report)
    if existing is not None:
        return existing
    price = price or Price()
    now = _now()
    diagnosis = diagnose(report.diagnosis).document()
    evidence = _gather(ws, incident_id, report, diagnosis)
    began = report.began or _began(ws, report) or now
    document: dict[str, Any] = {
        "id": incident_id,
        "severity": report.severity,
        "run": report.run,
        "rule": report.rule,
        "step": report.step,
        "tokens": report.tokens,
        "symptom": report.symptom,
        "status": "open",
        "began": began,
        "opened": now,
        "acknowledged": None,
        "acknowledged_by": None,
        "resolved": None,
        "resolved_by": None,
        "on_duty": on_duty(ws, now),
        "root_cause": None,
        "fix": None,
        "prevention": None,
        "evidence": evidence,
        "diagnosis": diagnosis,
        "detect_s": _seconds(began, now),
        "acknowledge_s": None,
        "resolve_s": None,
        "price": {"gpus": price.gpus, "usd_per_gpu_hour": price.usd_per_gpu_hour},
        "lost_gpu_hours": None,
        "cost_usd": None,
    }
    _note(ws, incident_id, [(began, "symptom began", report.rule), (now, f"opened: {report.symptom}", report.rule)])
    _commit(ws, document)
    fields = {"incident": incident_id, "run": report.run, "rule": report.rule, "severity": report.severity}
    ws.events("watch").append("incident.opened", **fields, step=report.step)
    return document


def acknowledge(ws: Workspace, incident_id: str, who: str, at: str | None = None) -> dict[str, Any]:
    """Somebody looks at it. Raises UsageError when it was acknowledged or resolved before."""
    document = read_incident(ws, incident_id)
    if document["status"] != "open":
        raise UsageError(
            f"{incident_id} is already {document['status']}", fix=f"expedition incident show {incident_id}"
        )
    now = at or _now()
    document |= {
        "status": "acknowledged",
        "acknowledged": now,
        "acknowledged_by": who,
        "acknowledge_s": _seconds(document["opened"], now),
    }
    _note(ws, incident_id, [(now, "acknowledged", who)])
    _commit(ws, document)
    ws.events("watch").append("incident.acknowledged", incident=incident_id, who=who)
    return document


def resolve_incident(
    ws: Workspace, incident_id: str, postmortem: PostMortem, who: str, at: str | None = None
) -> dict[str, Any]:
    """Close an incident with its post-mortem; computes times, lost GPU-hours and cost; writes `postmortem.md`.

    Raises UsageError when it was resolved before or a part of the post-mortem is empty.
    """
    document = read_incident(ws, incident_id)
    if document["status"] == "resolved":
        raise UsageError(f"{incident_id} is already resolved", fix=f"expedition incident show {incident_id}")
    postmortem.check(incident_id)
    now = at or _now()
    price = Price(document["price"]["gpus"], document["price"]["usd_per_gpu_hour"])
    lost_s = _seconds(document["began"], now)
    document |= {
        "status": "resolved",
        "resolved": now,
        "resolved_by": who,
        "resolve_s": _seconds(document["opened"], now),
        "symptom": postmortem.symptom or document["symptom"],
        "root_cause": postmortem.root_cause,
        "fix": postmortem.fix,
        "prevention": postmortem.prevention,
        "lost_gpu_hours": price.gpu_hours(lost_s),
        "cost_usd": price.cost_usd(lost_s),
    }
    if document["acknowledged"] is None:
        document |= {"acknowledged": now, "acknowledged_by": who, "acknowledge_s": document["resolve_s"]}
    _note(ws, incident_id, [(now, f"resolved: {postmortem.fix}", who)])
    ws.write_text(
        f"{layout.incident(incident_id)}/postmortem.md", render_postmortem(document, timeline(ws, incident_id))
    )
    _commit(ws, document)
    ws.events("watch").append("incident.resolved", incident=incident_id, who=who, severity=document["severity"])
    return document


def add_note(ws: Workspace, incident_id: str, who: str, text: str) -> None:
    """A line in the timeline."""
    read_incident(ws, incident_id)
    _note(ws, incident_id, [(_now(), text, who)])


def read_incident(ws: Workspace, incident_id: str) -> dict[str, Any]:
    """One incident's document. Raises UsageError, naming those that exist, for an unknown id."""
    try:
        return ws.read_json(f"{layout.incident(incident_id)}/incident.json")
    except NotFound as error:
        known = ", ".join(document["id"] for document in list_incidents(ws)) or "none yet"
        raise UsageError(f"no incident {incident_id!r}", where="incidents", fix=f"known: {known}") from error


def list_incidents(ws: Workspace) -> list[dict[str, Any]]:
    """All incidents, oldest first."""
    keys = [key for key in ws.store.list("incidents") if key.endswith("/incident.json")]
    return sorted((ws.read_json(key) for key in keys), key=lambda document: (document["opened"], document["id"]))


def timeline(ws: Workspace, incident_id: str) -> list[dict[str, str]]:
    """Lines {time, what, who} in order of time."""
    try:
        raw = ws.store.read(f"{layout.incident(incident_id)}/timeline.jsonl")
    except NotFound:
        return []
    return [json.loads(line) for line in raw.decode().splitlines()]


def mean_times(documents: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """MTTD, MTTA and MTTR over incidents, in seconds; None where no incident has the figure."""

    def mean(name: str) -> float | None:
        known = [float(document[name]) for document in documents if document.get(name) is not None]
        return sum(known) / len(known) if known else None

    return {"mttd_s": mean("detect_s"), "mtta_s": mean("acknowledge_s"), "mttr_s": mean("resolve_s")}


def _identity(ws: Workspace, report: IncidentReport) -> tuple[str, dict[str, Any] | None]:
    """The id for this report, and the unresolved incident that already has it."""
    base = f"{report.run}-{report.step:08d}-{report.rule}"
    number = 1
    while True:
        incident_id = base if number == 1 else f"{base}-{number}"
        try:
            document = ws.read_json(f"{layout.incident(incident_id)}/incident.json")
        except NotFound:
            return incident_id, None
        if document["status"] != "resolved":
            return incident_id, document
        number += 1


def _gather(
    ws: Workspace, incident_id: str, report: IncidentReport, diagnosis: Mapping[str, Any]
) -> list[dict[str, str]]:
    files: dict[str, bytes] = {
        "metrics.json": canonical_json(_metric_rows(ws, report)) + b"\n",
        "diagnosis.json": canonical_json(diagnosis) + b"\n",
    }
    if report.details:
        files["details.json"] = canonical_json(dict(report.details)) + b"\n"
    for key in report.evidence:
        try:
            content = ws.store.read(key)
        except NotFound as error:
            raise InputError("evidence is not in the workspace", where=key) from error
        files[key.replace("/", "__")] = content
    listed = []
    for name, content in sorted(files.items()):
        path = f"{layout.incident(incident_id)}/evidence/{name}"
        ws.store.write(path, content)
        listed.append({"path": path, "sha256": sha256_bytes(content)})
    return listed


def _metric_rows(ws: Workspace, report: IncidentReport) -> dict[str, Any]:
    columns = read_metrics(ws, report.run)
    kept = columns["step"] <= report.step
    rows = {name: column[kept][-EVIDENCE_ROWS:].tolist() for name, column in columns.items()}
    return {name: [finite_or_none(value) for value in values] for name, values in rows.items()}


def _began(ws: Workspace, report: IncidentReport) -> str | None:
    """Wall time of the alarm's first bad step, by the training clock; None without metrics or alarm."""
    began_step = dict(report.details.get("alarm", {})).get("began_step")
    columns = read_metrics(ws, report.run, [])
    if began_step is None or not columns["step"].size:
        return None
    kept = columns["step"] <= report.step
    after = columns["time_s"][kept & (columns["step"] >= began_step)]
    if not after.size:
        return None
    ago_s = float(columns["time_s"][kept][-1] - after[0])
    return (datetime.now(UTC) - timedelta(seconds=max(0.0, ago_s))).strftime(_STAMP)


def _commit(ws: Workspace, document: dict[str, Any]) -> None:
    ws.write_json(f"{layout.incident(document['id'])}/incident.json", document, schema=SCHEMA)


def _note(ws: Workspace, incident_id: str, lines: Sequence[tuple[str, str, str]]) -> None:
    known = timeline(ws, incident_id)
    known += [{"time": time, "what": what, "who": who} for time, what, who in lines]
    body = b"".join(canonical_json(line) + b"\n" for line in sorted(known, key=lambda line: line["time"]))
    ws.store.write(f"{layout.incident(incident_id)}/timeline.jsonl", body)


def _now() -> str:
    return datetime.now(UTC).strftime(_STAMP)


def _seconds(start: str, end: str) -> float:
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())

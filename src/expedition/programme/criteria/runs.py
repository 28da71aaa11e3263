"""Training runs: tokens, stability, checkpoints, balance, incidents, rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from expedition.programme.evidence import Changed, Measured, NoEvidence, Query, Reader
from expedition.workspace import layout

ACCELERATORS = ("cuda", "gpu", "h100", "h200")


def _summary(reader: Reader, run: str) -> dict[str, Any]:
    return reader.json(layout.run_summary(run))


def tokens(run: str) -> Query:
    def query(reader: Reader) -> Measured:
        summary = _summary(reader, run)
        return Measured(float(summary["tokens"]), f"{summary['steps']} steps of {summary['model']}")

    return query


def mfu(run: str) -> Query:
    def query(reader: Reader) -> Measured:
        summary = _summary(reader, run)
        if summary.get("mfu") is None or not any(name in str(summary["device"]).lower() for name in ACCELERATORS):
            raise NoEvidence(f"the run was on {summary['device']}: MFU is stated for an H100")
        return Measured(100.0 * float(summary["mfu"]), str(summary.get("mfu_definition", "")))

    return query


def converged(reader: Reader) -> Measured:
    summary = _summary(reader, "1b")
    first, last = summary["loss_first"], summary["loss_last"]
    fired = [item for item in _incidents(reader) if item["run"] == "1b" and item.get("rule") in ("rise", "plateau")]
    note = f"loss {first:.3f} → {last:.3f}, {len(fired)} rise or plateau alarms"
    return Measured(bool(summary["finished"]) and last < first and not fired and summary["nonfinite_steps"] == 0, note)


def checkpoint_interval(reader: Reader) -> Measured:
    summary = _summary(reader, "main")
    kept = sorted(int(item["tokens"]) for item in summary["checkpoints"] if item["permanent"])
    if not kept:
        raise NoEvidence("the main run has no permanent checkpoint")
    gaps = [after - before for before, after in zip([0, *kept], [*kept, int(summary["tokens"])], strict=False)]
    return Measured(float(max(gaps)), f"{len(kept)} permanent checkpoints")


def checkpoints_immutable(reader: Reader) -> Measured:
    """Hashes all files of all checkpoints of the main run against their manifests."""
    good = total = 0
    wrong: list[str] = []
    for key in reader.keys(layout.checkpoints("main"), "/manifest.json"):
        folder = key.removesuffix("/manifest.json")
        if not reader.keys(folder, "/COMPLETE"):
            continue
        files = reader.json(key)["files"]
        items = (
            [{"path": name, "sha256": digest} for name, digest in files.items()] if isinstance(files, dict) else files
        )
        items = [
            {
                "path": item["path"],
                "sha256": item["sha256"]["sha256"] if isinstance(item["sha256"], dict) else item["sha256"],
            }
            for item in items
        ]
        matching, bad = reader.verified(folder, items)
        good, total = good + matching, total + len(items)
        wrong += bad
    if not total:
        raise NoEvidence("the main run has no complete checkpoint")
    if wrong:
        raise Changed(f"{wrong[0]} is not what its manifest says")
    return Measured(100.0 * good / total, f"{total} files")


def _incidents(reader: Reader) -> list[dict[str, Any]]:
    return [reader.json(key) for key in reader.keys("incidents", "/incident.json")]


def loss_smooth(reader: Reader) -> Measured:
    summary = _summary(reader, "main")
    open_ones = [
        item
        for item in _incidents(reader)
        if item["run"] == "main"
        and item.get("rule") in ("nan", "rise", "plateau", "spike")
        and item["status"] != "resolved"
    ]
    unrecovered = len(open_ones) + int(not summary["finished"]) + int(summary["loss_last"] >= summary["loss_first"])
    caught = sum(item["run"] == "main" for item in _incidents(reader))
    return Measured(float(unrecovered), f"{caught} incidents opened, {len(open_ones)} open")


def first_1t_stable(reader: Reader) -> Measured:
    """Divergences within the first 1T tokens that were not planted as a drill."""
    _summary(reader, "main")
    planted = bool(reader.programme.runs["main"].inject)
    found = [
        item
        for item in _incidents(reader)
        if item["run"] == "main" and (item.get("tokens") or 0) <= 1e12 and item.get("rule") in ("nan", "spike", "rise")
    ]
    unplanned = max(len(found) - int(planted), 0)
    conditions = ("one planted incident left out",) if planted and found else ()
    return Measured(float(unplanned), f"{len(found)} incidents", conditions)


def expert_balance(reader: Reader) -> Measured:
    share = reader.field(layout.run_summary("main"), "top10_expert_share")
    return Measured(100.0 * float(share), "worst layer, assignments to the top 10 % of experts")


def _hours(start: str, end: str) -> float:
    first, last = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (start, end))
    return (last - first).total_seconds() / 3600


def sev_resolution(reader: Reader) -> Measured:
    severe = [item for item in _incidents(reader) if item["severity"] in ("SEV-1", "SEV-2")]
    if not severe:
        raise NoEvidence("no SEV-1 or SEV-2 incident is on record")
    limit = reader.programme.rules.sev_resolution_hours
    good = [item for item in severe if item.get("resolved") and _hours(item["opened"], item["resolved"]) <= limit]
    return Measured(100.0 * len(good) / len(severe), f"{len(severe)} incidents, limit {limit:g} h")


def postmortems(reader: Reader) -> Measured:
    incidents = _incidents(reader)
    if not incidents:
        raise NoEvidence("no interruption is on record")
    parts = ("symptom", "root_cause", "fix", "prevention")
    complete = [item for item in incidents if all(str(item.get(part) or "").strip() for part in parts)]
    return Measured(100.0 * len(complete) / len(incidents), f"{len(incidents)} incidents")


def diagnosis(reader: Reader) -> Measured:
    paused = [item for item in _incidents(reader) if item.get("rule")]
    if not paused:
        raise NoEvidence("no run was paused by a rule")
    parts = ("gradients", "activations", "samples")
    good = [item for item in paused if all((item.get("diagnosis") or {}).get(part) for part in parts)]
    return Measured(100.0 * len(good) / len(paused), f"{len(paused)} pauses")


def rule_proven(name: str) -> Query:
    def query(reader: Reader) -> Measured:
        if getattr(reader.programme.rules, name) is None:
            return Measured(False, f"rule {name} is not armed in the programme")
        rules = {item["rule"]: item for item in reader.json(layout.report("replay"))["rules"]}
        if name not in rules:
            raise NoEvidence(f"rule {name} was not replayed")
        found = rules[name]
        good = sum(curve["ok"] for curve in found["curves"])
        return Measured(
            bool(found["armed"] and found["proven"]), f"{good} of {len(found['curves'])} curves judged right"
        )

    return query


def war_room_views(reader: Reader) -> Measured:
    views = reader.json(layout.PAGE_HEALTH)["views"]
    present = [name for name in ("global", "hardware", "network", "moe") if views.get(name, {}).get("present")]
    return Measured(float(len(present)), ", ".join(present))


def oncall_coverage(reader: Reader) -> Measured:
    if not reader.programme.schedule.oncall:
        raise NoEvidence("no roster is kept")
    raise NoEvidence("the main run's weeks have not been on a roster yet")


def change_freeze(reader: Reader) -> Measured:
    """Decisions about the main run while it was under way that no approval names."""
    _summary(reader, "main")
    approved = {event.fields["change"] for event in reader.events("change.approved")}
    changes = [event for event in reader.events("train.changed") if event.fields.get("run") == "main"]
    wrong = [event for event in changes if event.fields.get("change") not in approved]
    return Measured(float(len(wrong)), f"{len(changes)} changes, {len(approved)} approvals")


QUERIES: dict[str, Query] = {
    "train1b.tokens": tokens("1b"),
    "train1b.converged": converged,
    "train1b.mfu": mfu("1b"),
    "main.tokens": tokens("main"),
    "main.checkpoint_interval": checkpoint_interval,
    "main.checkpoints_immutable": checkpoints_immutable,
    "main.loss_smooth": loss_smooth,
    "main.mfu": mfu("main"),
    "main.sev_resolution": sev_resolution,
    "main.postmortems": postmortems,
    "main.expert_balance": expert_balance,
    "main.first_1t_stable": first_1t_stable,
    "rules.rise_24h": rule_proven("rise"),
    "rules.plateau_72h": rule_proven("plateau"),
    "main.war_room_views": war_room_views,
    "main.oncall_coverage": oncall_coverage,
    "main.change_freeze": change_freeze,
    "main.diagnosis": diagnosis,
}

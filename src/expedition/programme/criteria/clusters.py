"""Burn-in, nodes, dry run, drills, utilisation."""

from __future__ import annotations

from expedition.programme.evidence import Measured, NoEvidence, Query, Reader
from expedition.workspace import layout


def _asked(reader: Reader, criterion: str) -> float:
    return next(plan.threshold for plan in reader.programme.criteria if plan.id == criterion) or 0.0


def burnin_hours(reader: Reader) -> Measured:
    reports = [reader.json(key) for key in reader.keys("cluster/burnin", ".json")]
    if not reports:
        raise NoEvidence("no burn-in is on record")
    hours = max(float(report["hours"]) for report in reports)
    asked = _asked(reader, "cluster.burnin_hours")
    if hours < asked:
        raise NoEvidence(f"the longest burn-in ran {hours:.3f} h, {asked:g} h are asked for")
    return Measured(hours)


def burnin_nodes(reader: Reader) -> Measured:
    reports = [reader.json(key) for key in reader.keys("cluster/burnin", ".json")]
    gpus = max((int(report.get("gpus") or 0) for report in reports), default=0)
    needed = reader.programme.cluster.gpus
    if gpus < needed:
        raise NoEvidence(f"burned in: {gpus} GPUs of {needed}")
    passed = max(len(report["passed"]) / max(len(report["nodes"]), 1) for report in reports)
    return Measured(100.0 * passed)


def bad_nodes_isolated(reader: Reader) -> Measured:
    keys = reader.keys("cluster/nodes", ".json")
    if not keys:
        raise NoEvidence("no node is on the ledger")
    nodes = [reader.json(key) for key in keys]
    suspect = [node["node"] for node in nodes if node["state"] == "suspect"]
    isolated = sum(node["state"] == "isolated" for node in nodes)
    return Measured(float(len(suspect)), f"{len(nodes)} nodes, {isolated} isolated")


def ready_10b(reader: Reader) -> Measured:
    report = reader.json(layout.report("dryrun"))
    note = f"{report.get('ranks')} ranks of {report.get('model')}"
    return Measured(bool(report.get("ok")), note)


def fault_drill(reader: Reader) -> Measured:
    drills = reader.json(layout.report("drill"))["drills"]
    if not drills:
        raise NoEvidence("no drill is on record")
    good = all(drill["ok"] for drill in drills)
    slowest = max((drill.get("restore_s") or 0.0) for drill in drills)
    removed = [drill["removed_node"] for drill in drills if drill.get("removed_node")]
    return Measured(
        good, f"{len(drills)} drills, slowest restore {slowest:.1f} s, removed: {', '.join(removed) or '-'}"
    )


def effective_utilisation(reader: Reader) -> Measured:
    report = reader.json(layout.GOODPUT)
    by_run = report.get("by_run") or {}
    run = by_run.get("1b")
    if run is None or run.get("ratio") is None:
        raise NoEvidence("goodput of the 1B run is unknown")
    return Measured(100.0 * float(run["ratio"]))


QUERIES: dict[str, Query] = {
    "cluster.burnin_hours": burnin_hours,
    "cluster.burnin_nodes": burnin_nodes,
    "cluster.bad_nodes_isolated": bad_nodes_isolated,
    "infra.10b_ready": ready_10b,
    "train1b.fault_drill": fault_drill,
    "train1b.effective_utilisation": effective_utilisation,
}

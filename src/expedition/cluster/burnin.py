"""Burn-in: every node under a training-like load; wrong, slow or dead nodes become suspect, then isolated.

On one machine the nodes are worker processes, and the report says so. No figure of a short run is turned into hours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from expedition.cluster.load import Fault, LoadPlan, Round, expected_digest
from expedition.cluster.nodes import list_nodes, record_node
from expedition.errors import UsageError
from expedition.plan.cluster import ClusterPlan

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "cluster.burnin/1"
FAULTS: dict[str, Fault] = {"wrong": "wrong", "slow": "slow", "dead": "dead"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a node showed. `problems` empty = passed. Rates are of its best round; None where it made no round."""

    node: str
    rounds: int
    compute_cpu_s: float | None
    memory_bytes_per_s: float | None
    file_bytes_per_s: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Burnin:
    """How a burn-in is run. `rounds` 0 = for the plan's hours. `faults` plants faults by node, to test the test."""

    nodes: Sequence[str]
    rounds: int
    seed: int = 7
    faults: Mapping[str, Fault] | None = None


def run_burnin(ws: Workspace, plan: ClusterPlan, burnin: Burnin) -> dict[str, Any]:
    """Load all nodes at once, judge, test the suspect ones again, write the ledger and cluster/burnin/<id>.json.

    Blocking. Nodes that are already isolated are left out. Raises nothing for a bad node: the document names it.
    """
    isolated = {entry["node"] for entry in list_nodes(ws) if entry["state"] == "isolated"}
    nodes = [node for node in burnin.nodes if node not in isolated]
    started = time.monotonic()
    first = _measure(ws, plan, burnin, nodes)
    suspects = [m.node for m in first if m.problems]
    for m in first:
        record_node(ws, m.node, "suspect" if m.problems else "in service", _reason(m), evidence=asdict(m))
    second = _retest(ws, plan, burnin, suspects, [m for m in first if not m.problems])
    for m in second:
        record_node(ws, m.node, "isolated" if m.problems else "in service", _reason(m), evidence=asdict(m))
    failed = sorted(isolated.intersection(burnin.nodes) | {m.node for m in second if m.problems})
    wall_s = time.monotonic() - started
    burnin_id = f"burnin-{sum(1 for _ in ws.store.list('cluster/burnin')) + 1:04d}"
    document = {
        "id": burnin_id,
        "hours": wall_s / 3600,
        "wall_s": wall_s,
        "rounds": burnin.rounds,
        "nodes": list(burnin.nodes),
        "gpus": 0,
        "passed": sorted(set(burnin.nodes) - set(failed)),
        "failed": failed,
        "measurements": [asdict(m) for m in (*first, *second)],
        "conditions": ["cpu", "nodes are local processes", "short run"],
    }
    ws.write_json(f"cluster/burnin/{burnin_id}.json", document, schema=SCHEMA)
    ws.events("cluster").append("burnin.finished", id=burnin_id, failed=failed, wall_s=wall_s)
    return document


def planted_faults(texts: Sequence[str], nodes: Sequence[str]) -> dict[str, Fault]:
    """Faults from `NODE=wrong|slow|dead`. Raises UsageError for an unknown node or fault."""
    faults: dict[str, Fault] = {}
    for text in texts:
        node, _, name = text.partition("=")
        fault = FAULTS.get(name)
        if fault is None or node not in nodes:
            raise UsageError(
                f"cannot plant {text!r}",
                fix=f"NODE=FAULT with NODE of {', '.join(nodes)}; FAULT of {', '.join(FAULTS)}",
            )
        faults[node] = fault
    return faults


def judge(rounds: Mapping[str, Sequence[Round]], expected: Sequence[str], plan: ClusterPlan) -> list[Measurement]:
    """Measurements of all nodes, slow ones found by comparison with the median of the others' best rounds.

    `expected`: the right digest of each round that every node should have made; its length is their number when
    rounds are fixed.
    """
    best = {node: min((r.compute_cpu_s for r in done), default=None) for node, done in rounds.items()}
    known = [value for value in best.values() if value is not None]
    return [_measurement(node, done, expected, best[node], known, plan) for node, done in sorted(rounds.items())]


def _measurement(
    node: str,
    done: Sequence[Round],
    expected: Sequence[str],
    best_s: float | None,
    all_best_s: Sequence[float],
    plan: ClusterPlan,
) -> Measurement:
    problems = []
    wrong = [r.number for r in done if r.digest != expected[r.number]]
    if wrong:
        problems.append(f"wrong result in {len(wrong)} of {len(done)} rounds, first in round {wrong[0]}")
    damaged = [r.number for r in done if not r.file_ok]
    if damaged:
        problems.append(f"file read back differently in {len(damaged)} rounds")
    if len(done) < len(expected):
        problems.append(f"stopped after {len(done)} of {len(expected)} rounds")
    limit_s = plan.burnin.slow_factor * median(all_best_s) if all_best_s else 0.0
    if best_s is not None and best_s > limit_s:
        problems.append(f"best round took {best_s:.4f} CPU s, limit {limit_s:.4f}")
    memory_s = min((r.memory_cpu_s for r in done), default=0.0)
    file_s = min((r.file_s for r in done), default=0.0)
    return Measurement(
        node,
        len(done),
        best_s,
        4 * plan.burnin.memory_bytes / memory_s if memory_s else None,
        2 * plan.burnin.file_bytes / file_s if file_s else None,
        tuple(problems),
    )


def _measure(ws: Workspace, plan: ClusterPlan, burnin: Burnin, nodes: Sequence[str]) -> list[Measurement]:
    """Run the load on all nodes at the same time."""
    processes = {node: _start(_load_plan(ws, plan, burnin, node)) for node in nodes}
    rounds = {node: _collect(process) for node, process in processes.items()}
    made = burnin.rounds or max((len(done) for done in rounds.values()), default=0)
    burn = plan.burnin
    expected = [expected_digest(burnin.seed, n, burn.matrix_size, burn.memory_bytes) for n in range(made)]
    if not burnin.rounds:
        expected_count = min((len(done) for done in rounds.values() if done), default=0)
        measured = judge({n: done for n, done in rounds.items() if done}, expected[:made], plan)
        silent = [Measurement(n, 0, None, None, None, ("made no round",)) for n, done in rounds.items() if not done]
        return [_without_shortfall(m, expected_count) for m in measured] + silent
    return judge(rounds, expected, plan)


def _without_shortfall(m: Measurement, least: int) -> Measurement:
    """By time, nodes make different numbers of rounds: fewer than the fastest is no failure by itself."""
    kept = tuple(p for p in m.problems if not (p.startswith("stopped after") and m.rounds >= least))
    return Measurement(m.node, m.rounds, m.compute_cpu_s, m.memory_bytes_per_s, m.file_bytes_per_s, kept)


def _retest(
    ws: Workspace, plan: ClusterPlan, burnin: Burnin, suspects: Sequence[str], healthy: Sequence[Measurement]
) -> list[Measurement]:
    """Suspect nodes once more, beside one healthy node so that slowness has a yardstick."""
    if not suspects:
        return []
    yardstick = [m.node for m in healthy[:2]]
    again = _measure(ws, plan, burnin, [*suspects, *yardstick])
    return [m for m in again if m.node in suspects]


def _load_plan(ws: Workspace, plan: ClusterPlan, burnin: Burnin, node: str) -> LoadPlan:
    burn = plan.burnin
    return LoadPlan(
        node=node,
        seed=burnin.seed,
        rounds=burnin.rounds,
        seconds=burn.hours * 3600,
        matrix_size=burn.matrix_size,
        memory_bytes=burn.memory_bytes,
        file_bytes=burn.file_bytes,
        folder=str(ws.scratch("burnin")),
        fault=(burnin.faults or {}).get(node, "none"),
    )


def _start(plan: LoadPlan) -> subprocess.Popen[str]:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "expedition.cluster.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **threads},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(plan)))
    process.stdin.close()
    return process


def _collect(process: subprocess.Popen[str]) -> list[Round]:
    assert process.stdout is not None
    rounds = []
    for line in process.stdout:
        try:
            rounds.append(Round(**json.loads(line)))
        except (ValueError, TypeError):
            break
    process.wait()
    return rounds


def _reason(m: Measurement) -> str:
    return "burn-in: " + ("; ".join(m.problems) if m.problems else f"passed {m.rounds} rounds")

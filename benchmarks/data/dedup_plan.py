"""A deduplication too large for this machine, planned from measured rates and simulated with skew and lost nodes.

    .venv/bin/python benchmarks/data/dedup_plan.py --bytes 10e12 --nodes 32 --snapshots 1

Rates come from the JSON documents of dedup_scale.py and stage_rates.py. The plan uses the engine's own arithmetic
(partitions, runs, fan-in), so what it says of memory is what the code does. The simulation hands tasks to workers in
order, draws the partitions' skew from a Zipf law, slows some tasks, and loses nodes; whatever ran there runs again.
Every figure printed under `simulated` is that: simulated, from rates measured on the machine that is named.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.engine.exchange import RUN_BYTES, partitions_for
from expedition.data.engine.merge import fan_in
from expedition.data.engine.runs import BATCH_BYTES
from expedition.data.stages.dedup import NearRule

HERE = Path(__file__).parent
FILE_BYTES = 256 << 20
_ROW_BYTES = {"exact": 24.0, "bands": 20.0, "pairs": 24.0}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the work runs on. All of it is an assumption, and printed."""

    nodes: int = 32
    cores: int = 64
    memory_bytes: int = 1 << 30
    """The engine's setting, a worker."""
    network_bytes_per_s: float = 5e9
    """A node, usable of 100 Gbit/s."""
    disk_bytes_per_s: float = 3e9
    """A node."""
    hours_between_failures: float = 2000.0
    """Of one node."""
    repair_s: float = 900.0
    slow_share: float = 0.01
    """Of tasks, that take `slow_factor` times as long."""
    slow_factor: float = 4.0
    core_speed: float = 1.0
    """Of a core, relative to one of the measured machine."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One shard map of the plan."""

    name: str
    tasks: int
    cpu_s: float
    moved_bytes: float
    """Read from and written to shared disk or network, all tasks together."""
    skewed: bool = False
    heavy_share: float = 0.0
    """Of the rows, those that lie in huge groups (boilerplate)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Measured processor seconds and sizes."""

    fingerprint_bytes_per_cpu_s: float
    print_bytes_per_text_byte: float
    band_scatter_s: float
    band_gather_s: float
    exact_s: float
    verify_s: float
    pairs_per_document: float
    """Processor seconds a document, and pairs to compare a document."""
    measured_on: str

    @classmethod
    def read(cls, scale: dict[str, Any], stages: dict[str, Any]) -> Rates:
        """From the two documents. Steps of the run hold the start of worker processes too: an upper bound."""
        documents = scale["documents"]
        spent: dict[tuple[str, str], float] = {}
        for step in scale["steps"]:
            key = step["stage"], step["half"]
            spent[key] = spent.get(key, 0.0) + step["cpu_s"] / documents
        both = {stage: sum(value for (name, _), value in spent.items() if name == stage) for stage, _ in spent}
        return cls(
            stages["fingerprint"]["text_bytes_per_cpu_s"],
            stages["fingerprint"]["bytes_out_per_text_byte"],
            spent["bands", "scatter"],
            spent["bands", "gather"],
            both["exact"] + both["gone"],
            both["verify"] + both["components"],
            scale["proposed_pairs"] / documents,
            f"{scale['machine']['processor']}, {scale['machine']['cores']} cores, {scale['text_bytes'] / 1e9:.2f} GB",
        )


def plan(
    text_bytes: float, document_bytes: float, rates: Rates, cluster: Cluster, known: float = 0.0
) -> dict[str, Any]:
    """Stages and sizes; `known` is the share of documents whose fingerprints an earlier version has kept."""
    documents, bands = text_bytes / document_bytes, NearRule().bands
    rows = {
        "exact": documents * _ROW_BYTES["exact"],
        "bands": documents * bands * _ROW_BYTES["bands"],
        "pairs": documents * rates.pairs_per_document * _ROW_BYTES["pairs"],
    }
    partitions = {name: partitions_for(int(size), cluster.memory_bytes) for name, size in rows.items()}
    runs = {name: max(64, math.ceil(size / RUN_BYTES)) for name, size in rows.items()}
    prints = text_bytes * rates.print_bytes_per_text_byte
    files = math.ceil(text_bytes / FILE_BYTES)
    fresh = 1 - known
    stages = [
        Stage(
            "fingerprint",
            max(1, math.ceil(files * fresh)),
            fresh * text_bytes / rates.fingerprint_bytes_per_cpu_s,
            fresh * (text_bytes + prints),
        ),
        Stage("exact", partitions["exact"] + runs["exact"], documents * rates.exact_s, 4 * rows["exact"], True, 0.05),
        Stage("bands scatter", runs["bands"], documents * rates.band_scatter_s, 2 * rows["bands"]),
        Stage(
            "bands gather",
            partitions["bands"],
            documents * rates.band_gather_s,
            rows["bands"] + rows["pairs"],
            True,
            0.05,
        ),
        Stage(
            "verify", max(partitions["pairs"], min(files, 20_000)), documents * rates.verify_s, 3 * rows["pairs"], True
        ),
    ]
    largest = max(rows, key=lambda name: rows[name] / partitions[name])
    return {
        "text_bytes": text_bytes,
        "documents": documents,
        "files": files,
        "partitions": partitions,
        "runs": runs,
        "row_bytes": {name: round(size) for name, size in rows.items()},
        "shuffled_bytes": round(sum(rows.values())),
        "fingerprint_bytes_kept": round(prints),
        "peak_temporary_bytes_a_node": round((rows["bands"] * (1 + 1 / 16) + rows["pairs"]) / cluster.nodes),
        "fingerprint_bytes_a_node": round(prints / cluster.nodes),
        "memory_setting_bytes": cluster.memory_bytes,
        "sorted_at_once_bytes": cluster.memory_bytes // 3,
        "mean_partition_bytes": round(rows[largest] / partitions[largest]),
        "fan_in": fan_in(cluster.memory_bytes),
        "batch_bytes": BATCH_BYTES,
        "cpu_s": round(sum(stage.cpu_s for stage in stages)),
        "stages": stages,
    }


@dataclass(slots=True)
class Told:
    """What a simulation met."""

    wall_s: float = 0.0
    lost_nodes: int = 0
    run_again: int = 0
    largest_partition_bytes: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


def simulate(planned: dict[str, Any], cluster: Cluster, seed: int = 1) -> Told:
    """Play the plan once."""
    chance, told = np.random.Generator(np.random.PCG64(seed)), Told()
    for stage in planned["stages"]:
        weights = _weights(stage, chance)
        if stage.name == "bands gather":
            told.largest_partition_bytes = float(weights.max() / weights.mean() * planned["mean_partition_bytes"])
        per_core = min(cluster.network_bytes_per_s, cluster.disk_bytes_per_s) / cluster.cores
        mean_s = (stage.cpu_s / cluster.core_speed + stage.moved_bytes / per_core) / stage.tasks
        tasks_s = mean_s * weights / weights.mean() * chance.lognormal(0, 0.15, stage.tasks)
        tasks_s[chance.random(stage.tasks) < cluster.slow_share] *= cluster.slow_factor
        spent = _stage_s(tasks_s, cluster, chance, told)
        told.stages[stage.name] = round(spent, 1)
        told.wall_s += spent
    return told


def _weights(stage: Stage, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Relative sizes of the tasks: even by hash, plus huge groups whose sizes follow a Zipf law of exponent 1.1."""
    weights = np.full(stage.tasks, 1.0 - stage.heavy_share) * (1 + 0.02 * chance.standard_normal(stage.tasks))
    if stage.skewed and stage.heavy_share:
        sizes = 1 / np.arange(1, 10_001) ** 1.1
        sizes *= stage.heavy_share * stage.tasks / sizes.sum()
        np.add.at(weights, chance.integers(0, stage.tasks, len(sizes)), sizes)
    return weights.clip(min=0.01)


def _stage_s(tasks_s: npt.NDArray[np.float64], cluster: Cluster, chance: np.random.Generator, told: Told) -> float:
    """Wall seconds: tasks in order to the worker that is free first; a node that is lost gives its tasks back."""
    free = [(0.0, worker) for worker in range(min(cluster.nodes * cluster.cores, 2 * len(tasks_s)))]
    losses: list[list[float]] = [[] for _ in range(cluster.nodes)]
    met: set[tuple[int, float]] = set()
    waiting, end = tasks_s.tolist()[::-1], 0.0
    while waiting:
        at, worker = heapq.heappop(free)
        node, task_s = worker % cluster.nodes, waiting.pop()
        loss = _loss_after(losses[node], at, cluster, chance)
        if at + task_s <= loss:
            end = max(end, at + task_s)
            heapq.heappush(free, (at + task_s, worker))
            continue
        met.add((node, loss))
        told.run_again += 1
        waiting.append(task_s)
        heapq.heappush(free, (loss + cluster.repair_s, worker))
    told.lost_nodes += len(met)
    return end


def _loss_after(losses: list[float], at: float, cluster: Cluster, chance: np.random.Generator) -> float:
    """When the node is lost next after `at`; the same for all of its workers."""
    place = bisect_right(losses, at)
    while place == len(losses):
        before = losses[-1] + cluster.repair_s if losses else 0.0
        losses.append(before + chance.exponential(cluster.hours_between_failures * 3600))
        place = bisect_right(losses, at)
    return losses[place]


def main() -> None:
    """Plan, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=10e12, help="of text, a snapshot")
    parser.add_argument("--snapshots", type=int, default=1, help="compared with each other")
    parser.add_argument("--known", type=float, default=0.0, help="share of documents with fingerprints already kept")
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--document-bytes", type=float, default=5000)
    parser.add_argument("--hours-between-failures", type=float, default=2000.0, help="of one node")
    parser.add_argument("--scale", type=Path, default=HERE / "dedup_scale.json")
    parser.add_argument("--rates", type=Path, default=HERE / "stage_rates.json")
    options = parser.parse_args()
    json.dump(planned_and_simulated(options.bytes * options.snapshots, options), sys.stdout, indent=1)
    sys.stdout.write("\n")


def planned_and_simulated(text_bytes: float, options: argparse.Namespace) -> dict[str, Any]:
    """The plan as JSON values, and three plays of it."""
    scale, stages = (json.loads(path.read_text(encoding="utf-8")) for path in (options.scale, options.rates))
    rates, cluster = (
        Rates.read(scale, stages),
        Cluster(nodes=options.nodes, hours_between_failures=options.hours_between_failures),
    )
    planned = plan(text_bytes, options.document_bytes, rates, cluster, options.known)
    plays = [simulate(planned, cluster, seed) for seed in (1, 2, 3)]
    return {
        "conditions": {name: getattr(cluster, name) for name in Cluster.__slots__},
        "rates": {name: getattr(rates, name) for name in Rates.__slots__},
        "plan": {**planned, "stages": [{n: getattr(s, n) for n in Stage.__slots__} for s in planned["stages"]]},
        "simulated": {
            "note": f"simulated, from rates measured on {rates.measured_on}",
            "wall_s": [round(play.wall_s) for play in plays],
            "stages_s": plays[0].stages,
            "lost_nodes": [play.lost_nodes for play in plays],
            "tasks_run_again": [play.run_again for play in plays],
            "largest_partition_bytes": [round(play.largest_partition_bytes) for play in plays],
            "largest_buffer_bytes": cluster.memory_bytes,
            "why": "a partition above a third of the setting is streamed in chunks of a quarter of it, whatever its size",
        },
    }


if __name__ == "__main__":
    main()

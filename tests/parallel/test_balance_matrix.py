"""Losses, balance counters, gradients, clipping and weights are those of one process: mesh × recompute × accumulation."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from expedition.parallel.mesh import Ranks
from expedition.plan.runs import ParallelPlan, RunPlan
from tests.parallel.mesh_rank import load_whole, read_by_rank, take_steps, whole_of
from tests.parallel.processes import run_ranks
from tests.train.tiny import tiny_run

CLIP = 0.25
"""Below the norm of every step here, so that a wrong norm gives wrong weights."""

AT_ONCE = 8
"""Jobs of one world of processes."""

MESHES: dict[str, dict[str, Any]] = {
    "EP": {"dp_shard": 2, "ep": 2},
    "FSDP": {"dp_shard": 2},
    "EP4": {"dp_shard": 4, "ep": 4},
    "EP over edp": {"dp_shard": 4, "ep": 2},
    "HSDP and EP": {"dp_replicate": 2, "dp_shard": 2, "ep": 2},
    "EP over tp": {"dp_shard": 2, "tp": 2, "ep": 4},
    "EP over cp": {"cp": 2, "dp_shard": 2, "ep": 2},
    "EP by rows": {"dp_shard": 4, "ep": 2},
    "EP over cp and tp": {"cp": 2, "tp": 2, "ep": 4},
    "PP": {"pp": 2},
    "PP and EP": {"pp": 2, "dp_shard": 2, "ep": 2},
}
SHAPES: dict[str, dict[str, Any]] = {"EP by rows": {"experts": 6}}
"""Three experts a rank on two ranks that share them: split by rows."""
SEQUENCES = 8
ALL = [(recompute, micro) for recompute in ("none", "layers", "selective") for micro in (1, 2, 4)]
WHOLE = bool(os.environ.get("WHOLE_MATRIX"))
"""Otherwise one mesh gets the whole product, and the others one way that differs from mesh to mesh."""


def ways(number: int, mesh: str) -> list[tuple[str, int]]:
    """Recomputation and micro-batches that a mesh is tried with; each rank has a sequence in each micro-batch."""
    plan = ParallelPlan(**MESHES[mesh])
    fit = [way for way in ALL if SEQUENCES % (plan.data_ranks * way[1]) == 0 and way[1] % plan.pp == 0]
    return fit if WHOLE or mesh == "EP" else [fit[(4 * number + 2) % len(fit)]]


WAYS = {mesh: ways(number, mesh) for number, mesh in enumerate(MESHES)}
CASES = [(mesh, *way) for mesh in MESHES for way in WAYS[mesh]]


def run_of(mesh: dict[str, Any], recompute: str, micro: int, counts: str = "exact") -> RunPlan:
    # eps makes the first update linear in the gradient: with a small one it is the gradient's sign, and where a
    # gradient is rounding noise around zero its sign is noise too.
    return tiny_run(
        length="2 steps",
        sequence_length=24,
        batch_sequences=SEQUENCES,
        micro_batches=micro,
        parallel={**mesh, "recompute": recompute},
        optimizer={"eps": 1e-2},
        clip_norm=CLIP,
        loss={"balance_counts": counts},
    )


@cache
def one_process(recompute: str, micro: int, counts: str = "exact", experts: int = 8) -> dict[str, Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = run_of({}, recompute, micro, counts)
        return whole_of([take_steps(run, Ranks(0, 1, run.parallel), {"experts": experts})])
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases, a world of processes for each size."""
    folder = tmp_path_factory.mktemp("meshes")
    runs = {name_of(*case): run_of(MESHES[case[0]], *case[1:], counts_of(MESHES[case[0]])) for case in CASES}
    runs["running"] = run_of(MESHES["EP"], "layers", 4, "running")
    jobs = {
        name: {"run": run.model_dump(mode="json"), "shape": SHAPES.get(name.split("-")[0], {})}
        for name, run in runs.items()
    }
    for world in sorted({run.parallel.world for run in runs.values()}):
        names = [name for name, run in runs.items() if run.parallel.world == world]
        for some in (names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE)):
            (folder / "jobs.json").write_text(json.dumps({name: jobs[name] for name in some}))
            run_ranks(world, ["tests.parallel.mesh_rank", str(folder / "jobs.json"), str(folder)], timeout_s=300)
    return folder


def counts_of(mesh: dict[str, Any]) -> str:
    """What the balance loss of a micro-batch is weighed by: a pipeline has running counts only."""
    return "running" if "pp" in mesh else "exact"


def name_of(mesh: str, recompute: str, micro: int) -> str:
    return f"{mesh}-{recompute}-{micro}"


def require_equal(many: dict[str, Tensor], one: dict[str, Tensor]) -> None:
    assert one.keys() == many.keys()
    for name, value in one.items():
        if name.startswith("count") or name.startswith("real_tokens"):
            assert torch.equal(many[name], value), name
            continue
        # fp32 sums of a few thousand terms in another order: about 1e-6 of the largest term, and the norm of a tensor's
        # error is compared with the norm of the tensor. A wrong divisor (2 ranks), a missed rank, counts taken twice or
        # a norm without one rank's share would be off by per cents or more.
        error = float((many[name] - value).norm())
        assert error <= 1e-4 * float(value.norm()) + 1e-6, f"{name}: {error:.2e} of {float(value.norm()):.2e}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: name_of(*case))
def test_a_mesh_takes_the_step_of_one_process(results: Path, case: tuple[str, str, int]) -> None:
    mesh, recompute, micro = case
    many = load_whole(results, name_of(mesh, recompute, micro))
    experts = SHAPES.get(mesh, {}).get("experts", 8)
    assert float(many["gradient_norm.0"]) > CLIP and float(many["gradient_norm.1"]) > CLIP
    counts = counts_of(MESHES[mesh])
    require_equal(many, one_process("none", micro, counts, experts))
    if counts == "exact":
        # The balance loss is over the whole step's batch, so it does not know in how many parts it was worked through.
        require_equal(many, one_process("none", 1, experts=experts))


@pytest.mark.parametrize("case", CASES, ids=lambda case: name_of(*case))
def test_data_ranks_read_the_global_batch_once(results: Path, case: tuple[str, str, int]) -> None:
    """Ranks that differ in cp and tp read the same sequences, all data ranks together each sequence once."""
    plan = run_of(MESHES[case[0]], *case[1:], counts_of(MESHES[case[0]]))
    for step in (0, 1):
        by_data_rank: dict[int, list[list[int]]] = {}
        for data_rank, samples in read_by_rank(results, name_of(*case), step):
            by_data_rank.setdefault(data_rank, []).append(samples)
        assert sorted(by_data_rank) == list(range(plan.parallel.data_ranks))
        copies = plan.parallel.world // plan.parallel.data_ranks
        assert all(read == [read[0]] * copies for read in by_data_rank.values())
        union = sorted(sample for read in by_data_rank.values() for sample in read[0])
        assert union == list(range(SEQUENCES * step, SEQUENCES * (step + 1)))


def test_running_counts_are_those_of_one_process(results: Path) -> None:
    require_equal(load_whole(results, "running"), one_process("none", 4, "running"))


@pytest.mark.parametrize("recompute", ["layers", "selective"])
def test_recomputation_changes_no_bit(recompute: str) -> None:
    for name, value in one_process(recompute, 2).items():
        assert torch.equal(value, one_process("none", 2)[name]), name

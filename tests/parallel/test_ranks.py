"""Real gloo processes take the step that one process takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from expedition.errors import UsageError
from expedition.parallel.accumulate import Gather
from expedition.parallel.mesh import join_ranks
from expedition.plan.runs import ParallelPlan, RunPlan
from tests.parallel.processes import run_ranks
from tests.train.tiny import tiny_run

MIXED = ",image,audio,"


def take_steps(
    folder: Path, parallel: ParallelPlan, media: str, steps: int = 2, micro_batches: int = 1
) -> dict[str, torch.Tensor]:
    # eps makes the first update linear in the gradient: with a small one it is the gradient's sign, and where a
    # gradient is rounding noise around zero its sign is noise too.
    changes = {"parallel": parallel.model_dump(), "optimizer": {"eps": 1e-2}, "micro_batches": micro_batches}
    # Counts of the whole step: running ones depend on which rows a micro-batch has, and so on how many ranks there are.
    counts = "exact" if micro_batches > 1 else "running"
    run: RunPlan = tiny_run(**changes, batch_sequences=4 * micro_batches, loss={"balance_counts": counts})
    name = f"{parallel.dp_replicate}x{parallel.dp_shard}{parallel.gather}"
    plan, result = folder / f"{name}.json", folder / f"{name}.safetensors"
    plan.write_text(run.model_dump_json())
    run_ranks(parallel.world, ["tests.parallel.rank", str(plan), str(result), media, str(steps)])
    return load_file(result)


@pytest.mark.parametrize("degrees", [(1, 2), (2, 1), (2, 2)], ids=["FSDP2", "replicate", "HSDP"])
def test_ranks_take_the_step_of_one_process(tmp_path: Path, degrees: tuple[int, int]) -> None:
    replicate, shard = degrees
    one = take_steps(tmp_path, ParallelPlan(), MIXED)
    require_same(one, take_steps(tmp_path, ParallelPlan(dp_replicate=replicate, dp_shard=shard), MIXED))


@pytest.mark.parametrize(("gather", "degrees"), [("layer", (2, 2)), ("step", (2, 2)), ("step", (1, 2))])
def test_gradients_of_micro_batches_are_reduced_once(tmp_path: Path, gather: Gather, degrees: tuple[int, int]) -> None:
    """Over the copies of HSDP at the end of a step, or over all ranks where weights stay whole until then."""
    replicate, shard = degrees
    one = take_steps(tmp_path, ParallelPlan(), MIXED, micro_batches=3)
    many = ParallelPlan(dp_replicate=replicate, dp_shard=shard, gather=gather)
    require_same(one, take_steps(tmp_path, many, MIXED, micro_batches=3))


def require_same(one: dict[str, torch.Tensor], many: dict[str, torch.Tensor]) -> None:
    assert one.keys() == many.keys()
    for name, value in one.items():
        if name.startswith("counts"):
            assert torch.equal(many[name], value), name
            continue
        # fp32 sums of a few thousand terms in another order: about 1e-6 of the largest term, and the norm of a tensor's
        # error is compared with the norm of the tensor. A wrong divisor (2 ranks), a missed rank or a missing layer
        # would be off by tens of per cent.
        error = float((many[name] - value).norm())
        assert error <= 1e-4 * float(value.norm()) + 1e-6, f"{name}: {error:.2e} of {float(value.norm()):.2e}"


def test_ranks_with_different_modalities_do_not_hang(tmp_path: Path) -> None:
    seen = take_steps(tmp_path, ParallelPlan(dp_shard=4), ",,image,audio", steps=3)
    assert all(torch.isfinite(value).all() for value in seen.values())
    assert float(seen["gradient.visual.patch_embed.proj.weight"].norm()) > 0
    assert float(seen["gradient.audio_tower.conv2d1.weight"].norm()) > 0


def test_a_world_that_is_not_the_plans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="2 ranks and 3 processes"):
        join_ranks(ParallelPlan(dp_shard=2), torch.device("cpu"))

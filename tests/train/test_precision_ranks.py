"""FP8 on sharded weights and spread experts: the step of one process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.parallel.cases import Case, alone, run_cases

FP8 = {"modules": ("*_proj", "*.experts"), "recipe": "rowwise", "scales": "power_of_two", "gradient": "e4m3"}
LOW = {"precision": {"fp8": {**FP8, "weight_gradient": "fp8"}}, "micro_batches": 2}
CASES = [
    Case("FSDP", {"dp_shard": 2}, {}, LOW),
    Case("FSDP, gathered once a step", {"dp_shard": 2, "gather": "step"}, {}, LOW),
    Case("spread experts", {"dp_shard": 2, "ep": 2}, {}, LOW),
    Case("spread experts, layers recomputed", {"dp_shard": 2, "ep": 2, "recompute": "layers"}, {}, LOW),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """All cases, in one world of two processes."""
    return run_cases(tmp_path_factory.mktemp("fp8"), 2, CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fp8_over_ranks_takes_the_step_of_one_process(results: dict[str, dict[str, Tensor]], case: Case) -> None:
    """Rows are rounded on their own, so ranks see the same FP8 numbers; fp32 sums in another order send a few to a
    neighbour. Weight gradients share scales among the rows of a rank: what is lost there is far below their size. A scale
    or a row in the wrong place moves gradients by tens of per cent."""
    many, one = results[case.name], alone(case)
    assert float((many["loss.0"] - one["loss.0"]).abs()) <= 1e-3 * float(one["loss.0"])
    assert float((many["loss.1"] - one["loss.1"]).abs()) <= 1e-2 * float(one["loss.1"])
    for name, value in one.items():
        if name.startswith("gradient."):
            assert (many[name] - value).norm() <= 0.05 * value.norm() + 1e-6, name
    assert all(bool(torch.isfinite(value.float()).all()) for value in many.values())

"""Tokens reach experts on other ranks and come back, whatever they choose."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition.errors import MissingExtra, ProgrammeError
from expedition.parallel.dispatch import make_dispatcher
from expedition.parallel.experts import require_experts
from expedition.plan.runs import ParallelPlan
from tests.parallel.processes import run_ranks
from tests.train.tiny import tiny_shape


def routings(world: int, number: int) -> list[dict[str, Any]]:
    """Random sizes and choices, and the corners: few or no tokens on a rank, all tokens to one expert or one rank."""
    corners: list[dict[str, Any]] = [
        {"tokens": tokens, "only": only}
        for tokens in ([7] * world, [0, *[5] * (world - 1)], [*[5] * (world - 1), 0], [1] * world, [0] * world)
        for only in (None, [0], [world * 2 - 1])
    ]
    draw = np.random.default_rng(world)
    cases = []
    for seed in range(number):
        case = corners[seed] if seed < len(corners) else {"tokens": draw.integers(0, 40, world).tolist(), "only": None}
        held = int(draw.integers(2, 5))
        if seed >= len(corners) and seed % 3 == 0:
            case = {**case, "only": draw.permutation(held * world)[: int(draw.integers(1, 4))].tolist()}
        cases.append({**case, "seed": seed, "experts": held * world, "top_k": 1 + seed % 3})
    return cases


def test_dispatched_experts_equal_the_definition(tmp_path: Path) -> None:
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps(routings(2, 60)))
    run_ranks(2, ["tests.parallel.dispatch_rank", str(cases)])


@pytest.mark.skipif(importlib.util.find_spec("deep_ep") is not None, reason="DeepEP is installed")
def test_deepep_is_refused_without_its_package() -> None:
    with pytest.raises(MissingExtra, match=r"deep_ep.*\n.*all_to_all"):
        make_dispatcher("deepep", None, 8)  # type: ignore[arg-type]


def test_experts_that_do_not_divide_are_refused_with_what_fits() -> None:
    with pytest.raises(ProgrammeError, match=r"ep = 3 does not divide the model's 8 experts.*\n.*1, 2, 4, 8"):
        require_experts(tiny_shape(), ParallelPlan(dp_shard=3, ep=3))
    with pytest.raises(ProgrammeError, match="no experts"):
        require_experts(tiny_shape(dense_layers=(0, 1), dense_inner=32), ParallelPlan(dp_shard=2, ep=2))

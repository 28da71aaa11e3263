"""One rank's view of many, without devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.errors import ProgrammeError, UsageError
from expedition.parallel.dryrun import dry_run, layout_from, rank_view
from expedition.plan import load_programme
from expedition.plan.runs import ParallelPlan
from expedition.workspace import Workspace, layout
from tests.train.tiny import tiny_config


def test_the_10b_model_is_sharded_and_stepped_on_256_ranks(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    report = dry_run(ws, load_programme("rehearsal"), "10b")
    assert ws.read_json(layout.report("dryrun"))["ok"] is True
    assert report["ranks"] == 256
    assert report["parameters"] > 10e9
    assert report["rank_parameters"] == pytest.approx(report["parameters"] / 8, rel=0.01)
    gathered = report["collectives"]["all_gather/shard"]
    # 32 layers, two encoders and the root: gathered once for each pass but the last layer's.
    assert 35 < gathered["calls"] <= 2 * 35
    assert report["collectives"]["all_reduce/dp_replicate"]["calls"] == 35


def test_bytes_grow_with_the_parameters_not_with_the_ranks() -> None:
    few = rank_view(tiny_config(), ParallelPlan(dp_replicate=2, dp_shard=4), 64)
    many = rank_view(tiny_config(), ParallelPlan(dp_replicate=32, dp_shard=4), 64)
    assert few.problem is None and few.collectives == many.collectives


@pytest.mark.parametrize("mesh", [{"ep": 4}, {"ep": 8, "cp": 2}, {"ep": 2, "tp": 2, "dp_replicate": 2}], ids=str)
def test_experts_cost_what_the_formula_says(mesh: dict[str, int]) -> None:
    """Rows there and back and their gradients in bf16, weights there and their gradients, counts: a layer and token."""
    plan, config, positions = ParallelPlan(dp_shard=4, **mesh), tiny_config(), 64
    seen = rank_view(config, plan, positions)
    shape, tokens = config.shape, positions // (plan.cp * plan.tp)
    rows = tokens * shape.top_k
    layer = 4 * rows * shape.hidden * 2 + 2 * rows * 2 + shape.experts * 8
    assert seen.problem is None
    assert seen.collectives["all_to_all/ep"] == {"calls": 7 * shape.layers, "bytes": layer * shape.layers}
    gathered = rank_view(config, ParallelPlan(**{**plan.model_dump(), "ep": 1}), positions)
    assert gathered.rank_parameters == seen.rank_parameters
    weights = shape.layers * shape.experts * 3 * shape.expert_inner * shape.hidden
    fewer = gathered.collectives["all_gather/shard"]["bytes"] - seen.collectives["all_gather/shard"]["bytes"]
    # Every expert in bf16, for the forward and for the backward pass; spread experts over those that hold the same ones.
    assert fewer == 2 * 2 * weights
    edp = 4 * plan.cp * plan.tp // plan.ep
    held = seen.collectives.get("all_gather/edp", {"bytes": 0})["bytes"]
    assert held == (2 * 2 * weights // plan.ep if edp > 1 else 0)


def test_recomputation_sends_tokens_again_unless_it_keeps_them() -> None:
    calls = {
        how: rank_view(tiny_config(), ParallelPlan(dp_shard=4, ep=4, recompute=how), 64).collectives["all_to_all/ep"]
        for how in ("none", "layers", "selective")
    }
    assert calls["none"]["bytes"] < calls["selective"]["bytes"] < calls["layers"]["bytes"]


def test_followed_memory_shrinks_with_recomputation() -> None:
    keep, again = (
        rank_view(tiny_config(layers=4), ParallelPlan(dp_shard=2, recompute=how), 128, memory=True)
        for how in ("none", "layers")
    )
    assert keep.peak_bytes is not None and again.peak_bytes is not None and keep.activation_bytes is not None
    assert again.peak_bytes < 0.7 * keep.peak_bytes and keep.activation_bytes < keep.peak_bytes


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (["ep=3"], "does not divide dp_shard"),
        (["sp=2"], "NAME=VALUE with NAME of dp_replicate"),
        (["ep=many"], "ep"),
    ],
)
def test_settings_that_are_no_mesh_are_refused(settings: list[str], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        layout_from(settings, dp_shard=4)


def test_layouts_that_cannot_be_are_refused_with_the_rule(tmp_path: Path) -> None:
    ws, programme = Workspace.open(tmp_path / "w", create=True), load_programme("rehearsal")
    for settings, rule in ((["ep=32"], "does not divide the model's"), (["pp=2"], "one stage"), (["cp=3"], "2 × cp")):
        with pytest.raises(ProgrammeError, match=rule):
            dry_run(ws, programme, "tiny", layout_from(settings, dp_shard=32))


def test_an_unknown_model_is_an_error_with_the_known_names(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(ProgrammeError, match="10b-active"):
        dry_run(ws, load_programme("rehearsal"), "11b")

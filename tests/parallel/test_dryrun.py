"""One rank's view of many, without devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from expedition.errors import ProgrammeError, UsageError
from expedition.model.omni import OmniModel
from expedition.parallel.dryrun import dry_run, layout_from, micro_batches, rank_view
from expedition.plan import load_programme
from expedition.plan.runs import OptimizerPlan, ParallelPlan
from expedition.train.update.groups import describe_groups
from expedition.workspace import Workspace, layout
from tests.train.tiny import VOCABULARY, tiny_config


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
        rank_view(tiny_config(layers=4), ParallelPlan(dp_shard=2, recompute=how), 256, memory=True)
        for how in ("none", "layers")
    )
    assert keep.peak_bytes is not None and again.peak_bytes is not None and keep.activation_bytes is not None
    assert again.peak_bytes < 0.7 * keep.peak_bytes and keep.activation_bytes < keep.peak_bytes


PIPELINES = [
    {"pp": 2, "dp_shard": 2},
    {"pp": 4},
    {"pp": 2, "schedule": "interleaved", "stages_per_rank": 2},
    {"pp": 2, "schedule": "zero_bubble", "stages_per_rank": 2, "dp_shard": 2},
    {"pp": 2, "dp_shard": 2, "ep": 2, "cp": 2},
]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mesh", PIPELINES, ids=str)
def test_a_rank_of_each_stage_is_seen_with_its_layers_and_what_it_sends(mesh: dict[str, Any], tied: bool) -> None:
    config, plan, positions = tiny_config(layers=4, tied_embeddings=tied), ParallelPlan(**mesh), 64
    views = [rank_view(config, plan, positions, stage=stage) for stage in range(plan.pp)]
    assert [view.problem for view in views] == [None] * plan.pp
    assert sorted(layer for view in views for layer in view.layers) == [0, 1, 2, 3]
    share = plan.world // plan.pp
    table = VOCABULARY * config.shape.hidden if tied else 0  # on the first rank and on the last
    whole = rank_view(config, ParallelPlan(), positions).parameters
    assert sum(view.rank_parameters for view in views) * share == whole + table
    hidden = positions // (plan.cp * plan.tp) * config.shape.hidden * 2
    crossings = plan.stages - 1
    sent = {"calls": 2 * crossings * micro_batches(plan), "bytes": 2 * crossings * micro_batches(plan) * hidden}
    for operation in ("send/pp", "receive/pp"):
        found = [view.collectives[operation] for view in views]
        assert {what: sum(one[what] for one in found) for what in sent} == sent
    # Gradients are summed over ranks once a step, whatever the number of micro-batches.
    reduced = [view.collectives["all_reduce/dp_replicate"]["calls"] for view in views]
    assert reduced == [units(view.layers, plan, place) for place, view in enumerate(views)]
    assert ("all_reduce/pp_ends" in views[0].collectives) is tied


def units(layers: list[int], plan: ParallelPlan, place: int) -> int:
    """FSDP2's: layers, spread experts beside them, on the first rank encoders and embeddings, on the last the head."""
    ends = (3 if place == 0 else 0) + (1 if place == plan.pp - 1 else 0)
    return len(layers) * (2 if plan.ep > 1 else 1) + ends


def test_a_stage_holds_the_micro_batches_that_are_under_way() -> None:
    """1F1B: as many as stages follow, itself included; activations of a middle layer fall from stage to stage."""
    config, plan = tiny_config(layers=8, tied_embeddings=False), ParallelPlan(pp=4)
    views = [rank_view(config, plan, 256, stage=stage, memory=True) for stage in range(1, 4)]
    assert all(view.problem is None for view in views)
    activations = [view.activation_bytes or 0 for view in views]
    assert activations[0] > 1.3 * activations[1]
    assert views[0].peak_bytes is not None and activations[0] < views[0].peak_bytes


@pytest.mark.parametrize(
    ("optimizer", "a_parameter"),
    [
        (OptimizerPlan(), 16),
        (OptimizerPlan(weights="bf16_stochastic"), 12),
        (OptimizerPlan(weights="bf16_stochastic", moments="bf16"), 8),
    ],
)
def test_state_is_what_the_optimizer_keeps(optimizer: OptimizerPlan, a_parameter: int) -> None:
    seen = rank_view(tiny_config(), ParallelPlan(dp_shard=4), 64, optimizer=optimizer)
    assert seen.problem is None and seen.state_bytes == seen.rank_parameters * a_parameter


def test_muons_matrices_have_one_moment() -> None:
    with torch.device("meta"):
        model = OmniModel(tiny_config())
    plan = OptimizerPlan(kind="muon", moments="bf16")
    whole = sum(group["state_bytes"] for group in describe_groups(dict(model.named_parameters()), plan))
    plain = rank_view(tiny_config(), ParallelPlan(dp_shard=2), 64)
    seen = rank_view(tiny_config(), ParallelPlan(dp_shard=2), 64, optimizer=plan)
    assert seen.state_bytes == whole // 2 < plain.state_bytes * 12 // 16


def test_the_report_names_the_fullest_rank_and_the_runs_optimizer(tmp_path: Path) -> None:
    ws, programme = Workspace.open(tmp_path / "w", create=True), load_programme("rehearsal")
    report = dry_run(ws, programme, "tiny", ParallelPlan(pp=2, dp_shard=2), 64)
    assert len(report["stages"]) == 2 and report["micro_batches"] == 2
    assert report["rank_state_gib"] == max(stage["rank_state_gib"] for stage in report["stages"])
    assert report["optimizer"]["run"] == "main"
    with pytest.raises(UsageError, match="no run 'mian'"):
        dry_run(ws, programme, "tiny", run="mian")


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
    for settings, rule in (
        (["ep=32"], "does not divide the model's"),
        (["pp=64"], "pipeline stages for"),
        (["cp=3"], "2 × cp"),
    ):
        with pytest.raises(ProgrammeError, match=rule):
            dry_run(ws, programme, "tiny", layout_from(settings, dp_shard=32))


def test_an_unknown_model_is_an_error_with_the_known_names(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(ProgrammeError, match="10b-active"):
        dry_run(ws, load_programme("rehearsal"), "11b")

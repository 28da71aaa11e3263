"""AdamW and Muon against torch's own, groups, and what a plan says of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.errors import Interrupted, ProgrammeError
from expedition.model.omni import OmniModel
from expedition.parallel.apply import parameter_names
from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.plan.runs import MuonPlan, OptimizerPlan
from expedition.train.callbacks.progress import Moment
from expedition.train.checkpoint import newest_intact
from expedition.train.optimizer import Optimizer, clip_scale
from expedition.train.run import Inputs, train_run
from expedition.train.setup import load_model
from expedition.train.update.groups import blocks_of, describe_groups, gradient_norms, group_parameters
from expedition.train.update.muon import newton_schulz, orthogonal
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

KEEP, ONE = torch.tensor(True), torch.tensor(1.0)


def make(shapes: dict[str, tuple[int, ...]], seed: int = 1) -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def steps(ours: dict[str, Any], optimizer: Optimizer, theirs: dict[str, Any], reference: Any, number: int = 10) -> None:
    """The same gradients and learning rates into both."""
    generator = torch.Generator().manual_seed(5)
    for step in range(number):
        rate = 0.01 * (step + 1)
        for group in reference.param_groups:
            group["lr"] = rate
        for name, parameter in ours.items():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            theirs[name].grad = parameter.grad.clone()
        optimizer.step(rate, ONE, KEEP)
        reference.step()


def test_equals_torch_adamw_with_decay_on_matrices_only() -> None:
    ours = make({"weight": (5, 7), "stack": (2, 3, 4), "norm": (6,)})
    theirs = {name: torch.nn.Parameter(value.detach().clone()) for name, value in ours.items()}
    plan = OptimizerPlan(weight_decay=0.2)
    groups = [
        {"params": [theirs["weight"], theirs["stack"]], "weight_decay": plan.weight_decay},
        {"params": [theirs["norm"]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=(plan.beta1, plan.beta2), eps=plan.eps)
    steps(ours, Optimizer(ours, plan), theirs, reference)
    for name, parameter in ours.items():
        # Ten updates of size about the learning rate (≤ 0.1), each rounded to fp32: 10 · 0.1 · 2⁻²³ is 1e-7; ten
        # times that.
        torch.testing.assert_close(parameter, theirs[name], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", ["match_rms_adamw", "original"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_equals_torch_muon_on_plain_matrices(scale: str, nesterov: bool) -> None:
    ours = make({"wide": (24, 40), "tall": (40, 24), "square": (32, 32)})
    theirs = {name: torch.nn.Parameter(value.detach().clone()) for name, value in ours.items()}
    plan = OptimizerPlan(kind="muon", weight_decay=0.2, muon=MuonPlan(scale=scale, nesterov=nesterov))
    reference = torch.optim.Muon(list(theirs.values()), weight_decay=0.2, nesterov=nesterov, adjust_lr_fn=scale)
    start = {name: value.detach().clone() for name, value in ours.items()}
    steps(ours, Optimizer(ours, plan), theirs, reference, number=5)
    for name, parameter in ours.items():
        # Both iterate in bf16 (2⁻⁹ a product, five iterations), by products that may sum in another order. Another
        # coefficient, scale, momentum or decay moves the result by more than a tenth of the way.
        error = float(
            (parameter.detach() - theirs[name].detach()).norm() / (theirs[name].detach() - start[name]).norm()
        )
        assert error < 0.01, (name, error)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 3), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_newton_schulz_keeps_singular_vectors_and_brings_values_near_one(
    rows: int, columns: int, count: int, size: float, seed: int
) -> None:
    matrices = torch.randn(count, rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrices * size, full_matrices=False)
    found = torch.diagonal(u.mT @ newton_schulz(matrices * size, 5) @ vh.mT, dim1=1, dim2=2)
    share = s / s.norm(dim=1, keepdim=True)
    inside = found[share > 0.02]
    assert ((inside > 0.6) & (inside < 1.3)).all(), inside
    whole = u @ torch.diag_embed(found) @ vh
    torch.testing.assert_close(whole, newton_schulz(matrices * size, 5), atol=1e-8, rtol=1e-8)


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert not newton_schulz(torch.zeros(2, 3, 4), 5).any()


def test_fused_and_stacked_matrices_are_made_orthogonal_one_by_one() -> None:
    plan = MuonPlan(compute="fp32")
    stack = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(0))
    whole = orthogonal(stack, blocks_of("model.layers.0.mlp.experts.gate_up_proj"), plan)
    for expert in range(3):
        for rows in (slice(0, 4), slice(4, 8)):
            torch.testing.assert_close(whole[expert, rows], orthogonal(stack[expert, rows], 1, plan), atol=1e-5, rtol=0)
    assert blocks_of("visual.blocks.1.attn.qkv.weight") == 3
    assert blocks_of("model.layers.0.self_attn.q_proj.weight") == 1


def meta_parameters() -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(parameter_names(OmniModel(tiny_config())))


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    parameters = meta_parameters()
    by_rule = {"adamw": set(), "muon": set()}
    for group in group_parameters(parameters, OptimizerPlan(kind="muon")):
        by_rule[group.rule] |= set(group.parameters)
    assert by_rule["adamw"] | by_rule["muon"] == set(parameters)
    for name in ("self_attn.q_proj.weight", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"):
        assert f"model.layers.0.{name}" in by_rule["muon"]
    assert {"visual.blocks.0.attn.qkv.weight", "audio_tower.layers.0.fc1.weight"} <= by_rule["muon"]
    left = {name for name in by_rule["adamw"] if parameters[name].dim() >= 2}
    assert left == {
        "model.embed_tokens.weight",
        "model.layers.0.mlp.gate.weight",
        "model.layers.1.mlp.gate.weight",
        "visual.pos_embed.weight",
        "visual.patch_embed.proj.weight",
        *(f"audio_tower.conv{place}.weight" for place in ("2d1", "2d2", "2d3", "_out")),
    }


def test_groups_are_described_and_every_parameter_counts_once() -> None:
    parameters = meta_parameters()
    plan = OptimizerPlan(
        kind="muon",
        moments="bf16",
        groups=[
            {"name": "encoders", "patterns": ["visual.*", "audio_tower.*"], "learning_rate_factor": 0.1},
            {"name": "table", "patterns": ["*embed_tokens*"], "weight_decay": 0.0},
        ],
    )
    records = describe_groups(parameters, plan)
    assert sum(record["parameters"] for record in records) == sum(value.numel() for value in parameters.values())
    assert sum(record["tensors"] for record in records) == len(parameters)
    by_name = {record["name"]: record for record in records}
    assert set(by_name) == {
        "encoders: muon",
        "encoders: adamw",
        "encoders: adamw, no decay",
        "muon",
        "adamw",
        "adamw, no decay",
        "table: adamw, no decay",
    }
    assert by_name["encoders: muon"]["learning_rate_factor"] == 0.1
    assert by_name["table: adamw, no decay"]["examples"] == ["model.embed_tokens.weight"]
    assert by_name["muon"]["state_bytes"] == by_name["muon"]["parameters"] * (4 + 4 + 2)
    assert by_name["adamw"]["state_bytes"] == by_name["adamw"]["parameters"] * (4 + 4 + 2 + 2)


def test_a_pattern_that_names_nothing_is_refused_with_names_that_exist() -> None:
    plan = OptimizerPlan(groups=[{"name": "eyes", "patterns": ["vision.*"]}])
    with pytest.raises(ProgrammeError, match=r"'vision\.\*' of group 'eyes'") as caught:
        describe_groups(meta_parameters(), plan)
    assert "audio_tower" in (caught.value.fix or "")


def test_a_groups_factor_and_decay_act_on_its_parameters_alone() -> None:
    plain, special = make({"a": (4, 4), "b": (4,)}), make({"a": (4, 4), "b": (4,)})
    groups = [{"name": "slow", "patterns": ["b"], "learning_rate_factor": 0.5, "weight_decay": 0.3}]
    first, second = Optimizer(plain, OptimizerPlan()), Optimizer(special, OptimizerPlan(groups=groups))
    before = plain["b"].detach().clone()
    for parameters, optimizer in ((plain, first), (special, second)):
        for parameter in parameters.values():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(0.1, ONE, KEEP)
    assert torch.equal(plain["a"], special["a"])
    # The first update of AdamW is the learning rate, the decay acts before it.
    torch.testing.assert_close(special["b"].detach(), before * (1 - 0.05 * 0.3) - 0.05)


def test_moments_in_fp8_take_a_quarter_and_lead_where_fp32_ones_lead() -> None:
    """Gradients over seven orders of magnitude in each block of 256, with noise as large as they are."""
    sizes = torch.logspace(-6, 1, 512)
    ends = {}
    for moments in ("fp32", "fp8"):
        generator = torch.Generator().manual_seed(0)
        start, goal = torch.randn(2, 32, 512, generator=generator).unbind(0)
        parameter = torch.nn.Parameter(start.clone())
        optimizer = Optimizer({"w": parameter}, OptimizerPlan(moments=moments, weight_decay=0.0))
        for number in range(200):
            noise = torch.randn(32, 512, generator=generator)
            parameter.grad = (parameter.detach() - goal + 0.1 * noise) * sizes
            optimizer.step(1e-2 * (1 - number / 200), ONE, KEEP)
        ends[moments] = (parameter.detach() - goal).square().mean(0)
    assert optimizer.moments["first.w"].nbytes * 4 == parameter.numel() * 4
    assert optimizer.moments["first_scale.w"].shape == (32, 2)
    # What is left is the way that 200 steps do not go; it is the same at both ends of a block.
    for part in (slice(0, 64), slice(192, 256), slice(448, 512)):
        assert float(ends["fp8"][part].mean()) == pytest.approx(float(ends["fp32"][part].mean()), rel=0.02)


def test_moments_in_fp8_are_kept_where_blocks_fill_whole_rows() -> None:
    plan = OptimizerPlan(kind="muon", moments="fp8")
    names = {
        "a.experts.down_proj": (2, 8, 256),
        "model.embed_tokens.weight": (9, 512),
        "table": (3, 100),
        "norm": (256,),
    }
    parameters = make(names)
    adamw = Optimizer(parameters, OptimizerPlan(moments="fp8"))
    held = {name: adamw.moments[f"second.{name}"].dtype for name in names}
    assert [name for name, dtype in held.items() if dtype == torch.float8_e4m3fn] == list(names)[:2]
    assert all(dtype == torch.float32 for name, dtype in held.items() if name in ("table", "norm"))
    muon = Optimizer(parameters, plan)
    assert muon.moments["momentum.a.experts.down_proj"].dtype == torch.bfloat16
    assert plan.state_bytes("a.experts.down_proj", 3) == 4 + 4 + 2
    assert plan.state_bytes("model.embed_tokens.weight", 2) == 4 + 4 + 1 + 1


def test_a_large_gradient_is_scaled_to_the_clip_norm_and_a_small_one_is_left() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([3.0, 4.0, 0.0])
    norm = squared_norm([parameter.grad], Ranks(0, 1)).sqrt()
    assert float(norm) == 5.0
    assert float(clip_scale(norm, 1.0) * norm) <= 1.0
    assert float(clip_scale(norm, 10.0)) == 1.0
    assert float(clip_scale(norm, None)) == 1.0


def test_norms_by_group_square_up_to_the_whole_norm() -> None:
    parameters = make(
        {"model.layers.0.self_attn.q_proj.weight": (4, 4), "model.embed_tokens.weight": (5, 4), "n": (3,)}
    )
    optimizer = Optimizer(parameters, OptimizerPlan(kind="muon"))
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter)
    all_norms = gradient_norms(optimizer.groups, optimizer.plan, Ranks(0, 1))
    norms = {name: float(norm) for name, norm in all_norms.items() if norm}
    assert set(norms) == {"muon", "adamw", "adamw, no decay"}
    whole = squared_norm([value.grad for value in parameters.values() if value.grad is not None], Ranks(0, 1))
    assert sum(norm**2 for norm in norms.values()) == pytest.approx(float(whole))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_stopped_run_of_bf16_weights_goes_on_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    plan = {"kind": kind, "weights": "bf16_stochastic", "moments": "bf16"}
    run = tiny_run(length="5 steps", optimizer=plan, learning_rate={"peak": 5e-3, "warmup": "1 steps"})

    def sail(place: Path, stop_at: int | None) -> None:
        def listen(moment: Moment) -> None:
            if moment.done == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        ws, inputs = Workspace.open(place, create=True), Inputs(CountingSource(run), tiny_config())
        train_run(ws, programme_with(main=run), "main", listen, inputs)

    sail(tmp_path / "whole", None)
    with pytest.raises(Interrupted):
        sail(tmp_path / "stopped", 3)
    sail(tmp_path / "stopped", None)
    ends = [newest_intact(Workspace.open(tmp_path / place), "main")[0] for place in ("whole", "stopped")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].step == 5
    assert ends[0].files == ends[1].files
    model = load_model(Workspace.open(tmp_path / "whole"), "main")
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32, name
        assert torch.equal(parameter, parameter.bfloat16().float()), name


def test_norms_by_group_are_recorded_where_the_plan_asks(tmp_path: Path) -> None:
    groups = [{"name": "sight", "patterns": ["visual.*"]}]
    run = tiny_run(length="4 steps", group_norms_every=2, optimizer={"groups": groups})
    ws, inputs = Workspace.open(tmp_path, create=True), Inputs(CountingSource(run), tiny_config())
    train_run(ws, programme_with(main=run), "main", inputs=inputs)
    names = [
        f"gradient_norm/{group}" for group in ("sight: adamw", "sight: adamw, no decay", "adamw", "adamw, no decay")
    ]
    found = read_metrics(ws, "main", [*names, "gradient_norm"])
    by_group = np.stack([found[name] for name in names])
    assert np.isnan(by_group[:, [0, 2]]).all()
    np.testing.assert_allclose((by_group[:, [1, 3]] ** 2).sum(0), found["gradient_norm"][[1, 3]] ** 2, rtol=1e-5)

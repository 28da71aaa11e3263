"""The FP8 policy: who multiplies, what is refused and why, what the command prints; counts and the way back to bf16."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from expedition.errors import MissingExtra, ProgrammeError, UsageError
from expedition.model.attention import DecoderAttention
from expedition.model.moe import DenseMLP
from expedition.parallel.mesh import Ranks
from expedition.plan.load import load_programme
from expedition.plan.precision import Fp8FallbackPlan, Fp8Plan
from expedition.train.batches import to_tensors
from expedition.train.fp8.counters import count, take_counts
from expedition.train.fp8.fallback import FallbackRule, switch_off, switched_off
from expedition.train.fp8.layers import Fp8DecoderAttention, Fp8DenseMLP, fp8_modules
from expedition.train.fp8.policy import Machine, able_modules, is_emulated, policy, require_fit
from expedition.train.objective import forward_backward
from expedition.train.precision import apply_fp8
from expedition.train.reports.precision import describe_precision, machine_of, precision_lines
from expedition.train.reports.summary import conditions
from expedition.train.setup import Built, build
from tests.train.tiny import CountingSource, tiny_config, tiny_run

torch.set_num_threads(1)
CPU = torch.device("cpu")
H100 = Machine("cuda", (9, 0))
A100 = Machine("cuda", (8, 0))


def model(inputs: int = 32, outputs: int = 48) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.Linear(outputs, inputs))


def plan(**changes: Any) -> Fp8Plan:
    return Fp8Plan.model_validate({"modules": ("*",), "exclude": (), **changes})


def backends(plan: Fp8Plan, machine: Machine, made: nn.Module | None = None) -> set[str]:
    return set(require_fit(able_modules(made or model()), plan, machine).values())


def test_auto_multiplies_by_torch_where_there_is_hardware_and_emulates_elsewhere() -> None:
    assert backends(plan(), H100) == {"torch"}
    assert backends(plan(), A100) == backends(plan(), Machine("cpu")) == {"emulated"}
    assert backends(plan(backend="emulated"), H100) == {"emulated"}
    assert backends(plan(), Machine("meta")) == {"torch"}  # a dry run is for a machine that has it


def test_figures_are_called_emulated_where_they_are() -> None:
    assert is_emulated(plan(), Machine("cpu")) and is_emulated(plan(backend="emulated"), H100)
    assert not is_emulated(plan(), H100) and not is_emulated(Fp8Plan(), Machine("cpu"))
    assert conditions(CPU, Fp8Plan()) == ["cpu"] and conditions(CPU, plan()) == ["cpu", "emulated fp8"]


@pytest.mark.parametrize("machine", [A100, Machine("cpu")])
def test_a_backend_without_its_hardware_is_refused(machine: Machine) -> None:
    with pytest.raises(ProgrammeError, match=r"9\.0 or more.*and this is a (CPU|GPU of compute capability 8\.0)"):
        backends(plan(backend="torch"), machine)


@pytest.mark.parametrize("sizes", [(40, 48), (32, 72)])
def test_sizes_that_hardware_does_not_take_are_refused_by_name(sizes: tuple[int, int]) -> None:
    with pytest.raises(ProgrammeError, match=r"0 cannot multiply in FP8 by torch: size (40|72) is no multiple of 16"):
        backends(plan(), H100, model(*sizes))
    assert backends(plan(), Machine("cpu"), model(*sizes)) == {"emulated"}


def test_blocks_need_multiples_of_128_everywhere() -> None:
    with pytest.raises(ProgrammeError, match="no multiple of 128"):
        backends(plan(recipe="blockwise", gradient="e4m3"), Machine("cpu"))
    assert backends(plan(recipe="blockwise", gradient="e4m3"), H100, model(128, 256)) == {"torch"}


def test_blocks_are_refused_where_cublas_has_none() -> None:
    with pytest.raises(ProgrammeError, match=r"compute capability 9\.0 alone"):
        backends(plan(recipe="blockwise", gradient="e4m3"), Machine("cuda", (10, 0)), model(128, 256))
    assert backends(plan(recipe="rowwise"), Machine("cuda", (10, 0))) == {"torch"}


def test_a_library_without_the_recipe_is_refused() -> None:
    with pytest.raises(ProgrammeError, match="transformer_engine has no recipe rowwise"):
        backends(plan(backend="transformer_engine", recipe="rowwise"), H100)


@pytest.mark.skipif(importlib.util.find_spec("transformer_engine") is not None, reason="TransformerEngine is installed")
def test_a_library_that_is_missing_is_refused_with_its_install_line() -> None:
    with pytest.raises(MissingExtra, match="pip install 'transformer-engine"):
        backends(plan(backend="transformer_engine"), H100)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
@pytest.mark.parametrize("weight_gradient", ["bf16", "fp8"])
def test_torchaos_layer_gives_what_ours_gives(recipe: str, weight_gradient: str) -> None:
    """Both emulate here; the same scales, so the same FP8 numbers: results are off by sums' order and bf16's rounding."""
    found = []
    for backend in ("emulated", "torchao"):
        torch.manual_seed(1)
        made = nn.Sequential(nn.Linear(64, 32, bias=False)).to(torch.bfloat16)
        names = [name for name, _ in made.named_parameters()]
        apply_fp8(made, plan(backend=backend, recipe=recipe, gradient="e4m3", weight_gradient=weight_gradient))
        assert [name for name, _ in made.named_parameters()] == names
        x = torch.randn(16, 64, dtype=torch.bfloat16, requires_grad=True)
        y = made(x)
        y.backward(torch.randn_like(y))
        found.append([y, x.grad, made[0].weight.grad])
    bounds = (0.01, 0.01, 0.1 if weight_gradient == "fp8" and recipe == "rowwise" else 0.01)
    for ours, theirs, bound in zip(*found, bounds, strict=True):
        assert (ours.float() - theirs.float()).norm() <= bound * theirs.float().norm()


def test_the_policy_tells_of_every_module_with_parameters_why_it_is_not_fp8() -> None:
    made = model()
    rows = policy(made, plan(modules=("*",), exclude=("2",)), "bf16", H100)
    told = {row.name: (row.kind, row.format, row.backend, row.why) for row in rows}
    assert told["0"] == ("Linear", "fp8 e4m3/e5m2", "torch", "")
    assert told["1"][:3] == ("LayerNorm", "bf16", None) and "no product of a weight" in told["1"][3]
    assert told["2"] == ("Linear", "bf16", None, "excluded by '2'")
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in made.parameters())


def test_the_command_tells_the_whole_model_and_refuses_unknown_names() -> None:
    programme = load_programme("w26")
    found = describe_precision(programme, "10b", "main", H100)
    by_name = {row["name"]: row for row in found["modules"]}
    assert by_name["model.layers.31.mlp.experts"]["backend"] == "triton"
    assert by_name["model.layers.31.self_attn.q_proj"]["backend"] == "torch"
    assert by_name["lm_head"]["backend"] is by_name["model.layers.0.mlp.gate"]["backend"] is None
    assert found["parameters_in_fp8"] == sum(row["parameters"] for row in found["modules"] if row["backend"])
    text = "\n".join(precision_lines(found))
    assert "model.layers.*.mlp.experts" in text and "× 32" in text and "excluded by 'audio_tower.*'" in text
    with pytest.raises(UsageError, match="runs of it: main"):
        describe_precision(programme, "10b", "1b", H100)
    with pytest.raises(UsageError, match="no compute capability"):
        machine_of("hopper")
    assert machine_of("9.0") == H100


DENSE = {"dense_layers": (0,), "dense_inner": 48}


def built(shape: dict[str, Any] | None = None, **fp8: Any) -> tuple[Built, Any]:
    run = tiny_run(precision={"fp8": {"modules": ("*_proj", "*.experts"), **fp8}})
    made = build(tiny_config(**(shape or {})), run, Ranks(0, 1), CPU)
    batches = [to_tensors(batch, CPU, made.dtype) for batch in CountingSource(run).rank_batch(0, 0, 1)]
    return made, batches


def test_counts_are_taken_by_module_and_tensor_while_they_are_on() -> None:
    made, batches = built()
    forward_backward(made.parts, batches)
    assert take_counts(made.model) == {}
    count(made.model, True)
    forward_backward(made.parts, batches)
    taken = take_counts(made.model)
    assert set(taken) == set(made.fp8_modules)
    assert set(taken["model.layers.0.self_attn.q_proj"]) == {"input", "weight", "gradient"}
    experts = taken["model.layers.0.mlp.experts"]
    assert set(experts) == {"input", "hidden", "gate_up", "down", "gradient", "gate_up_gradient"}
    for counts in experts.values():
        values, zeros, top = counts.tolist()
        assert 0 <= zeros < values and 0 < top < values
    assert take_counts(made.model) == {}
    count(made.model, False)
    forward_backward(made.parts, batches)
    assert take_counts(made.model) == {}


def test_counting_changes_no_bit() -> None:
    losses = []
    for on in (False, True):
        made, batches = built()
        count(made.model, on)
        losses.append((forward_backward(made.parts, batches).loss, made.model.lm_head.weight.grad))
    assert torch.equal(losses[0][0], losses[1][0]) and torch.equal(losses[0][1], losses[1][1])


def test_a_module_falls_back_after_so_many_counts_in_a_row_and_says_why() -> None:
    rule = FallbackRule(Fp8FallbackPlan(zeros_share=0.1, saturated_share=0.2, counts=2))
    high, low = {"input": (0.5, 0.0)}, {"input": (0.05, 0.1)}
    assert rule.observe({"a": high, "b": low}) == {}
    assert rule.observe({"a": low, "b": low}) == {}
    assert rule.observe({"a": high, "b": {"gradient": (0.0, 0.3)}}) == {}
    fallen = rule.observe({"a": high, "b": {"gradient": (0.0, 0.3)}})
    assert fallen == {
        "a": "50.0% of input came out as zero (at most 10.0%) in 2 counts",
        "b": "30.0% of gradient is at the format's largest (at most 20.0%) in 2 counts",
    }
    assert FallbackRule(Fp8FallbackPlan(counts=1)).observe({"a": {"input": (float("nan"), 0.0)}}).keys() == {"a"}


def test_a_module_that_was_switched_off_multiplies_as_if_it_had_never_been_fp8() -> None:
    made, batches = built()
    names = list(fp8_modules(made.model))
    assert switch_off(made.model, [*names, "gone"]) == names and switch_off(made.model, names) == []
    assert switched_off(made.model) == names
    plain_run = tiny_run(precision={"fp8": {"modules": ()}})
    exact = build(tiny_config(), plain_run, Ranks(0, 1), CPU)
    assert torch.equal(forward_backward(made.parts, batches).loss, forward_backward(exact.parts, batches).loss)
    count(made.model, True)
    forward_backward(made.parts, batches)
    assert take_counts(made.model) == {}


def test_a_dense_mlp_with_scales_of_rows_multiplies_as_one_near_its_three_layers() -> None:
    joined, _ = built(DENSE, recipe="rowwise", gradient="e4m3", weight_gradient="fp8", scales="power_of_two")
    mlp = joined.model.get_submodule("model.layers.0.mlp")
    assert isinstance(mlp, Fp8DenseMLP)
    count(joined.model, True)
    x = torch.randn(2, 16, 32, requires_grad=True)
    together = [mlp(x)[0]]
    together += torch.autograd.grad(together[0].sum(), [x, *mlp.parameters()])
    taken = take_counts(joined.model)
    assert {name.rpartition(".")[2] for name in taken} == {"gate_proj", "up_proj", "down_proj"}
    assert all(set(found) == {"input", "weight", "gradient"} for found in taken.values())
    mlp.__class__ = DenseMLP
    apart = [mlp(x)[0]]
    apart += torch.autograd.grad(apart[0].sum(), [x, *mlp.parameters()])
    for one, three in zip(together, apart, strict=True):
        assert (one - three).norm() <= 0.1 * three.norm()
    mlp.__class__ = Fp8DenseMLP
    switch_off(joined.model, ["model.layers.0.mlp.up_proj"])
    assert (mlp(x)[0] - apart[0]).norm() <= 0.1 * apart[0].norm()


def test_projections_of_one_input_multiply_as_one_near_three_layers() -> None:
    made, batches = built(recipe="rowwise", gradient="e4m3", weight_gradient="fp8", scales="power_of_two")
    attention = made.model.get_submodule("model.layers.0.self_attn")
    assert isinstance(attention, Fp8DecoderAttention)
    together = float(forward_backward(made.parts, batches).loss)
    for layer in made.model.modules():
        if isinstance(layer, Fp8DecoderAttention):
            layer.__class__ = DecoderAttention
    apart = float(forward_backward(made.parts, batches).loss)
    assert together == pytest.approx(apart, rel=1e-3)
    exact, _ = built(recipe="rowwise")
    assert type(exact.model.get_submodule("model.layers.0.self_attn")) is DecoderAttention


def test_a_dense_mlp_of_other_recipes_keeps_its_layers() -> None:
    made, _ = built(DENSE, recipe="tensorwise")
    assert type(made.model.get_submodule("model.layers.0.mlp")) is DenseMLP

"""bf16, and FP8 by policy: which modules, that they multiply what they should, and that training points the same way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expedition.errors import ProgrammeError
from expedition.kernels.quantize import Quantized, dequantize, quantize_rows, quantize_tensor
from expedition.parallel.mesh import Ranks
from expedition.plan.precision import Fp8Plan, PrecisionPlan
from expedition.train.batches import to_tensors
from expedition.train.fp8.layers import Fp8Experts, Fp8Linear
from expedition.train.objective import forward_backward
from expedition.train.precision import apply_fp8
from expedition.train.setup import build
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


def seen(value: torch.Tensor, format_name: str, rows: bool) -> torch.Tensor:
    """What a product sees of `value`."""
    rounded: Quantized = (quantize_rows if rows else quantize_tensor)(value, format_name)
    return dequantize(rounded, value.dtype)


@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
def test_a_layer_multiplies_quantised_factors_and_keeps_weight_gradients_exact(recipe: str) -> None:
    plan = Fp8Plan(modules=("0",), exclude=(), recipe=recipe)
    model = nn.Sequential(nn.Linear(16, 8, bias=True))
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert apply_fp8(model, plan) == ["0"]
    layer = model[0]
    assert isinstance(layer, Fp8Linear)
    rows = recipe == "rowwise"
    out = model(x)
    expected = F.linear(seen(x, "e4m3", rows), seen(layer.weight, "e4m3", rows), layer.bias)
    assert torch.equal(out, expected)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
    out.backward(gradient)
    torch.testing.assert_close(layer.weight.grad, gradient.t() @ x)
    weight_IO = seen(layer.weight.t().contiguous(), "e4m3", rows)
    assert torch.equal(x.grad, seen(gradient, "e5m2", rows) @ weight_IO.t())


def test_the_policy_chooses_by_name_and_excludes_by_name() -> None:
    run = tiny_run(precision={"fp8": {"modules": ("*_proj", "*.experts"), "exclude": ("*.o_proj",)}})
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    assert "model.layers.0.self_attn.q_proj" in built.fp8_modules
    assert "model.layers.1.mlp.experts" in built.fp8_modules
    assert isinstance(built.model.get_submodule("model.layers.1.mlp.experts"), Fp8Experts)
    assert not [name for name in built.fp8_modules if name.endswith("o_proj") or "lm_head" in name]


def test_a_pattern_that_names_nothing_is_an_error() -> None:
    run = tiny_run(precision={"fp8": {"modules": ("*.q_prj",)}})
    with pytest.raises(ProgrammeError, match="q_prj"):
        build(tiny_config(), run, Ranks(0, 1), CPU)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fallback": {}}, "counters_every"),
        ({"recipe": "blockwise", "weight_gradient": "fp8"}, "recipe tensorwise or rowwise"),
        ({"recipe": "blockwise"}, "gradient: e4m3"),
        ({"forward": "e5m2", "weight_gradient": "fp8"}, "forward: e4m3"),
    ],
)
def test_parts_of_a_policy_that_do_not_go_together_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fp8Plan.model_validate({"modules": ("*",), **wrong})


def gradients(precision: PrecisionPlan) -> tuple[float, dict[str, torch.Tensor]]:
    run = tiny_run(precision=precision)
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    batches = [to_tensors(batch, CPU, built.dtype) for batch in CountingSource(run).rank_batch(0, 0, 1)]
    sums = forward_backward(built.parts, batches)
    named = built.state.optimizer.parameters
    return float(sums.loss), {name: value.grad for name, value in named.items() if value.grad is not None}


FP8: dict[str, Any] = {"modules": ("*_proj", "*.experts")}


@pytest.mark.parametrize(
    ("precision", "loss_bound", "angle_bound"),
    [
        # bf16 has 8 bits: each product is off by at most 2⁻⁸, a dozen of them in a row by a few per cent.
        ({"compute": "bf16"}, 0.02, 0.98),
        # E4M3 factors are off by 2⁻⁴, E5M2 gradients by 2⁻³, in most layers of the decoder.
        ({"fp8": FP8}, 0.1, 0.9),
        ({"fp8": {**FP8, "recipe": "rowwise"}}, 0.1, 0.9),
        ({"fp8": {**FP8, "recipe": "rowwise", "scales": "power_of_two", "weight_gradient": "fp8"}}, 0.1, 0.9),
        ({"compute": "bf16", "fp8": {**FP8, "weight_gradient": "fp8", "gradient": "e4m3"}}, 0.1, 0.9),
    ],
)
def test_lower_precision_points_the_same_way_with_fp32_gradients(
    precision: dict[str, Any], loss_bound: float, angle_bound: float
) -> None:
    exact_loss, exact = gradients(PrecisionPlan())
    loss, low = gradients(PrecisionPlan.model_validate(precision))
    assert loss == pytest.approx(exact_loss, rel=loss_bound)
    assert loss != exact_loss
    if precision.get("compute") != "bf16":
        assert {value.dtype for value in low.values()} == {torch.float32}
    flat = [torch.cat([value.float().flatten() for value in found.values()]) for found in (exact, low)]
    assert float(F.cosine_similarity(*flat, dim=0)) > angle_bound

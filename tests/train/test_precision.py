"""bf16 and emulated FP8."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expedition.errors import ProgrammeError
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import Fp8Plan, PrecisionPlan
from expedition.train.batches import to_tensors
from expedition.train.objective import forward_backward
from expedition.train.precision import Fp8Linear, apply_fp8, quantize
from expedition.train.setup import build
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "bits"), [("e4m3", 3), ("e5m2", 2)])
@pytest.mark.parametrize("rows", [False, True])
def test_rounding_error_is_half_a_unit_of_the_format(name: str, bits: int, rows: bool) -> None:
    value = torch.rand(64, 32, generator=torch.Generator().manual_seed(1)) + 0.5
    error = (quantize(value, name, rows) - value).abs() / value
    # Numbers within a factor of 3 of the largest are normal in both formats: half a unit in the last place of `bits`
    # bits.
    assert float(error.max()) <= 2.0 ** -(bits + 1) * 1.0001
    assert torch.equal(quantize(torch.zeros(3, 2), name, rows), torch.zeros(3, 2))


def test_rowwise_scales_keep_small_rows_that_one_scale_loses() -> None:
    value = torch.tensor([[1e6, 1e6], [1e-3, 2e-3]])
    assert float(quantize(value, "e4m3", rows=False)[1].abs().max()) == 0.0
    torch.testing.assert_close(quantize(value, "e4m3", rows=True)[1], value[1], rtol=0.07, atol=0)


def test_values_that_are_not_finite_stay_so() -> None:
    value = torch.tensor([1.0, float("nan"), 3.0])
    assert not torch.isfinite(quantize(value, "e4m3", rows=False)).all()


@pytest.mark.parametrize("scale", ["tensorwise", "rowwise"])
def test_a_layer_multiplies_quantised_factors_and_keeps_weight_gradients_exact(scale: str) -> None:
    plan = Fp8Plan(modules=("0",), exclude=(), scale=scale)
    model = nn.Sequential(nn.Linear(16, 8, bias=True))
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert apply_fp8(model, plan) == ["0"]
    layer = model[0]
    assert isinstance(layer, Fp8Linear)
    rows = scale == "rowwise"
    out = model(x)
    expected = F.linear(quantize(x, "e4m3", rows), quantize(layer.weight, "e4m3", rows), layer.bias)
    torch.testing.assert_close(out, expected)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
    out.backward(gradient)
    torch.testing.assert_close(layer.weight.grad, gradient.t() @ x)
    weight_IO = quantize(layer.weight.t().contiguous(), "e4m3", rows)
    torch.testing.assert_close(x.grad, quantize(gradient, "e5m2", rows) @ weight_IO.t())


def test_the_policy_chooses_by_name_and_excludes_by_name() -> None:
    run = tiny_run(precision={"fp8": {"modules": ("*_proj", "*.experts"), "exclude": ("*.o_proj",)}})
    names = build(tiny_config(), run, Ranks(0, 1), CPU).fp8_modules
    assert "model.layers.0.self_attn.q_proj" in names
    assert "model.layers.1.mlp.experts" in names
    assert not [name for name in names if name.endswith("o_proj") or "lm_head" in name]


def test_a_pattern_that_names_nothing_is_an_error() -> None:
    run = tiny_run(precision={"fp8": {"modules": ("*.q_prj",)}})
    with pytest.raises(ProgrammeError, match="q_prj"):
        build(tiny_config(), run, Ranks(0, 1), CPU)


def gradients(precision: PrecisionPlan) -> tuple[float, dict[str, torch.Tensor]]:
    run = tiny_run(precision=precision)
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    batches = [to_tensors(batch, CPU, built.dtype) for batch in CountingSource(run).rank_batch(0, 0, 1)]
    sums = forward_backward(built.parts, batches)
    named = built.state.optimizer.parameters
    return float(sums.loss), {name: value.grad for name, value in named.items() if value.grad is not None}


@pytest.mark.parametrize(
    ("precision", "loss_bound", "angle_bound"),
    [
        # bf16 has 8 bits: each product is off by at most 2⁻⁸, a dozen of them in a row by a few per cent.
        (PrecisionPlan(compute="bf16"), 0.02, 0.98),
        # E4M3 factors are off by 2⁻⁴, E5M2 gradients by 2⁻³, in most layers of the decoder.
        (PrecisionPlan(fp8=Fp8Plan(modules=("*_proj", "*.experts"))), 0.1, 0.9),
    ],
)
def test_lower_precision_points_the_same_way_with_fp32_gradients(
    precision: PrecisionPlan, loss_bound: float, angle_bound: float
) -> None:
    exact_loss, exact = gradients(PrecisionPlan())
    loss, low = gradients(precision)
    assert loss == pytest.approx(exact_loss, rel=loss_bound)
    assert loss != exact_loss
    assert {value.dtype for value in low.values()} == {torch.float32}
    flat = [torch.cat([value.flatten() for value in found.values()]) for found in (exact, low)]
    assert float(F.cosine_similarity(*flat, dim=0)) > angle_bound

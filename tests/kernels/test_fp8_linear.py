"""A linear layer in FP8: near the exact one in every direction, and the hardware as the emulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels import fp8_linear
from expedition.kernels.fp8_linear import LinearRecipe, joined_linear_fp8, linear_fp8
from expedition.kernels.fp8_mlp import mlp_fp8
from expedition.kernels.fp8_swiglu import RowRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.scaled_products import has_fp8_products
from tests.kernels.fp8_places import plain, right_rounding

torch.set_num_threads(1)
RECIPES = [("tensorwise", False), ("tensorwise", True), ("rowwise", False), ("rowwise", True), ("blockwise", False)]


@pytest.fixture(autouse=True, scope="module")
def _rounding() -> Iterator[None]:
    with right_rounding():
        yield


def case(rows: int, inputs: int, outputs: int, device: torch.device | str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(rows)
    x = torch.randn(2, rows, inputs, generator=g) * torch.exp2(torch.randn(2, rows, 1, generator=g))
    weight = torch.randn(outputs, inputs, generator=g) / inputs**0.5
    gradient = torch.randn(2, rows, outputs, generator=g) * torch.exp2(3 * torch.randn(2, rows, 1, generator=g))
    return x.to(device, dtype).requires_grad_(), weight.to(device, dtype).requires_grad_(), gradient.to(device, dtype)


def run(tensors: tuple[Tensor, ...], recipe: LinearRecipe, keep: bool = True) -> list[Tensor]:
    x, weight, gradient = tensors
    y = linear_fp8(x, weight, WeightCopies(recipe.forward, recipe.granularity, recipe.power_of_two, keep=keep), recipe)
    return [y, *torch.autograd.grad(y, (x, weight), gradient)]


def worst(got: list[Tensor], want: list[Tensor]) -> float:
    return max(
        float((a.detach().float() - b.detach().float()).norm() / b.detach().float().norm())
        for a, b in zip(got, want, strict=True)
    )


@pytest.mark.parametrize(("granularity", "low"), RECIPES)
@pytest.mark.parametrize("gradient", ["e4m3", "e5m2"])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_every_direction_is_near_the_exact_one(granularity: Any, low: bool, gradient: str, power_of_two: bool) -> None:
    """Two factors, each off by up to 2⁻⁴ (E4M3) or 2⁻³ (E5M2), at random: a tenth is far above, a lost scale far below."""
    x, weight, probe = tensors = case(16, 128, 256, "cpu", torch.float32)
    recipe = LinearRecipe(granularity, "e4m3", gradient, low, power_of_two)
    y = F.linear(x, weight)
    with plain():
        got = run(tensors, recipe)
        again = run(tensors, recipe, keep=False)
    assert worst(got, [y, *torch.autograd.grad(y, (x, weight), probe)]) < 0.1
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))


def test_positions_that_are_no_multiple_of_16_have_exact_weight_gradients() -> None:
    x, _weight, probe = tensors = case(7, 32, 16, "cpu", torch.float32)
    with plain():
        found = run(tensors, LinearRecipe("rowwise", weight_gradient=True))
    torch.testing.assert_close(found[2], probe.flatten(0, 1).t() @ x.flatten(0, 1))


def test_layers_that_read_one_input_share_its_rounded_copy() -> None:
    x = torch.randn(4, 32)
    recipe = LinearRecipe("rowwise")
    first = fp8_linear._shared.get(x, recipe)
    assert fp8_linear._shared.get(x, recipe) is first
    assert fp8_linear._shared.get(x.clone(), recipe) is not first
    second = fp8_linear._shared.get(x, recipe)
    x.mul_(2)
    assert fp8_linear._shared.get(x, recipe) is not second
    assert fp8_linear._shared._made is not None
    del x
    assert fp8_linear._shared._made is None


@pytest.mark.parametrize(("granularity", "low"), RECIPES)
def test_kernels_equal_the_definition(device: torch.device, granularity: Any, low: bool) -> None:
    tensors = case(24, 128, 128, device, torch.float32)
    recipe = LinearRecipe(granularity, "e4m3", "e5m2", low, True, emulated=True)
    with plain():
        want = run(tensors, recipe)
    assert worst(run(tensors, recipe), want) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("granularity", "low"), RECIPES)
@pytest.mark.parametrize("gradient", ["e4m3", "e5m2"])
@pytest.mark.parametrize("rows", [512, 5])
def test_hardware_equals_the_emulation(granularity: Any, low: bool, gradient: str, rows: int) -> None:
    """The same FP8 numbers, any number of rows; results are bf16: 2⁻⁹ at random, and FP8 units that add with 14 bits."""
    if granularity == "blockwise" and gradient == "e5m2":
        pytest.skip("products of blocks take E4M3 alone; the plan refuses it")
    tensors = case(rows, 1024, 384, "cuda", torch.bfloat16)
    if not has_fp8_products(tensors[0]):
        pytest.skip("needs compute capability 9.0")
    recipe = LinearRecipe(granularity, "e4m3", gradient, low, True)
    assert worst(run(tensors, recipe), run(tensors, recipe._replace(emulated=True))) < 0.005


def run_joined(tensors: list[Tensor], recipe: LinearRecipe) -> list[Tensor]:
    x, *weights = tensors
    copies = WeightCopies(recipe.forward, "rowwise", recipe.power_of_two, keep=True)
    parts = joined_linear_fp8(x, (weights[0], weights[1], weights[2]), copies, recipe)
    return [*parts, *torch.autograd.grad(parts, tensors, [torch.cos(part.detach()) for part in parts])]


def joined_case(rows: int, inputs: int, outputs: tuple[int, int, int], device: Any, dtype: torch.dtype) -> list[Tensor]:
    g = torch.Generator().manual_seed(rows)
    weights = [torch.randn(size, inputs, generator=g) / inputs**0.5 for size in outputs]
    x = torch.randn(2, rows, inputs, generator=g)
    return [tensor.to(device, dtype).requires_grad_() for tensor in (x, *weights)]


@pytest.mark.parametrize(("rows", "low"), [(16, True), (16, False), (5, True)])
def test_three_layers_as_one_are_near_the_exact_ones(rows: int, low: bool) -> None:
    x, *weights = tensors = joined_case(rows, 32, (48, 16, 32), "cpu", torch.float32)
    parts = [F.linear(x, weight) for weight in weights]
    with plain():
        found = run_joined(tensors, LinearRecipe("rowwise", "e4m3", "e4m3", low, True))
    want = [*parts, *torch.autograd.grad(parts, tensors, [torch.cos(part.detach()) for part in found[:3]])]
    assert worst(found, want) < 0.1


def test_kernels_of_three_layers_equal_the_definition(device: torch.device) -> None:
    tensors = joined_case(8, 32, (48, 16, 32), device, torch.float32)
    recipe = LinearRecipe("rowwise", "e4m3", "e5m2", True, True, emulated=True)
    with plain():
        want = run_joined(tensors, recipe)
    assert worst(run_joined(tensors, recipe), want) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("gradient", ["e4m3", "e5m2"])
def test_hardware_equals_the_emulation_of_three_layers(gradient: str) -> None:
    tensors = joined_case(128, 256, (384, 128, 128), "cuda", torch.bfloat16)
    if not has_fp8_products(tensors[0]):
        pytest.skip("needs compute capability 9.0")
    recipe = LinearRecipe("rowwise", "e4m3", gradient, True, True)
    assert worst(run_joined(tensors, recipe), run_joined(tensors, recipe._replace(emulated=True))) < 0.02


MLP_RECIPES = [RowRecipe(), RowRecipe(gradient="e5m2"), RowRecipe(weight_gradient=False), RowRecipe(power_of_two=False)]


def mlp_case(rows: int, hidden: int, inner: int, device: torch.device | str, dtype: torch.dtype) -> list[Tensor]:
    g = torch.Generator().manual_seed(rows)
    weights = [
        torch.randn(*shape, generator=g) / shape[1] ** 0.5 for shape in ((inner, hidden),) * 2 + ((hidden, inner),)
    ]
    x = torch.randn(2, rows, hidden, generator=g)
    return [tensor.to(device, dtype).requires_grad_() for tensor in (x, *weights)]


def run_mlp(tensors: list[Tensor], recipe: RowRecipe, keep: bool = True) -> list[Tensor]:
    copies = [WeightCopies(recipe.forward, "rowwise", recipe.power_of_two, keep=keep) for _ in range(2)]
    y = mlp_fp8(*tensors, (copies[0], copies[1]), recipe)
    return [
        y,
        *torch.autograd.grad(y, tensors, torch.cos(torch.arange(y.numel(), device=y.device)).view_as(y).to(y.dtype)),
    ]


@pytest.mark.parametrize("recipe", MLP_RECIPES, ids=str)
@pytest.mark.parametrize("rows", [16, 11])
def test_a_dense_swiglu_is_near_the_exact_one(recipe: RowRecipe, rows: int) -> None:
    """Four roundings on the way, as in the experts' test."""
    x, gate, up, down = tensors = mlp_case(rows, 32, 48, "cpu", torch.float32)
    y = F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
    probe = torch.cos(torch.arange(y.numel())).view_as(y)
    with plain():
        found = run_mlp(tensors, recipe)
        again = run_mlp(tensors, recipe, keep=False)
    assert worst(found, [y, *torch.autograd.grad(y, tensors, probe)]) < 0.2
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("recipe", MLP_RECIPES[:3], ids=str)
def test_kernels_of_a_dense_swiglu_equal_the_definition(device: torch.device, recipe: RowRecipe) -> None:
    tensors = mlp_case(8, 48, 32, device, torch.float32)
    with plain():
        want = run_mlp(tensors, recipe._replace(emulated=True))
    assert worst(run_mlp(tensors, recipe._replace(emulated=True)), want) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", MLP_RECIPES[:3], ids=str)
def test_hardware_equals_the_emulation_of_a_dense_swiglu(recipe: RowRecipe) -> None:
    tensors = mlp_case(256, 256, 512, "cuda", torch.bfloat16)
    if not has_fp8_products(tensors[0]):
        pytest.skip("needs compute capability 9.0")
    assert worst(run_mlp(tensors, recipe), run_mlp(tensors, recipe._replace(emulated=True))) < 0.02

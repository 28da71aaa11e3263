"""Experts in FP8: near the exact ones, kernels as the definition, hardware as the emulation, whatever the routing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import fp8_experts
from expedition.kernels.fp8_experts import ExpertCopies, expert_layer_fp8, expert_products_fp8
from expedition.kernels.fp8_swiglu import Padded, RowRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.grouped_experts import grouped_experts_reference
from expedition.kernels.quantize import quantize_rows
from expedition.kernels.routing import route_reference
from expedition.kernels.scaled_products import grouped_outer as grouped_outer_product
from expedition.kernels.scaled_products import grouped_product, has_fp8_products
from expedition.kernels.scaled_products_triton import grouped, grouped_outer
from expedition.kernels.sorted_rows import expert_rows, expert_weights, sum_rows
from tests.kernels.fp8_places import plain, right_rounding

torch.set_num_threads(1)
NAMES = ("y", "x", "weight", "gate_up", "down")
BEST = RowRecipe()


@pytest.fixture(autouse=True, scope="module")
def _rounding() -> Iterator[None]:
    with right_rounding():
        yield


def case(
    seed: int, tokens: int, experts: int, top_k: int, hidden: int = 32, inner: int = 16, *,
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, used: int | None = None,
) -> list[Tensor]:  # fmt: skip
    """x, ids, weight, gate_up, down; `used`: how many of the experts get tokens."""
    g = torch.Generator().manual_seed(seed)
    among = max(top_k, used or experts)
    ids = torch.stack([torch.randperm(among, generator=g)[:top_k] for _ in range(tokens)]) if tokens else None
    floats = (
        torch.randn(tokens, hidden, generator=g),
        torch.rand(tokens, top_k, generator=g),
        torch.randn(experts, 2 * inner, hidden, generator=g) / hidden**0.5,
        torch.randn(experts, hidden, inner, generator=g) / inner**0.5,
    )
    x, weight, gate_up, down = (t.to(device, dtype).requires_grad_() for t in floats)
    chosen = torch.zeros(0, top_k, dtype=torch.int64) if ids is None else ids
    return [x, chosen.to(device), weight, gate_up, down]


def copies(recipe: RowRecipe, keep: bool = True) -> ExpertCopies:
    made = [WeightCopies(recipe.forward, "rowwise", recipe.power_of_two, keep=keep) for _ in range(2)]
    return ExpertCopies(*made)


def run(tensors: list[Tensor], recipe: RowRecipe, keep: bool = True) -> list[Tensor]:
    return gradients(expert_layer_fp8(*tensors, copies(recipe, keep), recipe), tensors)


def gradients(y: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    probe = torch.cos(torch.arange(y.numel(), device=y.device)).view_as(y).to(y.dtype)
    return [y, *torch.autograd.grad(y, [t for t in tensors if t.requires_grad], probe)]


def near(got: list[Tensor], want: list[Tensor], bound: float) -> None:
    for name, a, b in zip(NAMES, got, want, strict=True):
        assert (a.float() - b.float()).norm() <= bound * b.float().norm().clamp(min=1e-6), name


@pytest.mark.parametrize("recipe", [BEST, BEST._replace(gradient="e5m2"), BEST._replace(weight_gradient=False),
                                    BEST._replace(power_of_two=False)], ids=str)  # fmt: skip
@given(st.integers(0, 1000), st.integers(8, 60), st.integers(2, 9), st.integers(1, 2))
@settings(deadline=None, max_examples=15)
def test_experts_in_fp8_are_near_the_exact_ones(
    recipe: RowRecipe, seed: int, tokens: int, experts: int, top_k: int
) -> None:
    """E4M3 rounds by up to 2⁻⁴, E5M2 by 2⁻³; four roundings on the way, errors add up as squares: about a tenth, and a fifth is seen where few rows make a sum. A row in
    the wrong place, a weight or scale left out gives errors of the size of the result."""
    tensors = case(seed, tokens, experts, top_k, used=experts // 2 + 1)
    with plain():
        got = run(tensors, recipe)
    want = gradients(grouped_experts_reference(*tensors), tensors)
    near(got, want, 0.35)


def test_rows_that_arrive_sorted_give_what_tokens_give() -> None:
    tensors = case(1, 30, 5, 2)
    x, ids, weight, gate_up, down = tensors
    with plain():
        routing = route_reference(ids, 5)
        rows, weight_R = expert_rows(x, routing), expert_weights(weight, routing)
        out = expert_products_fp8(rows, weight_R, routing.counts_E, gate_up, down, copies(BEST), BEST)
        arrived = gradients(sum_rows(out, routing), tensors)
        near(arrived, run(tensors, BEST), 1e-1)
        assert torch.equal(arrived[0], run(tensors, BEST)[0])


def test_copies_that_are_not_kept_give_the_same_bits() -> None:
    tensors = case(2, 20, 4, 2)
    with plain():
        assert all(torch.equal(a, b) for a, b in zip(run(tensors, BEST), run(tensors, BEST, keep=False), strict=True))


def test_no_tokens_give_no_rows_and_zero_gradients() -> None:
    with plain():
        found = run(case(0, 0, 4, 2), BEST)
    assert found[0].shape == (0, 32) and not found[3].any() and not found[4].any()


def test_an_expert_without_rows_gets_a_zero_gradient() -> None:
    with plain():
        found = run(case(3, 25, 6, 2, used=3), BEST)
    assert found[3][:3].any() and not found[3][3:].any() and not found[4][3:].any()


def test_a_gradient_that_is_not_finite_reaches_the_weights() -> None:
    tensors = case(4, 12, 4, 2)
    with plain():
        y = expert_layer_fp8(*tensors, copies(BEST), BEST)
        probe = torch.ones_like(y)
        probe[3, 2] = float("nan")
        found = torch.autograd.grad(y, tensors[3:], probe)
    assert not torch.isfinite(found[0]).all() and not torch.isfinite(found[1]).all()


@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_shapes_without_values(kind: str) -> None:
    """A dry run sees the layer without any data: nothing is read on the host."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    made = [t.detach().bfloat16() if t.is_floating_point() else t for t in case(0, 32, 4, 2, 32, 16)]
    if kind == "meta":
        tensors = [t.to("meta").requires_grad_(t.is_floating_point()) for t in made]
        assert run(tensors, BEST)[3].shape == (4, 32, 32)
        return
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        tensors = [mode.from_tensor(t).requires_grad_(t.is_floating_point()) for t in made]
        assert run(tensors, BEST)[0].shape == (32, 32)


@pytest.mark.parametrize(
    "recipe", [BEST, BEST._replace(gradient="e5m2"), BEST._replace(weight_gradient=False)], ids=str
)
@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "used"), [(21, 5, 2, 5), (1, 4, 1, 4), (33, 6, 1, 1), (40, 9, 3, 4)]
)
def test_kernels_equal_the_definition(
    device: torch.device, recipe: RowRecipe, tokens: int, experts: int, top_k: int, used: int
) -> None:
    """float32, all products emulated: the same FP8 numbers, so sums differ by their order alone."""
    recipe = recipe._replace(emulated=True)
    tensors = case(7, tokens, experts, top_k, 48, 24, device=device, used=used)
    with plain():
        want = run(tensors, recipe)
    near(run(tensors, recipe), want, 1e-4)


@pytest.mark.parametrize("name", ["e4m3", "e5m2"])
@pytest.mark.parametrize("top_k", [0, 2])
def test_grouped_product_equals_the_definition(device: torch.device, name: str, top_k: int) -> None:
    """Groups that end anywhere, an empty one, rows in order or gathered on the way."""
    g = torch.Generator().manual_seed(1)
    a = quantize_rows(torch.randn(80, 64, generator=g).to(device), name, True)
    b = quantize_rows(torch.randn(4, 48, 64, generator=g).to(device), "e4m3", True)
    ends = torch.tensor([10, 10, 47, 80], dtype=torch.int32, device=device)
    choice = (torch.randperm(160, generator=g)[:80].to(device, torch.int32), top_k) if top_k else None
    want = grouped_product(a, b, ends, torch.float32, choice=choice, emulated=True)
    arguments = a.values, a.inverse, b.values, b.inverse, ends, torch.float32
    got = grouped(*arguments, choice=choice, tile=(64, 64, 64))
    # Hopper's FP8 units add with 14 bits and more: 2⁻¹² of the largest.
    assert (got - want).abs().max() <= 2**-12 * want.abs().max()


@pytest.mark.parametrize("name", ["e4m3", "e5m2"])
@pytest.mark.parametrize("heights", [64, 48])
def test_grouped_outer_product_equals_the_definition(device: torch.device, name: str, heights: int) -> None:
    """Every expert has a sum, zeros where it has no row."""
    g = torch.Generator().manual_seed(2)
    a = quantize_rows(torch.randn(heights, 384, generator=g).to(device), name, True).values
    b = quantize_rows(torch.randn(48, 384, generator=g).to(device), "e4m3", True).values
    scale = torch.rand(4, generator=g).to(device) + 0.5
    ends = torch.tensor([128, 128, 256, 384], dtype=torch.int32, device=device)
    want = grouped_outer_product(a, b, scale, ends, torch.float32, emulated=True)
    got = grouped_outer(a, b, scale, ends, torch.float32, tile=(64, 64, 64))
    assert (got - want).abs().max() <= 2**-12 * want.abs().max() and not got[1].any()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=9))
@settings(deadline=None, max_examples=30)
def test_columns_of_turned_rows_have_each_row_once_and_begin_at_blocks(counts: list[int]) -> None:
    check_columns(counts, "cpu")


@given(st.lists(st.integers(0, 300), min_size=1, max_size=9))
@settings(deadline=None, max_examples=10)
def test_the_kernel_places_columns_so_too(device: torch.device, counts: list[int]) -> None:
    check_columns(counts, device)


def check_columns(counts: list[int], device: torch.device | str) -> None:
    ends = torch.tensor(counts, device=device).cumsum(0, dtype=torch.int32)
    rows = int(ends[-1])
    order = torch.arange(rows, dtype=torch.int32, device=device)
    columns, aligned = fp8_experts._aligned(Padded(order, order.unsqueeze(1), ends))
    begins = [0, *aligned.tolist()[:-1]]
    assert all(begin % 128 == 0 for begin in begins)
    found = columns.row_Q.tolist()
    want = torch.tensor(counts).cumsum(0).tolist()
    for begin, end, count in zip(begins, want, counts, strict=True):
        assert found[begin : begin + count] == list(range(end - count, end))
    assert found.count(-1) == len(found) - rows


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("gradient", ["e4m3", "e5m2"])
@pytest.mark.parametrize("weight_gradient", [True, False])
@pytest.mark.parametrize("used", [3, 16])
def test_hardware_equals_the_emulation(gradient: str, weight_gradient: bool, used: int) -> None:
    """The same FP8 numbers in bf16 products: results differ by their rounding to 8 bits, and by values that another
    rounding of the step before sent to the neighbouring FP8 number."""
    tensors = case(2, 777, 16, 3, 256, 128, device="cuda", dtype=torch.bfloat16, used=used)
    if not has_fp8_products(tensors[0]):
        pytest.skip("needs compute capability 9.0")
    recipe = RowRecipe("e4m3", gradient, weight_gradient)
    real = run(tensors, recipe)
    near(real, run(tensors, recipe._replace(emulated=True)), 0.02)
    assert all(torch.equal(a, b) for a, b in zip(real, run(tensors, recipe), strict=True))

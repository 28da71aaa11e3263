"""The experts' kernels for Hopper, each against float32 products expert by expert; and the plan of their tiles."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import expert_layer, expert_rows, expert_weights, hopper_check, hopper_layer, route, sum_rows
from expedition.kernels.grouped_experts import grouped_experts_reference
from expedition.kernels.hopper_check import fits, largest_error, layer_error, layer_of_one_expert
from expedition.kernels.hopper_rows import Tiles, hidden_and_act, plan_tiles, product
from expedition.kernels.hopper_weights import weight_gradient

ROWS = 128


def test_the_layer_that_the_check_compares_with_is_the_definition() -> None:
    g = torch.Generator().manual_seed(0)
    x, weight, gate_up, down, grad = (
        torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((9, 6), (9, 1), (8, 6), (6, 4), (9, 6))
    )
    leaves = [x, weight, gate_up[None], down[None]]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    y = grouped_experts_reference(leaves[0], torch.zeros(9, 1, dtype=torch.int64), leaves[1], leaves[2], leaves[3])
    grads = torch.autograd.grad(y, leaves, grad)
    expected = [y, grads[0], grads[1], grads[2][0], grads[3][0]]
    for got, want in zip(layer_of_one_expert(x, weight, gate_up, down, grad), expected, strict=True):
        torch.testing.assert_close(got, want)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=70))
def test_tiles_cover_every_row_once(device: torch.device, counts: list[int]) -> None:
    ends = torch.tensor(counts, device=device).cumsum(0, dtype=torch.int32)
    tiles = plan_tiles(ends, sum(counts))
    number = int(tiles.number)
    starts = [0, *ends.tolist()][:-1]
    expected = [(e, starts[e] + row) for e, count in enumerate(counts) for row in range(0, count, ROWS)]
    assert list(zip(tiles.expert_M[:number].tolist(), tiles.row_M[:number].tolist(), strict=True)) == expected
    heavy = tiles.heavy_E.tolist()
    assert sorted(heavy) == list(range(len(counts)))
    assert [counts[e] for e in heavy] == sorted(counts, reverse=True)


class Case(NamedTuple):
    """Random tensors of a layer, and its routing: T tokens choose among the first `used` experts."""

    x: Tensor
    weight: Tensor
    gate_up: Tensor
    down: Tensor
    grad: Tensor
    ids: Tensor


SIZES = [  # tokens, top_k, experts, hidden, inner, used
    pytest.param((300, 2, 5, 128, 64, 4), id="an-empty-expert"),
    pytest.param((1, 1, 3, 64, 64, 3), id="one-token"),
    pytest.param((128, 1, 4, 256, 256, 1), id="all-to-one"),
    pytest.param((513, 2, 70, 320, 192, 70), id="no-multiple-of-a-tile"),
    pytest.param((1000, 8, 64, 512, 1216, 64), id="wide"),
]


def make(sizes: tuple[int, int, int, int, int, int]) -> Case:
    tokens, top_k, experts, hidden, inner, used = sizes
    g = torch.Generator(device="cuda").manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, device="cuda", generator=g).mul_(scale).bfloat16()

    return Case(
        x=normal(tokens, hidden),
        weight=torch.rand(tokens, top_k, device="cuda", generator=g).bfloat16(),
        gate_up=normal(experts, 2 * inner, hidden, scale=hidden**-0.5),
        down=normal(experts, hidden, inner, scale=inner**-0.5),
        grad=normal(tokens, hidden),
        ids=torch.rand(tokens, used, device="cuda", generator=g).topk(top_k, 1).indices,
    )


class Sorted(NamedTuple):
    """A case's rows in expert order."""

    order: Tensor
    top_k: int
    expert: Tensor
    weight: Tensor
    ends: Tensor
    tiles: Tiles


def sort(case: Case) -> Sorted:
    experts = case.gate_up.shape[0]
    routing = route(case.ids, experts)
    ends = routing.counts_E.cumsum(0, dtype=torch.int32)
    order = routing.order_R.long()
    tiles = plan_tiles(ends, order.numel())
    top_k = case.ids.shape[1]
    return Sorted(routing.order_R, top_k, case.ids.flatten()[order], case.weight.flatten()[order], ends, tiles)


def by_expert(rows: Tensor, stack: Tensor, expert: Tensor) -> Tensor:
    return torch.cat([rows[expert == e].float() @ stack[e].float() for e in range(stack.shape[0])])


def near(got: Tensor, expected: Tensor) -> bool:
    """bf16 results of float32 sums: two roundings of 2⁻⁹ and one of an input, of the largest entry."""
    return bool((got.float() - expected.float()).abs().max() <= 0.012 * expected.float().abs().max().clamp(min=1e-3))


hopper = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != 9, reason="needs a Hopper device"
)


@pytest.mark.gpu
@hopper
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("gathered", [True, False])
def test_hopper_products_equal_float32(sizes: tuple[int, int, int, int, int, int], gathered: bool) -> None:
    case = make(sizes)
    rows = sort(case)
    x = case.x[rows.order.long() // rows.top_k]
    order, top_k = (rows.order, rows.top_k) if gathered else (None, 1)
    hidden = by_expert(x, case.gate_up.transpose(1, 2), rows.expert).bfloat16()
    gate, up = hidden.float().chunk(2, dim=1)
    act = gate * gate.sigmoid() * up * rows.weight.float()[:, None]
    got_hidden, got_act = hidden_and_act(
        case.x if gathered else x, order, top_k, rows.weight, rows.ends, rows.tiles, case.gate_up
    )
    assert near(got_hidden, hidden) and near(got_act, act)
    act = act.bfloat16()
    got = product(act, rows.ends, rows.tiles, case.down, transposed=True)
    assert near(got, by_expert(act, case.down.transpose(1, 2), rows.expert))
    got = product(hidden, rows.ends, rows.tiles, case.gate_up, transposed=False)
    assert near(got, by_expert(hidden, case.gate_up, rows.expert))


@pytest.mark.gpu
@hopper
@pytest.mark.parametrize("sizes", SIZES)
def test_hopper_weight_gradients_equal_float32(sizes: tuple[int, int, int, int, int, int]) -> None:
    """An expert without a row has a gradient of zeros."""
    case = make(sizes)
    rows = sort(case)
    left = torch.randn(rows.order.numel(), 2 * sizes[4], device="cuda").bfloat16()
    right = case.x[rows.order.long() // rows.top_k]
    expected = torch.stack(
        [left[rows.expert == e].float().t() @ right[rows.expert == e].float() for e in range(sizes[2])]
    )
    got = weight_gradient(left, right, rows.ends, rows.tiles.heavy_E)
    assert near(got, expected)
    assert not got[torch.bincount(rows.expert, minlength=sizes[2]) == 0].any()


def parts(ends: Tensor) -> list[slice]:
    return [slice(start, end) for start, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)]


def plain_product(rows: Tensor, ends: Tensor, _: Tiles, stack: Tensor, transposed: bool) -> Tensor:
    stack = stack.transpose(1, 2) if transposed else stack
    return torch.cat([rows[p].float() @ stack[e].float() for e, p in enumerate(parts(ends))]).to(rows.dtype)


def plain_hidden_and_act(
    x: Tensor, order: Tensor | None, top_k: int, weight: Tensor, ends: Tensor, tiles: Tiles, gate_up: Tensor
) -> tuple[Tensor, Tensor]:
    hidden = plain_product(x if order is None else x[order.long() // top_k], ends, tiles, gate_up, True)
    gate, up = hidden.float().chunk(2, dim=1)
    return hidden, (gate * gate.sigmoid() * up * weight.float()[:, None]).to(x.dtype)


def plain_weight_gradient(left: Tensor, right: Tensor, ends: Tensor, _: Tensor) -> Tensor:
    return torch.stack([left[p].float().t() @ right[p].float() for p in parts(ends)]).to(left.dtype)


def with_plain_kernels(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Plain torch in the kernels' places: what is left is the code around them."""
    monkeypatch.setattr(module, "plan_tiles", lambda ends, rows: Tiles(ends, ends, ends, ends))
    monkeypatch.setattr(module, "product", plain_product)
    monkeypatch.setattr(module, "hidden_and_act", plain_hidden_and_act)
    monkeypatch.setattr(module, "weight_gradient", plain_weight_gradient)


def through_products(x: Tensor, ids: Tensor, weight: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    routing = route(ids, gate_up.shape[0])
    rows, weight_R = expert_rows(x, routing), expert_weights(weight, routing)
    return sum_rows(hopper_layer.HopperProducts.apply(rows, weight_R, routing.counts_E, gate_up, down), routing)


def as_layer(x: Tensor, ids: Tensor, weight: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    y: Tensor = hopper_layer.HopperLayer.apply(x, weight, *route(ids, gate_up.shape[0]), gate_up, down)
    return y


@pytest.mark.parametrize("way", [as_layer, through_products], ids=["layer", "products"])
def test_order_of_the_kernels_equals_the_definition(
    monkeypatch: pytest.MonkeyPatch, way: Callable[..., Tensor]
) -> None:
    """float32: value and every gradient to 1e-5 of the largest entry."""
    with_plain_kernels(monkeypatch, hopper_layer)
    g = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randperm(4, generator=g)[:2] for _ in range(30)])  # the fifth expert has no row
    shapes = ((30, 16), (30, 2), (5, 16, 16), (5, 16, 8))
    results = []
    for compute in (way, grouped_experts_reference):
        g.manual_seed(1)
        x, weight, gate_up, down = (torch.randn(*shape, generator=g).requires_grad_() for shape in shapes)
        y = compute(x, ids, weight, gate_up, down)
        probe = torch.cos(torch.arange(y.numel())).view_as(y)
        results.append([y, *torch.autograd.grad((y * probe).sum(), (x, weight, gate_up, down))])
    for got, expected in zip(*results, strict=True):
        assert (got - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=10)


@pytest.mark.parametrize("wrong", [0.0, 10.0, float("nan")])
def test_the_check_finds_wrong_results(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """Sums of 400 products reach some tens: ten in one entry is more than the tolerance, and so is no number."""
    with_plain_kernels(monkeypatch, hopper_check)

    def broken(left: Tensor, right: Tensor, ends: Tensor, heavy: Tensor) -> Tensor:
        found = plain_weight_gradient(left, right, ends, heavy)
        found[0, 0, 0] += wrong
        return found

    monkeypatch.setattr(hopper_check, "weight_gradient", broken)
    assert (largest_error(torch.device("cpu")) <= hopper_check._TOLERANCE) == (wrong == 0.0)


@pytest.mark.gpu
@hopper
def test_the_check_passes_on_hopper() -> None:
    assert hopper_check.works(torch.cuda.current_device())


@pytest.mark.gpu
@hopper
@pytest.mark.parametrize("sizes", SIZES)
def test_hopper_layer_equals_the_definition_and_repeats(sizes: tuple[int, int, int, int, int, int]) -> None:
    """Value and every gradient, bf16 against float32: several roundings on the way; twice the same bits."""
    case = make(sizes)
    assert fits(case.x, case.gate_up, case.down)
    results = []
    for way, dtype in ((expert_layer, None), (expert_layer, None), (grouped_experts_reference, torch.float32)):
        x, weight, gate_up, down = (t.to(dtype or t.dtype).clone().requires_grad_() for t in case[:4])
        y = way(x, case.ids, weight, gate_up, down)
        results.append([y, *torch.autograd.grad(y, (x, weight, gate_up, down), case.grad.to(y.dtype))])
    for got, again, expected in zip(*results, strict=True):
        assert torch.equal(got, again)
        assert (got.float() - expected).abs().max() <= 0.03 * expected.abs().max().clamp(min=1e-3)


@pytest.mark.gpu
@hopper
def test_hopper_layer_never_waits_for_the_device() -> None:
    case = make((256, 2, 8, 128, 128, 8))
    leaves = [t.requires_grad_() for t in case[:4]]
    expert_layer(leaves[0], case.ids, *leaves[1:]).backward(case.grad)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        expert_layer(leaves[0], case.ids, *leaves[1:]).backward(case.grad)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@hopper
def test_a_layer_with_all_tokens_at_one_expert_is_right_and_repeats() -> None:
    assert layer_error(torch.device("cuda", torch.cuda.current_device())) <= 0.03

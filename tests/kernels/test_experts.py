"""Grouped experts: every way equals the definition, in value and gradient, whatever the routing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import expert_layer, expert_products, expert_rows, expert_weights, route, sum_rows
from expedition.kernels.grouped_experts import Recomputed, _grouped, _layer, grouped_experts_reference

Way = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def case(seed: int, tokens: int, experts: int, top_k: int, hidden: int = 16, inner: int = 8) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    used = max(top_k, experts // 2 + seed % 2)  # half of the experts get nothing
    ids = torch.stack([torch.randperm(used, generator=g)[:top_k] for _ in range(tokens)])
    floats = [
        torch.randn(tokens, hidden, generator=g),
        torch.rand(tokens, top_k, generator=g),
        torch.randn(experts, 2 * inner, hidden, generator=g),
        torch.randn(experts, hidden, inner, generator=g),
    ]
    x, weight, gate_up, down = (t.requires_grad_() for t in floats)
    return [x, ids, weight, gate_up, down]


def through(products: Way) -> Way:
    """All experts in one place: sort, multiply, sum."""

    def way(x: Tensor, ids: Tensor, weight: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        routing = route(ids, gate_up.shape[0])
        rows, weight_R = expert_rows(x, routing), expert_weights(weight, routing)
        return sum_rows(products(rows, weight_R, routing.counts_E, gate_up, down), routing)

    return way


grouped_experts = through(expert_products)


def run(way: Way, tensors: list[Tensor]) -> list[Tensor]:
    """Value and gradients of x, weights, gate_up, down."""
    y = way(*tensors)
    probe = torch.cos(torch.arange(y.numel())).view_as(y)
    return [y, *torch.autograd.grad((y * probe).sum(), [t for t in tensors if t.requires_grad])]


def layer(recompute: Recomputed) -> Way:
    """The layer as one function."""

    def way(x: Tensor, ids: Tensor, weight: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        return _layer(x, weight, route(ids, gate_up.shape[0]), gate_up, down, recompute)

    return way


WAYS = {"loop": expert_layer, "grouped": through(_grouped)} | {
    f"layer-{kind}": layer(kind) for kind in ("both", "rows", "act", "none")
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(2, 9), st.integers(1, 2))
def test_experts_equal_reference(way: Way, seed: int, tokens: int, experts: int, top_k: int) -> None:
    """float32, terms up to some tens (silu · up · weight) that may cancel: 1e-4 or 1e-5 of the largest entry.

    A token sent to another expert, or a weight left out, changes entries by more than 0.1.
    """
    tensors = case(seed, tokens, experts, top_k)
    for got, expected in zip(run(way, tensors), run(grouped_experts_reference, tensors), strict=True):
        assert (got - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=10)


def test_experts_repeat_bit_for_bit() -> None:
    tensors = case(3, 500, 8, 2)
    first, again = run(grouped_experts, tensors), run(grouped_experts, tensors)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_loop_of_the_layer_equals_its_parts_bit_for_bit() -> None:
    tensors = case(5, 60, 6, 2)
    whole, parts = run(expert_layer, tensors), run(grouped_experts, tensors)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_layer_refuses_a_second_backward() -> None:
    tensors = case(0, 8, 4, 2)
    y = layer("both")(*tensors)
    y.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="runs once"):
        y.sum().backward()


def test_gradient_equals_finite_difference() -> None:
    tensors = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in case(1, 6, 4, 2, 4, 3)]
    assert torch.autograd.gradcheck(grouped_experts, tensors)


def test_no_tokens_give_no_rows_and_zero_gradients() -> None:
    tensors = case(0, 1, 4, 2)
    empty = [tensors[0][:0], tensors[1][:0], tensors[2][:0], tensors[3], tensors[4]]
    y = grouped_experts(*empty)
    y.sum().backward()
    assert y.shape == (0, 16) and tensors[3].grad is not None and not tensors[3].grad.any()


@pytest.mark.parametrize("device", ["meta", "fake"])
def test_shapes_without_values(device: str) -> None:
    """A dry run sees the products without any data: nothing is read on the host."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    def bf16() -> list[Tensor]:
        made = case(0, 32, 4, 2)
        return [(t.detach().bfloat16().requires_grad_() if t.is_floating_point() else t) for t in made]

    if device == "meta":
        tensors = [t.detach().to("meta").requires_grad_(t.requires_grad) for t in bf16()]
        assert grouped_experts(*tensors).shape == (32, 16)
        assert expert_layer(*tensors).shape == (32, 16)
        return
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        tensors = [mode.from_tensor(t) for t in bf16()]
        for way in (grouped_experts, expert_layer):
            y = way(*tensors)
            y.sum().backward()
            assert y.shape == (32, 16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_bf16_equals_float32_reference() -> None:
    """bf16 keeps 8 bits: three roundings on the way, sums in float32: errors of about 2⁻⁷ of the largest entry."""
    tensors = case(2, 256, 8, 2, hidden=64, inner=32)
    on_device = [t.detach().cuda() for t in tensors]
    half = [t.bfloat16().requires_grad_() if t.is_floating_point() else t for t in on_device]
    full = [t.detach().float().requires_grad_() if t.is_floating_point() else t for t in half]
    y, expected = expert_layer(*half), grouped_experts_reference(*full)
    y.sum().backward()
    expected.sum().backward()
    for got, want in ((y, expected), *((h.grad, f.grad) for h, f in zip(half, full, strict=True) if h.requires_grad)):
        assert (got.float() - want).abs().max() <= 0.02 * want.abs().max()

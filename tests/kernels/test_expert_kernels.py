"""The experts' kernels, each against its plain torch: routing, rows to and fro, SwiGLU, the router's choice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import counts_by_expert, expert_rows, route, sum_rows, top_experts
from expedition.kernels.gather_rows import gather_rows
from expedition.kernels.routing import Routing, route_reference
from expedition.kernels.sum_rows import gather_sum
from expedition.kernels.swiglu import weighted_swiglu, weighted_swiglu_gradient
from expedition.kernels.top_experts import top_experts_reference

SHAPES = st.tuples(st.integers(0, 999), st.integers(1, 40), st.integers(2, 70), st.integers(1, 3))
FEW = settings(deadline=None, max_examples=8)


def chosen(seed: int, tokens: int, experts: int, top_k: int, used: int | None = None) -> Tensor:
    """Distinct experts for each token, of the first `used`."""
    g = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(used or experts, generator=g)[: min(top_k, experts)] for _ in range(tokens)])


@FEW
@given(SHAPES)
def test_route_equals_a_stable_sort(device: torch.device, shape: tuple[int, int, int, int]) -> None:
    ids = chosen(*shape).to(device)
    for got, expected in zip(route(ids, shape[2]), route_reference(ids, shape[2]), strict=True):
        assert torch.equal(got.long(), expected.long())


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "used"), [(300, 64, 1, 1), (67, 200, 4, None), (128, 64, 8, 8), (1, 128, 8, None)]
)
def test_route_of_uneven_loads(device: torch.device, tokens: int, experts: int, top_k: int, used: int | None) -> None:
    """All to one expert, most experts empty, more choices than a block holds, one token."""
    ids = chosen(1, tokens, experts, top_k, used).to(device)
    for got, expected in zip(route(ids, experts), route_reference(ids, experts), strict=True):
        assert torch.equal(got.long(), expected.long())


@FEW
@given(SHAPES)
def test_counts_leave_padding_out(device: torch.device, shape: tuple[int, int, int, int]) -> None:
    ids = chosen(*shape)
    real = torch.rand(ids.shape[0], generator=torch.Generator().manual_seed(shape[0])) > 0.4
    expected = torch.bincount(ids[real].flatten(), minlength=shape[2])
    assert torch.equal(counts_by_expert(ids.to(device), real.to(device), shape[2]).cpu(), expected)


def test_counts_without_values_have_a_shape() -> None:
    ids, real = torch.zeros(4, 2, dtype=torch.int64, device="meta"), torch.ones(4, dtype=torch.bool, device="meta")
    assert counts_by_expert(ids, real, 6).shape == (6,)


@FEW
@given(SHAPES, st.sampled_from([1, 24, 130]), st.integers(0, 3))
def test_rows_go_and_come_back(
    device: torch.device, shape: tuple[int, int, int, int], hidden: int, without: int
) -> None:
    """Also where the last rows are left out: such choices bring nothing. Sums of at most three float32: 1e-5."""
    ids = chosen(*shape)
    order, place, counts = route_reference(ids, shape[2])
    rows = max(0, order.numel() - without)
    routing = Routing(order[:rows].to(device), place.clamp(max=rows).to(device), counts.to(device))
    g = torch.Generator().manual_seed(shape[0])
    x, out = torch.randn(ids.shape[0], hidden, generator=g), torch.randn(rows, hidden, generator=g)
    assert torch.equal(gather_rows(x.to(device), *routing[:2]).cpu(), x[order[:rows] // ids.shape[1]])
    expected = torch.cat((out, torch.zeros(1, hidden)))[place.clamp(max=rows)].double().sum(1)
    assert torch.allclose(gather_sum(out.to(device), routing.place_TK).cpu().double(), expected, atol=1e-5)
    leaf = x.to(device).requires_grad_()
    sum_rows(expert_rows(leaf, routing), routing).sum().backward()
    assert leaf.grad is not None
    assert torch.allclose(leaf.grad.cpu()[:, 0], (place < rows).sum(1).float())


@FEW
@given(st.integers(0, 999), st.integers(1, 9), st.sampled_from([1, 8, 96, 300]))
def test_weighted_swiglu_equals_float64(device: torch.device, seed: int, rows: int, inner: int) -> None:
    """Value and all gradients; float32 terms of some units, summed over at most 300: 1e-4."""
    g = torch.Generator().manual_seed(seed)
    hidden, weight, grad = (torch.randn(*size, generator=g) for size in ((rows, 2 * inner), (rows,), (rows, inner)))
    leaves = [hidden.double().requires_grad_(), weight.double().requires_grad_()]
    gate, up = leaves[0].chunk(2, dim=-1)
    act = torch.nn.functional.silu(gate) * up * leaves[1][:, None]
    grad_hidden, grad_weight = torch.autograd.grad((act * grad).sum(), leaves)
    moved = [t.to(device) for t in (hidden, weight, grad)]
    assert torch.allclose(weighted_swiglu(*moved[:2]).cpu().double(), act, atol=1e-4)
    got = weighted_swiglu_gradient(*moved)
    for value, expected in zip(got, (grad_hidden, act, grad_weight), strict=True):
        assert torch.allclose(value.cpu().double(), expected, atol=1e-4)


@FEW
@given(SHAPES)
def test_top_experts_equal_torch(device: torch.device, shape: tuple[int, int, int, int]) -> None:
    """Logits that differ, so that the choice is one; weights and gradients to float32 rounding."""
    seed, tokens, experts, top_k = shape
    top_k = min(top_k, experts)
    g = torch.Generator().manual_seed(seed)
    logits = torch.stack([torch.randperm(experts, generator=g) for _ in range(tokens)]).float() / 7 - 3
    probe = torch.randn(tokens, top_k, generator=g)
    results = []
    for choose, place in ((top_experts, device), (top_experts_reference, torch.device("cpu"))):
        leaf = logits.to(place).requires_grad_()
        weight, ids = choose(leaf, top_k)
        (grad,) = torch.autograd.grad((weight * probe.to(place)).sum(), leaf)
        results.append([t.cpu() for t in (weight, ids, grad)])
    for got, expected in zip(*results, strict=True):
        assert torch.allclose(got.float(), expected.float(), atol=1e-5)


def test_broken_logits_still_choose_distinct_experts(device: torch.device) -> None:
    """A step that will be skipped must not send a kernel out of its arrays."""
    logits = torch.ones(4, 8)
    logits[0], logits[1, 3], logits[2, 5], logits[3] = float("nan"), float("inf"), float("nan"), float("-inf")
    weight, ids = top_experts(logits.to(device), 3)
    assert all(len(set(line)) == 3 and min(line) >= 0 and max(line) < 8 for line in ids.tolist())
    assert weight.isnan().all()


def test_equal_logits_choose_the_lower_expert(device: torch.device) -> None:
    _, ids = top_experts(torch.zeros(2, 6, device=device), 3)
    assert ids.tolist() == [[0, 1, 2]] * 2

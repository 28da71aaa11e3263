"""Cross entropy over the vocabulary against the definition, with its head in one, and norm and rotary turn against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import cross_entropy, rms_norm, rotary_table, rotate
from expedition.kernels.cross_entropy import cross_entropy_reference
from expedition.kernels.fp8_linear import LinearRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.linear_cross_entropy import (
    Fp8Factors,
    LinearLosses,
    _Chunk,
    _losses_,
    linear_cross_entropy,
    linear_cross_entropy_reference,
)
from expedition.kernels.triton_jit import INTERPRETED


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(2, 50), st.floats(0.1, 200))
def test_cross_entropy_equals_reference(seed: int, tokens: int, vocabulary: int, scale: float) -> None:
    """Also where logits are far apart: no overflow, and gradients to 1e-6 (softmax entries are at most one)."""
    g = torch.Generator().manual_seed(seed)
    logits = (torch.randn(tokens, vocabulary, generator=g) * scale).requires_grad_()
    labels = torch.randint(0, vocabulary, (tokens,), generator=g)
    weight = torch.rand(tokens, generator=g)
    got, expected = cross_entropy(logits, labels), cross_entropy_reference(logits, labels)
    assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad((loss * weight).sum(), logits)[0] for loss in (got, expected)]
    assert torch.allclose(*gradients, atol=1e-6 * scale + 1e-6)


def test_cross_entropy_of_bf16_logits_is_float32() -> None:
    logits = torch.randn(5, 11).bfloat16().requires_grad_()
    loss = cross_entropy(logits, torch.arange(5))
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == torch.bfloat16


Case = tuple[Tensor, Tensor, Tensor, Tensor]
"""Hidden states, weight, labels, weights of positions."""


def head_case(
    seed: int, tokens: int, vocabulary: int, dtype: torch.dtype, device: torch.device, scale: float, width: int = 16
) -> Case:
    """Some labels are -100; where weights of positions are 0, labels are too."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, width, generator=g) * scale
    weight = torch.randn(vocabulary, width, generator=g) * 4 / width**0.5
    labels = torch.randint(0, vocabulary, (tokens,), generator=g)
    labels[torch.rand(tokens, generator=g) < 0.3] = -100
    weights = torch.rand(tokens, generator=g)
    return hidden.to(device, dtype), weight.to(device, dtype), labels.to(device), weights.to(device)


def gradients(losses: LinearLosses, hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    hidden.grad = weight.grad = None
    (losses.objective * 0.3).backward()
    assert hidden.grad is not None and weight.grad is not None
    return hidden.grad, weight.grad


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Relative, over the whole tensor."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp(min=1e-9))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1000),
    st.integers(1, 9),
    st.sampled_from([2, 50, 129, 9000]),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([1, 4, 100]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_linear_cross_entropy_equals_reference(
    device: torch.device,
    seed: int,
    tokens: int,
    vocabulary: int,
    scale: float,
    z_loss: float,
    chunk: int,
    dtype: torch.dtype,
) -> None:
    hidden, weight, labels, weights = head_case(seed, tokens, vocabulary, dtype, device, scale)
    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    ours = linear_cross_entropy(hidden, weight, labels, weights, z_loss, chunk_tokens=chunk)
    found = gradients(ours, hidden, weight)
    wide = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    exact = linear_cross_entropy_reference(*wide, labels, weights.double(), z_loss)
    expected = gradients(exact, *wide)
    # float32: sums of 16 and of the vocabulary's 9,000 terms. bf16: each logit is rounded (2⁻⁹ of it, twice that where it
    # is cut off, as the interpreter does), which moves probabilities by as much, and so is each gradient.
    logits = float((wide[0] @ wide[1].T).detach().abs().max())
    loss, gradient = (1e-5, 1e-5) if dtype == torch.float32 else (2**-8, 2**-7)
    assert float((ours.loss_T - exact.loss_T).abs().max()) <= loss * (1 + logits)
    assert float((ours.norm_T - exact.norm_T).abs().max()) <= loss * (1 + logits)
    for got, reference in zip(found, expected, strict=True):
        # One label's probability may be off by e^(error of its logit): its gradient by the whole of that.
        error = float((got.double() - reference.double()).abs().max())
        assert error <= gradient * (1 + logits) * float(1 + wide[1].detach().abs().max()) * (1 + scale) * (
            1 + 2 * z_loss * logits
        )


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("weight_gradient", [False, True])
@pytest.mark.parametrize("gradient", ["e5m2", "e4m3"])
def test_an_fp8_head_loses_what_its_formats_lose(
    device: torch.device, gradient: str, weight_gradient: bool, power_of_two: bool
) -> None:
    """E4M3 keeps 2⁻⁴ of a value, E5M2 2⁻³, at random over many terms; the interpreter cuts off, always to the same side."""
    hidden, weight, labels, weights = head_case(5, 75, 1040, torch.bfloat16, device, 1.0, width=64)
    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    recipe = LinearRecipe("rowwise", "e4m3", gradient, weight_gradient, power_of_two)
    factors = Fp8Factors(WeightCopies("e4m3", "rowwise", power_of_two, keep=True), recipe)
    ours = linear_cross_entropy(hidden, weight, labels, weights, 1e-3, chunk_tokens=40, fp8=factors)
    found = gradients(ours, hidden, weight)
    wide = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    expected = gradients(linear_cross_entropy_reference(*wide, labels, weights.double(), 1e-3), *wide)
    plain = linear_cross_entropy(hidden, weight, labels, weights, 1e-3, chunk_tokens=40)
    errors = [distance(got, wanted) for got, wanted in zip(found, expected, strict=True)]
    assert max(errors) < (0.4 if INTERPRETED else 0.15)
    assert min(errors) > 2 * distance(gradients(plain, hidden, weight)[1], expected[1])  # it is FP8
    assert float((ours.loss_T - plain.loss_T).abs().max()) < 1.0


def test_a_rounded_gradient_stays_in_its_format_and_uses_it(device: torch.device) -> None:
    """The bound that scales come from holds for certain and unlikely labels, and is met within a factor of two."""
    for size in (0.0, 1.0, 200.0):
        logits = (torch.randn(12, 300, generator=torch.Generator().manual_seed(1)) * size).to(device)
        labels = torch.cat((logits[:6].argmax(-1), logits[6:].argmin(-1)))
        weights, out = torch.rand(12, device=device) + 0.1, torch.empty(2, 12, device=device)
        chunk = _Chunk(logits, labels, weights, out[0], out[1], 0.01)
        rounded = _losses_(chunk, True, LinearRecipe("rowwise", gradient="e5m2"))
        assert rounded is not None and rounded.scale is not None
        largest = (logits.abs() * rounded.scale.unsqueeze(1)).amax(1)
        assert bool((largest <= 57344.0 * 1.001).all())
        assert bool(torch.isfinite(rounded.values.float()).all())
        # A certain label at 200: nothing but its own entry, which is almost nothing.
        assert size == 200.0 or bool((largest >= 57344.0 * 0.4).all())


def test_positions_without_a_label_leave_no_trace(device: torch.device) -> None:
    hidden, weight, labels, weights = head_case(3, 12, 50, torch.float32, device, 1.0)
    labelled = labels != -100
    assert 0 < int(labelled.sum()) < 12
    hidden[~labelled] = 1e30
    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    ours = linear_cross_entropy(hidden, weight, labels, weights, 0.1, chunk_tokens=5)
    found = gradients(ours, hidden, weight)
    part = hidden.detach()[labelled].requires_grad_()
    exact = linear_cross_entropy_reference(part, weight, labels[labelled], weights[labelled], 0.1)
    expected = gradients(exact, part, weight)
    assert not ours.loss_T[~labelled].any() and not ours.norm_T[~labelled].any()
    assert not found[0][~labelled].any()
    assert distance(found[0][labelled], expected[0]) < 1e-5
    assert distance(found[1], expected[1]) < 1e-5


def test_no_label_at_all_costs_nothing(device: torch.device) -> None:
    hidden, weight, labels, weights = head_case(3, 6, 50, torch.float32, device, 1.0)
    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    found = linear_cross_entropy(hidden, weight, torch.full_like(labels, -100), weights)
    assert float(found.objective.detach()) == 0.0
    assert not any(value.any() for value in gradients(found, hidden, weight))


def test_a_value_that_is_not_finite_is_seen_in_the_loss(device: torch.device) -> None:
    for value in (float("nan"), float("inf")):
        hidden, weight, labels, weights = head_case(3, 6, 50, torch.float32, device, 1.0)
        hidden[int((labels >= 0).nonzero()[0])] = value
        assert not torch.isfinite(linear_cross_entropy(hidden, weight, labels, weights).objective)


def test_chunks_and_repetition_change_no_bit_of_the_losses(device: torch.device) -> None:
    hidden, weight, labels, weights = head_case(3, 9, 129, torch.float32, device, 1.0)
    first = linear_cross_entropy(hidden, weight, labels, weights, chunk_tokens=9)
    again = linear_cross_entropy(hidden, weight, labels, weights, chunk_tokens=9)
    assert torch.equal(first.loss_T, again.loss_T)
    assert torch.equal(first.objective, again.objective)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_equals_torch(dtype: torch.dtype) -> None:
    """bf16 rounds twice (after the norm, after the weight): one unit of its last place, 2⁻⁷ relative; the
    interpreter cuts off, twice that."""
    x, weight = torch.randn(3, 5, 16, dtype=dtype), torch.randn(16, dtype=dtype)
    relative = 1e-6 if dtype == torch.float32 else 2**-6 if INTERPRETED else 2**-7
    expected = torch.nn.functional.rms_norm(x.float(), (16,), weight.float(), 1e-6)
    assert torch.allclose(rms_norm(x, weight, 1e-6).float(), expected, rtol=relative, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_rotated_products_depend_on_distance_alone(start: int, shift: int) -> None:
    """⟨R(a)q, R(b)k⟩ depends on a − b; float32 angles up to 2·10⁴ rad carry errors of about 2⁻²⁴·2·10⁴ = 1.2e-3."""
    g = torch.Generator().manual_seed(start)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=g).unbind(0)
    frequency = 10000.0 ** (-torch.arange(4) / 4)

    def turned(x: Tensor, place: int) -> Tensor:
        return rotate(x, *rotary_table(place * frequency[None, None]))

    products = [float((turned(q, at + 3) * turned(k, at)).sum()) for at in (start, start + shift)]
    assert abs(products[0] - products[1]) < 0.05

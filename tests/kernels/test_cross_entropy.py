"""Cross entropy over the vocabulary against the definition, and norm and rotary turn against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import cross_entropy, rms_norm, rotary_table, rotate
from expedition.kernels.cross_entropy import cross_entropy_reference


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_equals_torch(dtype: torch.dtype) -> None:
    """bf16 rounds twice (after the norm, after the weight): one unit of its last place, 2⁻⁷ relative."""
    x, weight = torch.randn(3, 5, 16, dtype=dtype), torch.randn(16, dtype=dtype)
    relative = 1e-6 if dtype == torch.float32 else 2**-7
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

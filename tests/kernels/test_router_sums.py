"""The sums of the router's losses against their definition."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.kernels.router_sums import router_sums, router_sums_reference


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 1000),
    st.integers(1, 3),
    st.sampled_from([1, 2, 63, 64, 65, 200]),
    st.sampled_from([2, 5, 64, 100]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_router_sums_equal_the_reference(
    device: torch.device, seed: int, layers: int, tokens: int, experts: int, dtype: torch.dtype
) -> None:
    """Tokens that are not real hold no number at all and leave no trace."""
    g = torch.Generator().manual_seed(seed)
    real = torch.rand(tokens, generator=g) < 0.7
    logits = [(torch.randn(tokens, experts, generator=g) * 3).to(dtype) for _ in range(layers)]
    for layer in logits:
        layer[~real] = float("nan")
    weights = torch.randn(layers, experts, generator=g).double(), torch.randn(layers, generator=g).double()
    ours = [layer.clone().to(device).requires_grad_() for layer in logits]
    theirs = [layer.double().clone().requires_grad_() for layer in logits]
    found, expected = router_sums(ours, real.to(device)), reference(theirs, real)
    for got, wanted, weight in zip(found, expected, weights, strict=True):
        # Sums of at most 200 terms in fp32.
        torch.testing.assert_close(got.cpu().double(), wanted, atol=1e-5, rtol=1e-5)
        (got.double() * weight.to(device)).sum().backward(retain_graph=True)
        (wanted * weight).sum().backward(retain_graph=True)
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad is not None and other.grad is not None
        # A bf16 gradient is rounded, or cut off by the interpreter: 2⁻⁷ of it, once for each of the two sums.
        relative = 1e-5 if dtype == torch.float32 else 2**-6
        size = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad.cpu().double(), other.grad, atol=relative * (size + 1e-3), rtol=relative)


def reference(logits: list[torch.Tensor], real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition in float64 (the reference itself is float32)."""
    kept = [layer[real] for layer in logits]
    return (
        torch.stack([layer.softmax(-1).sum(0) for layer in kept]),
        torch.stack([layer.logsumexp(-1).square().sum() for layer in kept]),
    )


def test_the_reference_is_the_definition() -> None:
    g = torch.Generator().manual_seed(0)
    logits, real = [torch.randn(9, 4, generator=g)], torch.rand(9, generator=g) < 0.7
    for got, wanted in zip(router_sums_reference(logits, real), reference(logits, real), strict=True):
        torch.testing.assert_close(got, wanted)

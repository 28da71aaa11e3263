"""RMS norm, residual addition and norm, and head norm with rotary turn: kernels as near to float64 as their references."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import add_rms_norm, qk_norm_rope, qk_rope, rms_norm, rotary_table, rotate
from expedition.kernels.qk_norm_rope import qk_norm_rope_reference
from expedition.kernels.rms_norm import rms_norm_reference
from expedition.kernels.triton_jit import INTERPRETED

torch.set_num_threads(1)
EPS = 1e-6
quick = settings(
    deadline=None,
    derandomize=INTERPRETED,
    max_examples=10 if INTERPRETED else 25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
dtypes = st.sampled_from([torch.float32, torch.bfloat16])
rows = st.sampled_from([(1,), (3, 5), (2, 1, 7), (1500,)] if not INTERPRETED else [(1,), (3, 5), (2, 1, 7)])


def draws(device: torch.device, dtype: torch.dtype, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    g = torch.Generator().manual_seed(sum(sum(shape) for shape in shapes))
    return [torch.randn(shape, generator=g).to(device, dtype).requires_grad_() for shape in shapes]


def require_near(
    fast: Callable[..., tuple[Tensor, ...]],
    plain: Callable[..., tuple[Tensor, ...]],
    inputs: list[Tensor],
    grads: list[Tensor],
) -> None:
    """Values and gradients of `fast` are at most twice as far from float64 as those of `plain` in the same dtype, plus
    two steps at the largest value (the interpreter's bf16 cuts where hardware rounds). A product with a weight that is
    left out, or a gradient's term, is of the size of the values."""
    outs = []
    for way, dtype in ((plain, torch.float64), (plain, inputs[0].dtype), (fast, inputs[0].dtype)):
        taken = [x.detach().to(dtype).requires_grad_() for x in inputs]
        out = way(*taken)
        outs.append([*out, *torch.autograd.grad(out, taken, [g.detach().to(dtype) for g in grads])])
    for true, theirs, ours in zip(*outs, strict=True):
        step = torch.finfo(ours.dtype).eps * true.abs().max().clamp(min=1)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert (ours.double() - true).abs().max() <= 2 * (theirs.double() - true).abs().max() + 2 * step


@quick
@given(rows, st.sampled_from([8, 48, 200]), dtypes)
def test_rms_norm_equals_its_reference(
    device: torch.device, leading: tuple[int, ...], size: int, dtype: torch.dtype
) -> None:
    x, weight, grad = draws(device, dtype, [(*leading, size), (size,), (*leading, size)])
    require_near(
        lambda x, w: (rms_norm(x, w, EPS),), lambda x, w: (rms_norm_reference(x, w, EPS),), [x, weight], [grad]
    )


@quick
@given(rows, st.sampled_from([8, 48, 200]), dtypes)
def test_norm_after_addition_equals_both_in_turn(
    device: torch.device, leading: tuple[int, ...], size: int, dtype: torch.dtype
) -> None:
    shape = (*leading, size)
    x, update, weight, grad_total, grad = draws(device, dtype, [shape, shape, (size,), shape, shape])

    def plain(x: Tensor, update: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return x + update, rms_norm_reference(x + update, weight, EPS)

    require_near(lambda x, u, w: add_rms_norm(x, u, w, EPS), plain, [x, update, weight], [grad_total, grad])


@quick
@given(
    st.integers(1, 2),
    st.integers(1, 9),
    st.sampled_from([(1, 1), (4, 2), (6, 3)]),
    st.sampled_from([8, 24, 64]),
    dtypes,
)
def test_head_norm_and_turn_equal_their_reference(
    device: torch.device, batch: int, length: int, heads: tuple[int, int], size: int, dtype: torch.dtype
) -> None:
    shapes = [(batch, length, n, size) for n in heads]
    q, k, q_weight, k_weight, q_grad, k_grad = draws(device, dtype, [*shapes, (size,), (size,), *shapes])
    angle = torch.arange(batch * length * size // 2, device=device).view(batch, length, -1) * 0.37
    tables = tuple(table.to(dtype) for table in rotary_table(angle))

    def way(function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, ...]]:
        return lambda q, k, a, b: function(q, k, a, b, tuple(table.to(q.dtype) for table in tables), EPS)

    require_near(way(qk_norm_rope), way(qk_norm_rope_reference), [q, k, q_weight, k_weight], [q_grad, k_grad])


@quick
@given(st.integers(1, 9), st.sampled_from([8, 24, 72]), dtypes)
def test_turn_in_float32_equals_its_reference(device: torch.device, length: int, size: int, dtype: torch.dtype) -> None:
    """Heads of a joint projection, which lie apart in memory; float32 tables whatever the heads are."""
    shape = (1, length, 3, size)
    joint, q_grad, k_grad = draws(device, dtype, [(1, length, 3 * 3 * size), shape, shape])
    tables = rotary_table(torch.arange(length * size // 2, device=device).view(1, length, -1) * 7.3)

    def fast(joint: Tensor) -> tuple[Tensor, ...]:
        q, k, _ = joint.view(1, length, 3, 3, size).unbind(2)
        return qk_rope(q, k, tables)

    def plain(joint: Tensor) -> tuple[Tensor, ...]:
        q, k, _ = joint.view(1, length, 3, 3, size).unbind(2)
        work = torch.promote_types(joint.dtype, torch.float32)
        return tuple(rotate(x.to(work), *(table.to(work) for table in tables)).to(joint.dtype) for x in (q, k))

    require_near(fast, plain, [joint], [q_grad, k_grad])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_the_weights_have_the_same_bits_twice(device: torch.device, dtype: torch.dtype) -> None:
    x, weight, grad = draws(device, dtype, [(1100 if device.type == "cuda" else 40, 48), (48,), (48,)])
    grad = grad.detach().expand_as(x).contiguous()
    first, again = (torch.autograd.grad(rms_norm(x, weight, EPS), (x, weight), grad) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_other_dtypes_take_the_reference(device: torch.device) -> None:
    """A float32 weight over bf16 rows promotes, as the definition does."""
    x, weight = draws(device, torch.bfloat16, [(3, 16), (16,)])
    out = rms_norm(x, weight.float(), EPS)
    assert out.dtype == torch.float32 and torch.equal(out, rms_norm_reference(x, weight.float(), EPS))

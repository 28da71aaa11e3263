"""Rounding to FP8: what it keeps, and that kernels write the bits of the definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.quantize import (
    Columns,
    Quantized,
    dequantize,
    quantization_counts,
    quantize_blocks,
    quantize_rows,
    quantize_tensor,
    quantize_weight,
    transposed,
)
from tests.kernels.fp8_places import plain, right_rounding

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _rounding() -> Iterator[None]:
    with right_rounding():
        yield


def values(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Rows of very different size, some of them zero."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=g) * torch.exp2(8 * torch.randn(*shape[:-1], 1, generator=g))
    x[torch.rand(shape[:-1], generator=g) < 0.1] = 0
    return x.to(device)


@pytest.mark.parametrize(("name", "bits"), [("e4m3", 3), ("e5m2", 2)])
@pytest.mark.parametrize("how", [quantize_tensor, quantize_rows])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_rounding_error_is_half_a_unit_of_the_format(name: str, bits: int, how: Any, power_of_two: bool) -> None:
    value = torch.rand(64, 32, generator=torch.Generator().manual_seed(1)) + 0.5
    error = (dequantize(how(value, name, power_of_two), torch.float32) - value).abs() / value
    # Numbers within a factor of 3 of the largest are normal in both formats: half a unit in the last place of `bits`
    # bits.
    assert float(error.max()) <= 2.0 ** -(bits + 1) * 1.0001
    zeros = how(torch.zeros(3, 2), name, power_of_two)
    assert torch.equal(dequantize(zeros, torch.float32), torch.zeros(3, 2))


def test_rowwise_scales_keep_small_rows_that_one_scale_loses() -> None:
    value = torch.tensor([[1e6, 1e6], [1e-3, 2e-3]])
    assert float(dequantize(quantize_tensor(value, "e4m3"), torch.float32)[1].abs().max()) == 0.0
    kept = dequantize(quantize_rows(value, "e4m3"), torch.float32)
    torch.testing.assert_close(kept[1], value[1], rtol=0.07, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("how", [quantize_tensor, quantize_rows, quantize_blocks])
def test_values_that_are_not_finite_stay_so(bad: float, how: Any) -> None:
    value = torch.ones(2, 128)
    value[0, 5] = bad
    assert not torch.isfinite(dequantize(how(value, "e4m3"), torch.float32)[0]).all()


@given(st.integers(0, 10_000), st.sampled_from(["e4m3", "e5m2"]))
@settings(deadline=None, max_examples=30)
def test_another_power_of_two_rounds_nothing_that_stays_in_range(seed: int, name: str) -> None:
    """What weight gradients in FP8 rest on: values under a larger scale of a power of two are the same numbers."""
    q = quantize_rows(values(seed, 7, 16), name, power_of_two=True)
    assert torch.equal(torch.exp2(torch.log2(q.scale).round()), q.scale)
    shift = torch.exp2(-torch.randint(0, 6, (7,), generator=torch.Generator().manual_seed(seed)).float())
    moved = transposed(q.values, factor_P=shift).float().t()
    want = q.values.float() * shift.unsqueeze(1)
    smallest = torch.finfo(q.values.dtype).smallest_normal
    assert torch.equal(moved[want.abs() >= smallest], want[want.abs() >= smallest])
    assert ((moved - want).abs() <= torch.finfo(q.values.dtype).smallest_normal / 8).all()


def test_transposed_takes_rows_from_where_it_is_told_and_zeros_from_nowhere() -> None:
    q = quantize_rows(values(3, 5, 12), "e4m3").values
    choice = torch.tensor([9, 0, 2, 3], dtype=torch.int32)  # of tokens 4, 0, 1, 1
    columns = Columns(torch.tensor([3, -1, 0, 0], dtype=torch.int32), choice, 2)
    rows = torch.tensor([1.0, 0.0, 1.0, 1.0]).unsqueeze(1)
    assert torch.equal(transposed(q, columns).float(), (q.float()[[3, 0, 0, 0]] * rows).t())
    assert torch.equal(transposed(q, columns, by_token=True).float(), (q.float()[[1, 0, 4, 4]] * rows).t())
    factor = torch.tensor([0.5, 1.0, 1.0, 0.25])
    shifted = q.float()[[1, 0, 4, 4]] * rows * torch.tensor([[0.25], [0.0], [0.5], [0.5]])
    near = transposed(q, columns, factor, by_token=True).float() - shifted.t()
    assert near.abs().max() <= 2**-10


def test_counts_see_what_underflowed_and_what_is_at_the_top() -> None:
    x = torch.zeros(3, 4)
    x[0] = torch.tensor([448.0, 448.0, 1e-6, 3.0])
    x[1] = torch.tensor([1.0, 0.5, 0.25, 0.1])
    counts = quantization_counts(quantize_rows(x, "e4m3"))
    assert counts.tolist() == [8, 1, 3]  # the zero row is left out


def test_copies_of_a_weight_are_made_again_when_it_changes_and_only_then() -> None:
    weight = torch.randn(8, 16, requires_grad=True)
    copies = WeightCopies("e4m3", "rowwise", False, keep=True)
    first = copies.forward(weight)
    assert copies.forward(weight) is first and copies.backward(weight).values.shape == (16, 8)
    with torch.no_grad():
        weight.mul_(2)
    assert copies.forward(weight) is not first
    assert torch.equal(dequantize(copies.forward(weight), torch.float32), 2 * dequantize(first, torch.float32))
    other = weight.detach().clone()
    assert copies.forward(other) is not copies.forward(weight)


def same(got: Quantized, want: Quantized) -> None:
    assert torch.equal(got.inverse, want.inverse)
    assert torch.equal(got.values.view(torch.uint8), want.values.view(torch.uint8))
    assert got.scale is not None and want.scale is not None and torch.equal(got.scale, want.scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 70), st.sampled_from(["e4m3", "e5m2"]), st.booleans())
@settings(deadline=None, max_examples=12)
def test_kernels_round_as_the_definition(
    device: torch.device, dtype: torch.dtype, seed: int, rows: int, columns: int, name: str, power_of_two: bool
) -> None:
    x = values(seed, rows, columns, device=device).to(dtype)
    wide = values(seed, rows, 256, device=device).to(dtype)
    for how, value in ((quantize_rows, x), (quantize_tensor, x), (quantize_blocks, wide)):
        with plain():
            want = how(value, name, power_of_two)
        same(how(value, name, power_of_two), want)


@pytest.mark.parametrize(
    ("granularity", "shape"),
    [
        ("rowwise", (3, 40, 150)),
        ("rowwise", (130, 24)),
        ("tensorwise", (40, 150)),
        ("tensorwise", (2, 16, 130)),
        ("blockwise", (256, 128)),
        ("blockwise", (2, 128, 256)),
    ],
)
def test_a_weight_is_rounded_in_both_orientations(
    device: torch.device, granularity: Any, shape: tuple[int, ...]
) -> None:
    w = values(5, *shape, device=device).to(torch.bfloat16)
    with plain():
        want = quantize_weight(w, "e4m3", granularity, True)
    got = quantize_weight(w, "e4m3", granularity, True)
    same(got.forward, want.forward)
    same(got.backward, want.backward)
    wide = dequantize(got.backward, torch.float32).transpose(-1, -2)
    assert (wide - w.float()).norm() <= 0.05 * w.float().norm()


def test_kernels_turn_rows_as_the_definition(device: torch.device) -> None:
    q = quantize_rows(values(6, 9, 140, device=device), "e5m2", True).values
    row = torch.tensor([8, -1, 0, 3, 3, 1] * 30, dtype=torch.int32, device=device)
    columns = Columns(row, torch.tensor([3, 0, 17, 2, 8, 4, 1, 5, 9], dtype=torch.int32, device=device), 2)
    factor = torch.exp2(-torch.arange(9, device=device).float())
    for arguments, by_token in (
        ((q,), False),
        ((q, columns), False),
        ((q, columns), True),
        ((q, columns, factor), True),
    ):
        with plain():
            want = transposed(*arguments, by_token=by_token)
        assert torch.equal(transposed(*arguments, by_token=by_token).view(torch.uint8), want.view(torch.uint8))


def test_kernels_keep_what_is_not_finite(device: torch.device) -> None:
    for bad in (float("nan"), float("inf")):
        x = torch.ones(2, 64, device=device)
        x[0, 7] = bad
        for how in (quantize_rows, quantize_tensor):
            assert not torch.isfinite(dequantize(how(x, "e4m3"), torch.float32)[0, 7])

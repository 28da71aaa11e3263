"""The update in one kernel against its definition, with the same random bits."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import adamw_triton
from expedition.kernels.adamw import AdamWRates, AdamWTensors, Corrections, UpdateScalars, adamw_
from expedition.kernels.rounding import BLOCK, Stream, Stretches, round_blocks, stream_key, unround_blocks

TYPES = st.sampled_from([torch.float32, torch.bfloat16])
RATES = AdamWRates(0.01, 0.1, 0.9, 0.95, 1e-8)


def tensors(seed: int, count: int, weight: torch.dtype, gradient: torch.dtype, moments: torch.dtype) -> AdamWTensors:
    g = torch.Generator().manual_seed(seed)
    return AdamWTensors(
        torch.randn(count, generator=g).to(weight),
        torch.randn(count, generator=g).to(gradient),
        (torch.randn(count, generator=g) * 0.1).to(moments),
        (torch.rand(count, generator=g) * 0.1).to(moments),
        torch.zeros(count, dtype=torch.bfloat16),
    )


def scalars(device: torch.device, keep: bool = True, scale: float = 0.7) -> UpdateScalars:
    corrections = Corrections.after(torch.tensor(8, device=device), RATES.beta1, RATES.beta2)
    return UpdateScalars.of(torch.tensor(scale, device=device), torch.tensor(keep, device=device), corrections)


def stream(device: torch.device, stretches: Stretches, count: int, plain: bool) -> Stream:
    index = torch.arange(count, device=device)
    offsets = stretches.first + index // stretches.run * stretches.jump + index % stretches.run
    return Stream(
        stream_key(3, "weight"),
        torch.tensor(7, device=device),
        lambda rows: offsets[rows],
        None if plain else stretches,
    )


def moved(values: AdamWTensors, device: torch.device) -> AdamWTensors:
    return AdamWTensors(*(None if value is None else value.clone().to(device) for value in values))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([1, 30, 600, 5000]), TYPES, TYPES, TYPES, st.booleans())
def test_fused_adamw_equals_the_definition(
    device: torch.device,
    seed: int,
    count: int,
    weight: torch.dtype,
    gradient: torch.dtype,
    moments: torch.dtype,
    split: bool,
) -> None:
    stretches = Stretches(5, 30, 100) if split else Stretches(0, count, 0)
    cpu, start = torch.device("cpu"), tensors(seed, count, weight, gradient, moments)
    plain, fused = moved(start, cpu), moved(start, device)
    adamw_([plain], RATES, scalars(cpu), [stream(cpu, stretches, count, plain=True)])
    adamw_([fused], RATES, scalars(device), [stream(device, stretches, count, plain=False)])
    for name in ("weight", "first", "second"):
        got, wanted = getattr(fused, name).cpu(), getattr(plain, name)
        if got.dtype == torch.float32:
            # A few fp32 operations, in another order or with one rounding less.
            torch.testing.assert_close(got, wanted, atol=1e-7, rtol=2e-6, msg=name)
            continue
        # The same bits round the same way unless the values before, 2⁻²³ apart, straddle what the bits decide at: once in
        # about 2¹⁶ / 4 elements. Other bits would differ at every second element.
        differ = got != wanted
        assert int(differ.sum()) <= 1 + count // 500, name
        torch.testing.assert_close(got.float(), wanted.float(), atol=1e-7, rtol=2**-7, msg=name)
    assert_copies(fused.working, fused.weight)


def in_blocks(start: AdamWTensors) -> AdamWTensors:
    """The same with moments in E4M3."""
    half = torch.full(start.first.shape, 1 << 15)
    first, first_scale = round_blocks(start.first.float(), half)
    second, second_scale = round_blocks(start.second.float().sqrt(), half)
    return start._replace(first=first, second=second, first_scale=first_scale, second_scale=second_scale)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.sampled_from([256, 1024, 5120]), TYPES)
def test_fused_moments_in_blocks_equal_the_definition(
    device: torch.device, seed: int, count: int, weight: torch.dtype
) -> None:
    stretches, cpu = Stretches(0, count, 0), torch.device("cpu")
    start = in_blocks(tensors(seed, count, weight, torch.float32, torch.float32))
    start.gradient[: BLOCK // 2] *= 1e-6
    plain, fused = moved(start, cpu), moved(start, device)
    adamw_([plain], RATES, scalars(cpu), [stream(cpu, stretches, count, plain=True)])
    adamw_([fused], RATES, scalars(device), [stream(device, stretches, count, plain=False)])
    for kind in ("first", "second"):
        ours, theirs = getattr(fused, f"{kind}_scale").cpu(), getattr(plain, f"{kind}_scale")
        torch.testing.assert_close(ours, theirs, atol=0, rtol=2e-6)
        codes, wanted = getattr(fused, kind).cpu(), getattr(plain, kind)
        # The same bits; values that differ in their last place fall to the other side once in some thousand.
        assert int((codes.view(torch.uint8) != wanted.view(torch.uint8)).sum()) <= 1 + count // 500
        near = unround_blocks(codes, ours), unround_blocks(wanted, theirs)
        spacing = theirs.repeat_interleave(BLOCK) * 2.0**-9
        assert bool(((near[0] - near[1]).abs() <= near[1].abs() * 0.13 + spacing * 1.01).all())
    torch.testing.assert_close(fused.weight.cpu().float(), plain.weight.float(), atol=1e-6, rtol=2**-7)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([1e-28, 1e-3, 1.0, 1e30]))
def test_blocks_hold_values_within_their_spacing_and_on_average(seed: int, size: float) -> None:
    g = torch.Generator().manual_seed(seed)
    value = torch.randn(1, BLOCK, generator=g).double().pow(3).float() * size
    draws = torch.randint(0, 1 << 16, (4000, BLOCK), generator=g, dtype=torch.int32)
    codes, scale = round_blocks(value.expand(4000, BLOCK), draws)
    found = unround_blocks(codes, scale)
    # Neighbours of E4M3 are an eighth of their power of two apart, 2⁻⁹ of the scale below it.
    spacing = torch.maximum(value.abs() / 8, scale[0] * 2.0**-9)
    assert bool(((found - value).abs() <= spacing * 1.001).all())
    # Five standard deviations of a mean of 4,000 two-valued numbers, at most half a spacing each.
    assert bool(((found.double().mean(0) - value[0].double()).abs() <= 5 * 0.5 * spacing[0] / 4000**0.5).all())


def assert_copies(working: Tensor | None, weight: Tensor) -> None:
    """To nearest on a GPU; the interpreter cuts off."""
    assert working is not None
    if working.is_cuda:
        assert torch.equal(working, weight.bfloat16())
    torch.testing.assert_close(working.float(), weight.float(), atol=0, rtol=2**-7)


def test_a_dropped_update_changes_no_bit_whatever_the_numbers(device: torch.device) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        start = tensors(1, 600, dtype, torch.bfloat16, dtype)
        values = moved(start, device)
        values.gradient.fill_(float("nan"))
        drop = scalars(device, keep=False, scale=float("nan"))
        adamw_([values], RATES, drop, [stream(device, Stretches(0, 600, 0), 600, plain=False)])
        for name in ("weight", "first", "second", "working"):
            assert torch.equal(getattr(values, name).cpu(), getattr(start, name)), name


def test_the_number_of_elements_a_program_changes_no_bit(device: torch.device) -> None:
    found = []
    before = adamw_triton._BLOCK
    for block in (256, 1024):
        adamw_triton._BLOCK = block
        values = moved(tensors(2, 1500, torch.bfloat16, torch.float32, torch.bfloat16), device)
        adamw_([values], RATES, scalars(device), [stream(device, Stretches(0, 1500, 0), 1500, plain=False)])
        found.append(values)
    adamw_triton._BLOCK = before
    for one, other in zip(*found, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def test_caches_see_that_weights_changed(device: torch.device) -> None:
    values = moved(tensors(2, 40, torch.bfloat16, torch.float32, torch.float32), device)
    before = [values.weight._version, values.working._version if values.working is not None else 0]
    adamw_([values], RATES, scalars(device), [stream(device, Stretches(0, 40, 0), 40, plain=False)])
    assert values.working is not None
    assert values.weight._version > before[0] and values.working._version > before[1]


def test_many_parameters_of_any_kinds_are_updated_as_one_by_one(device: torch.device) -> None:
    """Sizes around a block's, several types, one that is not aligned: each as alone, to the bit."""
    kinds = [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16)]
    starts = [
        tensors(number, count, weight, torch.bfloat16, moments)
        for number, (count, (weight, moments)) in enumerate(
            (count, kind) for count in (1, 255, 2048, 2049, 5000) for kind in kinds
        )
    ]
    starts.append(in_blocks(tensors(50, 5120, torch.float32, torch.bfloat16, torch.float32)))
    together, alone = ([moved(start, device) for start in starts] for _ in range(2))
    odd = torch.zeros(1 + 5000, device=device)[1:]
    together[12] = together[12]._replace(weight=odd.copy_(together[12].weight))
    streams = [
        stream(device, Stretches(number, start.weight.numel(), 0), start.weight.numel(), plain=False)
        for number, start in enumerate(starts)
    ]
    adamw_(together, RATES, scalars(device), streams)
    for one, own in zip(alone, streams, strict=True):
        adamw_([one], RATES, scalars(device), [own])
    for number, (one, other) in enumerate(zip(together, alone, strict=True)):
        for a, b in zip(one, other, strict=True):
            assert (a is None and b is None) or torch.equal(as_bytes(a), as_bytes(b)), number
        assert not torch.equal(as_bytes(one.weight), as_bytes(starts[number].weight.to(device)))


def as_bytes(value: Tensor) -> Tensor:
    return value.contiguous().view(torch.uint8)

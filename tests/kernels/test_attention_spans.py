"""The span kernels: equal to attention with a mask, in value and gradient, over packings, heads and sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import attention_triton, document_mask, plan_documents, plan_segments, segment_attention
from expedition.kernels.attention import SpanPlan, attend, document_attention
from expedition.kernels.attention_triton import Blocks, Launch, span_attention
from expedition.kernels.triton_jit import INTERPRETED

torch.set_num_threads(1)
SIZES = 40 if INTERPRETED else 700
quick = settings(
    deadline=None,
    derandomize=INTERPRETED,
    max_examples=5 if INTERPRETED else 20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
documents = st.lists(
    st.lists(st.tuples(st.integers(1, SIZES // 2), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=2
)
"""Rows of pieces: length, and whether it is a document or padding."""
heads = st.sampled_from([(1, 1), (4, 2), (6, 1)])


@pytest.fixture(autouse=True)
def small_blocks(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Under the interpreter blocks that a few positions fill; on a device those of the product."""
    if device.type == "cpu":
        blocks = Blocks(32, 16, 4, 2)
        monkeypatch.setattr(attention_triton, "FORWARD", blocks)
        for whole, programs in ((False, 1), (True, 64)):  # heads of a group in one program, or one a program
            monkeypatch.setitem(attention_triton.BACKWARD, whole, Launch(blocks, blocks, programs))
    yield


def packed(rows: list[list[tuple[int, bool]]], device: torch.device) -> Tensor:
    document_BS = torch.zeros(len(rows), max(sum(length for length, _ in row) for row in rows), dtype=torch.int32)
    for line, row in enumerate(rows):
        end = 0
        for number, (length, real) in enumerate(row, start=1):
            document_BS[line, end : end + length] = number if real else 0
            end += length
    return document_BS.to(device)


def draws(device: torch.device, *shapes: tuple[int, ...]) -> list[Tensor]:
    """bf16 on a device; float32 under the interpreter, whose products know no bf16."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    g = torch.Generator().manual_seed(sum(sum(shape) for shape in shapes))
    return [torch.randn(shape, generator=g).to(device, dtype).requires_grad_() for shape in shapes]


def require_equal(got: list[Tensor], inputs: list[Tensor], mask: Tensor, grad: Tensor) -> None:
    """`got` (out and gradients of q, k, v) is as near to float64 as torch's own attention in the same dtype is.

    Twice its distance, and four steps at the largest value (at 1 where gradients cancel to nothing): sums run in another
    order. A wrong mask, scale or block is of the size of the values themselves.
    """

    def with_mask(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
        out = attend(q, k, v, mask)
        return [out, *torch.autograd.grad(out, (q, k, v), grad.to(q.dtype))]

    exact = with_mask(*(x.detach().double().requires_grad_() for x in inputs))
    same_type = with_mask(*(x.detach().requires_grad_() for x in inputs))
    for ours, theirs, true in zip(got, same_type, exact, strict=True):
        step = torch.finfo(ours.dtype).eps * true.abs().max().clamp(min=1)
        bound = 2 * (theirs.double() - true).abs().max() + 4 * step
        assert (ours.double() - true).abs().max() <= bound


def outcome(out: Tensor, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    return [out, *torch.autograd.grad(out, inputs, grad)]


@quick
@given(documents, heads, st.sampled_from([16, 72, 128] if not INTERPRETED else [8, 16, 72]))
def test_documents_equal_the_mask(
    device: torch.device, rows: list[list[tuple[int, bool]]], counts: tuple[int, int], size: int
) -> None:
    document_BS = packed(rows, device)
    shape = document_BS.shape
    q, k, v, grad = draws(device, *((*shape, n, size) for n in (counts[0], counts[1], counts[1], counts[0])))
    plan = plan_documents(document_BS)
    assert isinstance(plan, SpanPlan)
    got = outcome(document_attention(q, k, v, plan), [q, k, v], grad)
    require_equal(got, [q, k, v], document_mask(document_BS), grad)


@quick
@given(st.lists(st.integers(1, SIZES // 3), min_size=1, max_size=6), heads, st.booleans())
def test_segments_equal_the_mask(
    device: torch.device, lengths: list[int], counts: tuple[int, int], causal: bool
) -> None:
    total = sum(lengths)
    q, k, v, grad = draws(device, *((total, n, 16) for n in (counts[0], counts[1], counts[1], counts[0])))
    plan = plan_segments(lengths, device, q.dtype)
    assert isinstance(plan, SpanPlan)
    got = outcome(segment_attention(q, k, v, plan, causal=causal), [q, k, v], grad)
    number_P = torch.arange(1, len(lengths) + 1, device=device).repeat_interleave(torch.tensor(lengths, device=device))
    seen = document_mask(number_P[None]) if causal else (number_P[:, None] == number_P)[None, None]
    whole = [x.detach()[None] for x in (q, k, v)]
    require_equal([x[None] for x in got], whole, seen, grad[None])


@quick
@given(documents, st.data())
def test_stretches_equal_the_mask(
    device: torch.device, rows: list[list[tuple[int, bool]]], data: st.DataObject
) -> None:
    """Queries of some stretches only: out, and the gradients of all keys and values, zeros included."""
    document_BS = packed(rows, device)
    size = document_BS.shape[1]
    cuts = sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=4, unique=True)))
    stretches = list(zip(cuts[::2], cuts[1::2], strict=False))
    place_Q = torch.cat([torch.arange(first, end) for first, end in stretches]).to(device)
    rows_here = document_BS.shape[0]
    q, k, v, grad = draws(
        device, *((rows_here, n, h, 16) for n, h in ((len(place_Q), 4), (size, 2), (size, 2), (len(place_Q), 4)))
    )
    got = outcome(document_attention(q, k, v, plan_documents(document_BS, stretches)), [q, k, v], grad)
    require_equal(got, [q, k, v], document_mask(document_BS)[:, :, place_Q], grad)


def test_the_same_input_gives_the_same_bits(device: torch.device) -> None:
    document_BS = packed([[(SIZES, True), (SIZES // 2, False)], [(7, True), (SIZES, True)]], device)
    q, k, v, grad = draws(device, *((*document_BS.shape, n, 16) for n in (6, 2, 2, 6)))
    plan = plan_documents(document_BS)
    first, again = (outcome(document_attention(q, k, v, plan), [q, k, v], grad) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_parts_of_a_joint_projection_need_no_copy(device: torch.device) -> None:
    """Heads that lie apart in memory, as those of one product for q, k and v do."""
    (joint,) = draws(device, (1, 40, 8, 16))
    q, k, v = joint.detach().split((4, 2, 2), dim=2)
    apart = [x.requires_grad_() for x in (q, k, v)]
    plan = plan_documents(torch.ones(1, 40, dtype=torch.int32, device=device))
    assert isinstance(plan, SpanPlan)
    out = span_attention(*apart, plan.start_BL, plan.end_BL, causal=True)
    close = [x.detach().contiguous() for x in (q, k, v)]
    assert torch.equal(out, span_attention(*close, plan.start_BL, plan.end_BL, causal=True))


def test_number_and_length_of_documents_change_no_shape(device: torch.device) -> None:
    """So a plan never asks for another kernel, another graph, or values on the host."""
    plans = [plan_documents(packed(rows, device)) for rows in ([[(40, True)]], [[(10, True), (1, False), (29, True)]])]
    shapes = [[x.shape for x in plan[:2]] for plan in plans if isinstance(plan, SpanPlan)]
    assert len(shapes) == 2 and shapes[0] == shapes[1]


on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@on_cuda
@pytest.mark.gpu
def test_rows_known_to_be_whole_equal_the_mask(device: torch.device) -> None:
    """Another kernel where it is quicker, the spans' own where torch is asked for equal bits."""
    document_BS = torch.ones(2, 640, dtype=torch.int32, device=device)
    q, k, v, grad = draws(device, *((2, 640, n, 128) for n in (8, 2, 2, 8)))
    known, found = (plan_documents(document_BS, whole_rows=whole) for whole in (True, False))
    got = outcome(document_attention(q, k, v, known), [q, k, v], grad)
    require_equal(got, [q, k, v], document_mask(document_BS), grad)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        out = document_attention(q, k, v, known)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(out, document_attention(q, k, v, found))


@on_cuda
@pytest.mark.gpu
def test_attention_never_waits_for_the_device(device: torch.device) -> None:
    """Plan, both passes, of documents and of segments."""
    document_BS = packed([[(300, True), (90, False), (250, True)]], device)
    q, k, v, grad = draws(device, *((1, 640, n, 64) for n in (4, 2, 2, 4)))

    def everything() -> None:
        outcome(document_attention(q, k, v, plan_documents(document_BS)), [q, k, v], grad)
        plan = plan_segments([300, 90, 250], device, q.dtype)
        outcome(segment_attention(q[0], k[0], v[0], plan), [q, k, v], grad[0])

    everything()
    torch.cuda.set_sync_debug_mode("error")
    try:
        everything()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_whole_rows_equal_the_mask(device: torch.device) -> None:
    """The sizes that rows of one document get where torch is asked for equal bits."""
    size = 75 if INTERPRETED else 900
    document_BS = torch.ones(2, size, dtype=torch.int32, device=device)
    q, k, v, grad = draws(device, *((2, size, n, 64 if not INTERPRETED else 16) for n in (4, 2, 2, 4)))
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        out = document_attention(q, k, v, plan_documents(document_BS, whole_rows=True))
        got = outcome(out, [q, k, v], grad)
    finally:
        torch.use_deterministic_algorithms(False)
    require_equal(got, [q, k, v], document_mask(document_BS), grad)

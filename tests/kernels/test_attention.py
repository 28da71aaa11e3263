"""Attention: documents and segments see what they should and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.kernels import (
    attend,
    document_attention,
    document_mask,
    plan_documents,
    plan_segments,
    segment_attention,
)
from expedition.kernels.attention import SegmentPlan
from expedition.kernels.triton_jit import INTERPRETED

pytestmark = pytest.mark.skipif(
    INTERPRETED, reason="the ways without kernels; test_attention_spans.py holds the kernels"
)
CPU = torch.device("cpu")


def test_document_mask_is_causal_within_a_document() -> None:
    seen = document_mask(torch.tensor([[1, 1, 2, 2, 2, 0, 0]], dtype=torch.int32))[0, 0]
    for query in range(7):
        documents = [1, 1, 2, 2, 2, 0, 0]
        expected = [key == query or (key < query and documents[key] == documents[query] > 0) for key in range(7)]
        assert seen[query].tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 99))
def test_segments_equal_attention_one_by_one(lengths: list[int], seed: int) -> None:
    """Buckets and padding change nothing: each segment's output equals its own attention to float32 rounding."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(sum(lengths), 2, 8, generator=g) for _ in range(3))
    out = segment_attention(q, k, v, plan_segments(lengths, CPU))
    parts = zip(*(t.split(lengths) for t in (q, k, v)), strict=True)
    alone = [attend(a[None], b[None], c[None], None)[0] for a, b, c in parts]
    assert torch.allclose(out, torch.cat(alone), atol=2e-6)


def test_segments_do_not_see_each_other() -> None:
    lengths = [5, 9, 5, 2, 7]
    q, k, v = (torch.randn(28, 2, 8, requires_grad=True) for _ in range(3))
    out = segment_attention(q, k, v, plan_segments(lengths, CPU))
    (grad,) = torch.autograd.grad(out[5:14].sum(), v)
    touched = grad.abs().sum((1, 2)) > 0
    assert touched.tolist() == [5 <= place < 14 for place in range(28)]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 99))
def test_document_segments_equal_the_mask(rows: list[list[int]], seed: int) -> None:
    """Values and gradients at real tokens, with padding before, between or after the documents of a row."""
    size = max(sum(row) for row in rows) + seed % 4
    document_BS = torch.zeros(len(rows), size, dtype=torch.int32)
    for line, row in enumerate(rows):
        end = (seed * 7 + line) % (size - sum(row) + 1)
        for number, length in enumerate(row, start=1):
            document_BS[line, end : end + length] = number if number % 3 else 0
            end += length
    g = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(len(rows), size, heads, 8, generator=g).requires_grad_() for heads in (4, 2, 2)]
    real = document_BS > 0
    results = []
    for seen in (plan_documents(document_BS), document_mask(document_BS)):
        out = document_attention(*tensors, seen)[real]
        results.append([out, *torch.autograd.grad(out.square().sum(), tensors)])
    for got, expected in zip(*results, strict=True):
        assert torch.allclose(got, expected, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 4), st.data())
def test_some_queries_see_what_they_see_among_all(lengths: list[int], padding: int, data: st.DataObject) -> None:
    numbers = [number for number, length in enumerate(lengths, start=1) for _ in range(length)] + [0] * padding
    document_BS = torch.tensor([numbers, numbers[::-1]], dtype=torch.int32)
    size = len(numbers)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=6, unique=True)))
    stretches = list(zip(cuts[::2], cuts[1::2], strict=False))
    place_Q = torch.cat([torch.arange(first, end) for first, end in stretches])
    q, k, v = (torch.randn(2, size, heads, 8).requires_grad_() for heads in (4, 2, 2))
    some = document_attention(q[:, place_Q], k, v, plan_documents(document_BS, stretches))
    every = document_attention(q, k, v, document_mask(document_BS))[:, place_Q]
    assert torch.allclose(some, every, atol=2e-6)
    for got, expected in zip(
        *(torch.autograd.grad(out.square().sum(), (q, k, v)) for out in (some, every)), strict=True
    ):
        assert torch.allclose(got, expected, atol=1e-5)


def test_equal_segments_need_no_padding() -> None:
    plan = plan_segments([16] * 6, CPU)
    assert isinstance(plan, SegmentPlan)
    assert plan.order_P is None and [bucket.mask_ML for bucket in plan.buckets] == [None]


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_padding_costs_less_than_a_third(lengths: list[int]) -> None:
    plan = plan_segments(lengths, CPU)
    assert isinstance(plan, SegmentPlan)
    assert sum(bucket.rows * bucket.length for bucket in plan.buckets) <= sum(lengths) * 4 / 3
    assert len(plan.buckets) <= 25


def reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], dim=2) for x in (k, v))
    scores = torch.einsum("bsnd,blnd->bnsl", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bnsl,blnd->bsnd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v)


def test_attend_equals_the_formula_with_grouped_heads() -> None:
    q, k, v = torch.randn(2, 7, 4, 8), torch.randn(2, 7, 2, 8), torch.randn(2, 7, 2, 8)
    mask = document_mask(torch.tensor([[1, 1, 1, 2, 2, 0, 0], [1] * 7], dtype=torch.int32))
    assert torch.allclose(attend(q, k, v, mask), reference(q, k, v, mask), atol=2e-6)

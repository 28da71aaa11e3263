"""Attention over contiguous spans of keys as Triton kernels: forward and backward, no mask in memory, no atomics.

Shapes: B batch, S queries, L keys (and the positions that both are of), N query heads, K key/value heads, G = N/K, D head
size; small letters in the kernels: q, k a block of queries or keys, d the block that holds D.

Every query sees one span of keys and every key is seen by one span of queries (a document, causal or not), and both ends
never decrease along a row. So a block of queries reads the blocks of keys between its first start and its last end, needs
no comparison in those that all its rows see, and skips the others. FlashAttention-2 (arXiv:2307.08691) with grouped
heads: the queries of a group add to their key head inside one program, in order, so the same input gives the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from expedition.kernels.triton_jit import jit, jit_varying, next_power_of_2, tl

__all__ = ["Blocks", "span_attention"]

LOG2_E = 1.4426950408889634
VARYING = ("offset", "queries", "keys")


class Blocks(NamedTuple):
    """Sizes of one kernel's launch."""

    queries: int
    keys: int
    warps: int
    stages: int


class Launch(NamedTuple):
    """Sizes of the backward pass: gradient of the queries, of keys and values, and the programs that these want."""

    queries: Blocks
    keys: Blocks
    programs: int
    """More than keys and heads give are made of the heads of a group, up to one a query head. Enough for every
    multiprocessor of a large device several times over, so that long and short ones even out."""


FORWARD = Blocks(64, 64, 4, 3)
BACKWARD = {
    True: Launch(Blocks(128, 64, 8, 3), Blocks(64, 128, 8, 2), 512),
    False: Launch(Blocks(64, 64, 4, 2), Blocks(32, 64, 4, 3), 2048),
}
"""The quickest on an H100 at D = 128 with rows that are one document each (True) and with packed ones, four rows of 4096
(benchmarks/train/attention.py)."""
FORWARD_WIDE = Blocks(64, 32, 8, 1)
BACKWARD_WIDE = Launch(Blocks(64, 32, 8, 1), Blocks(32, 64, 8, 1), 512)
"""For D > 128: what fits into shared memory."""


@jit
def _aligned(offset, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sizes that 8 divides and 16 does not (72) look unaligned to the compiler, which then loads value by value."""
    if D % 16 == 8:
        offset = tl.multiple_of(offset, 8)
    return offset


@jit
def _rows(at, first, row, end, stride, D: tl.constexpr, BLOCK_D: tl.constexpr, TAIL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Rows `first + row` of [., D] at `at`; zeros from `end` on where the block may have a tail."""
    lane = tl.arange(0, BLOCK_D)
    place = at + (first + row)[:, None] * stride + lane[None, :]
    if D == BLOCK_D:
        if TAIL:
            return tl.load(place, mask=(first + row < end)[:, None], other=0.0)
        return tl.load(place)
    if TAIL:
        return tl.load(place, mask=(first + row < end)[:, None] & (lane < D)[None, :], other=0.0)
    return tl.load(place, mask=(lane < D)[None, :], other=0.0)


@jit
def _put(at, first, row, end, stride, value, D: tl.constexpr, BLOCK_D: tl.constexpr):  # type: ignore[no-untyped-def]
    lane = tl.arange(0, BLOCK_D)
    place = at + (first + row)[:, None] * stride + lane[None, :]
    tl.store(place, value.to(at.dtype.element_ty), mask=(first + row < end)[:, None] & (lane < D)[None, :])


@jit
def _spans(first_start, last_start, first_end, last_end, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where a block's rows begin to see, all see, no longer all see, and end, in whole blocks but for the end."""
    begin = first_start // BLOCK * BLOCK
    all_to = tl.maximum(first_end // BLOCK * BLOCK, begin)
    all_from = tl.minimum((last_start + BLOCK - 1) // BLOCK * BLOCK, all_to)
    return begin, all_from, all_to, last_end


@jit
def _blocks_of(begin, all_from, all_to, end, BLOCK: tl.constexpr, MASKED: tl.constexpr):  # type: ignore[no-untyped-def]
    """How many blocks need a comparison, or need none."""
    if MASKED:
        return (all_from - begin) // BLOCK + (end - all_to + BLOCK - 1) // BLOCK
    return (all_to - all_from) // BLOCK


@jit
def _first_of(number, begin, all_from, all_to, BLOCK: tl.constexpr, MASKED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where the `number`-th of them begins: with comparison those before `all_from`, then those from `all_to` on."""
    if MASKED:
        first = begin + number * BLOCK
        return tl.where(first < all_from, first, first - all_from + all_to)
    return all_from + number * BLOCK


@jit
def _forward_span(  # type: ignore[no-untyped-def]
    out_qd, top_q, sum_q, q_qd, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q,
    k_stride, v_stride, scale, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    key_k = tl.arange(0, BLOCK_K)
    for number in tl.range(0, _blocks_of(begin, all_from, all_to, end, BLOCK_K, MASKED)):
        first = _first_of(number, begin, all_from, all_to, BLOCK_K, MASKED)
        k_kd = _rows(k_at, first, key_k, keys, k_stride, D, BLOCK_D, MASKED)
        score_qk = tl.dot(q_qd, tl.trans(k_kd))
        if MASKED:
            place_k = first + key_k
            seen = (place_k[None, :] >= start_q[:, None]) & (place_k[None, :] < end_q[:, None])
            score_qk = tl.where(seen, score_qk, float("-inf"))
        new_top_q = tl.maximum(top_q, tl.max(score_qk, 1) * scale)
        p_qk = tl.exp2(score_qk * scale - new_top_q[:, None])
        shrink_q = tl.exp2(top_q - new_top_q)
        sum_q = sum_q * shrink_q + tl.sum(p_qk, 1)
        out_qd = out_qd * shrink_q[:, None]
        v_kd = _rows(v_at, first, key_k, keys, v_stride, D, BLOCK_D, MASKED)
        out_qd = tl.dot(p_qk.to(v_kd.dtype), v_kd, out_qd)
        top_q = new_top_q
    return out_qd, top_q, sum_q


@jit_varying(*VARYING)
def _attention_forward(  # type: ignore[no-untyped-def]
    q_at, k_at, v_at, out_at, lse_at, start_at, end_at, offset, queries, keys, heads, group, scale,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head; the blocks with the most keys come first."""
    batch = (tl.program_id(0) // heads).to(tl.int64)
    head = (tl.program_id(0) % heads).to(tl.int64)
    first = (tl.num_programs(1) - 1 - tl.program_id(1)) * BLOCK_Q
    row_q = tl.arange(0, BLOCK_Q)
    last = tl.minimum(first + BLOCK_Q, queries) - 1
    start_at += batch * keys + offset
    end_at += batch * keys + offset
    start_q = tl.load(start_at + first + row_q, mask=first + row_q < queries, other=0)
    if CAUSAL:
        end_q = offset + first + row_q + 1
        first_end, last_end = offset + first + 1, offset + last + 1
    else:
        end_q = tl.load(end_at + first + row_q, mask=first + row_q < queries, other=0)
        first_end, last_end = tl.load(end_at + first), tl.load(end_at + last)
    begin, all_from, all_to, end = _spans(
        tl.load(start_at + first), tl.load(start_at + last), first_end, last_end, BLOCK_K
    )
    q_qd = _rows(q_at + _aligned(batch * q_batch + head * q_head, D), first, row_q, queries, q_row, D, BLOCK_D, True)
    k_at += _aligned(batch * k_batch + head // group * k_head, D)
    v_at += _aligned(batch * v_batch + head // group * v_head, D)
    # Finite, so that a row which sees nothing of a block keeps its sums.
    top_q = tl.full((BLOCK_Q,), -1e30, tl.float32)
    sum_q = tl.zeros((BLOCK_Q,), tl.float32)
    out_qd = tl.zeros((BLOCK_Q, BLOCK_D), tl.float32)
    out_qd, top_q, sum_q = _forward_span(
        out_qd, top_q, sum_q, q_qd, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q, k_row, v_row, scale,
        D, BLOCK_D, BLOCK_K, False,
    )  # fmt: skip
    out_qd, top_q, sum_q = _forward_span(
        out_qd, top_q, sum_q, q_qd, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q, k_row, v_row, scale,
        D, BLOCK_D, BLOCK_K, True,
    )  # fmt: skip
    sum_q = tl.maximum(sum_q, 1e-30)  # of rows past the end
    out_at += (batch * queries * heads + head) * D
    _put(out_at, first, row_q, queries, heads * D, out_qd / sum_q[:, None], D, BLOCK_D)
    lse_at += (batch * heads + head) * queries
    tl.store(lse_at + first + row_q, top_q + tl.log2(sum_q), mask=first + row_q < queries)


@jit
def _queries_span(  # type: ignore[no-untyped-def]
    dq_qd, q_qd, dout_qd, lse_q, delta_q, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q,
    k_stride, v_stride, scale, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    key_k = tl.arange(0, BLOCK_K)
    for number in tl.range(0, _blocks_of(begin, all_from, all_to, end, BLOCK_K, MASKED)):
        first = _first_of(number, begin, all_from, all_to, BLOCK_K, MASKED)
        k_kd = _rows(k_at, first, key_k, keys, k_stride, D, BLOCK_D, MASKED)
        v_kd = _rows(v_at, first, key_k, keys, v_stride, D, BLOCK_D, MASKED)
        score_qk = tl.dot(q_qd, tl.trans(k_kd))
        dp_qk = tl.dot(dout_qd, tl.trans(v_kd))
        p_qk = tl.exp2(score_qk * scale - lse_q[:, None])
        if MASKED:
            place_k = first + key_k
            seen = (place_k[None, :] >= start_q[:, None]) & (place_k[None, :] < end_q[:, None])
            p_qk = tl.where(seen, p_qk, 0.0)
        ds_qk = p_qk * (dp_qk - delta_q[:, None])
        dq_qd = tl.dot(ds_qk.to(k_kd.dtype), k_kd, dq_qd)
    return dq_qd


@jit_varying(*VARYING)
def _attention_backward_queries(  # type: ignore[no-untyped-def]
    q_at, k_at, v_at, out_at, dout_at, lse_at, delta_at, dq_at, start_at, end_at,
    offset, queries, keys, heads, group, scale, unit,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head, dout_batch, dout_row, dout_head,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Gradient of one block of queries of one head, and its `delta = Σ_d out · dout` for the other kernel."""
    batch = (tl.program_id(0) // heads).to(tl.int64)
    head = (tl.program_id(0) % heads).to(tl.int64)
    first = (tl.num_programs(1) - 1 - tl.program_id(1)) * BLOCK_Q
    row_q = tl.arange(0, BLOCK_Q)
    last = tl.minimum(first + BLOCK_Q, queries) - 1
    start_at += batch * keys + offset
    end_at += batch * keys + offset
    start_q = tl.load(start_at + first + row_q, mask=first + row_q < queries, other=0)
    if CAUSAL:
        end_q = offset + first + row_q + 1
        first_end, last_end = offset + first + 1, offset + last + 1
    else:
        end_q = tl.load(end_at + first + row_q, mask=first + row_q < queries, other=0)
        first_end, last_end = tl.load(end_at + first), tl.load(end_at + last)
    begin, all_from, all_to, end = _spans(
        tl.load(start_at + first), tl.load(start_at + last), first_end, last_end, BLOCK_K
    )
    out_at += (batch * queries * heads + head) * D
    out_qd = _rows(out_at, first, row_q, queries, heads * D, D, BLOCK_D, True)
    dout_at += _aligned(batch * dout_batch + head * dout_head, D)
    dout_qd = _rows(dout_at, first, row_q, queries, dout_row, D, BLOCK_D, True)
    delta_q = tl.sum(out_qd.to(tl.float32) * dout_qd.to(tl.float32), 1)
    statistic = (batch * heads + head) * queries + first + row_q
    tl.store(delta_at + statistic, delta_q, mask=first + row_q < queries)
    lse_q = tl.load(lse_at + statistic, mask=first + row_q < queries, other=0.0)
    q_qd = _rows(q_at + _aligned(batch * q_batch + head * q_head, D), first, row_q, queries, q_row, D, BLOCK_D, True)
    k_at += _aligned(batch * k_batch + head // group * k_head, D)
    v_at += _aligned(batch * v_batch + head // group * v_head, D)
    dq_qd = tl.zeros((BLOCK_Q, BLOCK_D), tl.float32)
    dq_qd = _queries_span(
        dq_qd, q_qd, dout_qd, lse_q, delta_q, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q, k_row, v_row,
        scale, D, BLOCK_D, BLOCK_K, False,
    )  # fmt: skip
    dq_qd = _queries_span(
        dq_qd, q_qd, dout_qd, lse_q, delta_q, k_at, v_at, begin, all_from, all_to, end, keys, start_q, end_q, k_row, v_row,
        scale, D, BLOCK_D, BLOCK_K, True,
    )  # fmt: skip
    dq_at += (batch * queries * heads + head) * D
    _put(dq_at, first, row_q, queries, heads * D, dq_qd * unit, D, BLOCK_D)


@jit
def _keys_span(  # type: ignore[no-untyped-def]
    dk_kd, dv_kd, k_kd, v_kd, q_at, dout_at, lse_at, delta_at, begin, all_from, all_to, end, queries, share, start_k, end_k,
    q_row, q_head, dout_row, dout_head, scale,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Blocks of queries of `share` heads, one head after the other in one loop, so that its loads never run dry."""
    row_q = tl.arange(0, BLOCK_Q)
    blocks = _blocks_of(begin, all_from, all_to, end, BLOCK_Q, MASKED)
    for step in tl.range(0, share * blocks):
        head = (step // blocks).to(tl.int64)
        first = _first_of(step % blocks, begin, all_from, all_to, BLOCK_Q, MASKED)
        q_qd = _rows(q_at + _aligned(head * q_head, D), first, row_q, queries, q_row, D, BLOCK_D, MASKED)
        dout_qd = _rows(dout_at + _aligned(head * dout_head, D), first, row_q, queries, dout_row, D, BLOCK_D, MASKED)
        place_q = first + row_q
        if MASKED:
            lse_q = tl.load(lse_at + head * queries + place_q, mask=place_q < queries, other=0.0)
            delta_q = tl.load(delta_at + head * queries + place_q, mask=place_q < queries, other=0.0)
        else:
            lse_q = tl.load(lse_at + head * queries + place_q)
            delta_q = tl.load(delta_at + head * queries + place_q)
        score_kq = tl.dot(k_kd, tl.trans(q_qd))
        dp_kq = tl.dot(v_kd, tl.trans(dout_qd))
        p_kq = tl.exp2(score_kq * scale - lse_q[None, :])
        if MASKED:
            seen = (place_q[None, :] >= start_k[:, None]) & (place_q[None, :] < end_k[:, None])
            p_kq = tl.where(seen, p_kq, 0.0)
        dv_kd = tl.dot(p_kq.to(dout_qd.dtype), dout_qd, dv_kd)
        ds_kq = p_kq * (dp_kq - delta_q[None, :])
        dk_kd = tl.dot(ds_kq.to(q_qd.dtype), q_qd, dk_kd)
    return dk_kd, dv_kd


@jit_varying(*VARYING, "parts")
def _attention_backward_keys(  # type: ignore[no-untyped-def]
    q_at, k_at, v_at, dout_at, lse_at, delta_at, dk_at, dv_at, start_at, end_at,
    offset, queries, keys, heads, group, parts, scale, unit,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head, dout_batch, dout_row, dout_head,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Gradient of one block of keys and values from one of `parts` of the query heads of its group, in order."""
    programs = heads // group * parts
    batch = (tl.program_id(0) // programs).to(tl.int64)
    part = (tl.program_id(0) % programs).to(tl.int64)
    kv_head = part // parts
    first = tl.program_id(1) * BLOCK_K
    key_k = tl.arange(0, BLOCK_K)
    last = tl.minimum(first + BLOCK_K, keys) - 1
    start_at += batch * keys
    end_at += batch * keys
    end_k = tl.load(end_at + first + key_k, mask=first + key_k < keys, other=0)
    if CAUSAL:
        start_k = first + key_k
        first_start, last_start = first, last
    else:
        start_k = tl.load(start_at + first + key_k, mask=first + key_k < keys, other=0)
        first_start, last_start = tl.load(start_at + first), tl.load(start_at + last)
    # From places in the row to rows of the queries that are here.
    start_k, end_k = start_k - offset, tl.minimum(end_k - offset, queries)
    first_start, last_start = tl.maximum(first_start - offset, 0), tl.maximum(last_start - offset, 0)
    first_end = tl.maximum(tl.minimum(tl.load(end_at + first) - offset, queries), 0)
    last_end = tl.maximum(tl.minimum(tl.load(end_at + last) - offset, queries), 0)
    begin, all_from, all_to, end = _spans(first_start, last_start, first_end, last_end, BLOCK_Q)
    k_kd = _rows(k_at + _aligned(batch * k_batch + kv_head * k_head, D), first, key_k, keys, k_row, D, BLOCK_D, True)
    v_kd = _rows(v_at + _aligned(batch * v_batch + kv_head * v_head, D), first, key_k, keys, v_row, D, BLOCK_D, True)
    dk_kd = tl.zeros((BLOCK_K, BLOCK_D), tl.float32)
    dv_kd = tl.zeros((BLOCK_K, BLOCK_D), tl.float32)
    share = group // parts
    q_at += _aligned(batch * q_batch + part * share * q_head, D)
    dout_at += _aligned(batch * dout_batch + part * share * dout_head, D)
    lse_at += (batch * heads + part * share) * queries
    delta_at += (batch * heads + part * share) * queries
    dk_kd, dv_kd = _keys_span(
        dk_kd, dv_kd, k_kd, v_kd, q_at, dout_at, lse_at, delta_at, begin, all_from, all_to, end, queries, share,
        start_k, end_k, q_row, q_head, dout_row, dout_head, scale, D, BLOCK_D, BLOCK_Q, False,
    )  # fmt: skip
    dk_kd, dv_kd = _keys_span(
        dk_kd, dv_kd, k_kd, v_kd, q_at, dout_at, lse_at, delta_at, begin, all_from, all_to, end, queries, share,
        start_k, end_k, q_row, q_head, dout_row, dout_head, scale, D, BLOCK_D, BLOCK_Q, True,
    )  # fmt: skip
    place = (batch * keys * programs + part) * D
    _put(dk_at + place, first, key_k, keys, programs * D, dk_kd * unit, D, BLOCK_D)
    _put(dv_at + place, first, key_k, keys, programs * D, dv_kd, D, BLOCK_D)


def _blocks(rows: int, block: int) -> int:
    return (rows + block - 1) // block


def _parts(group: int, programs: int, wanted: int) -> int:
    """Into how many programs to cut a group of heads: its fewest equal parts that give as many as are wanted, or all."""
    return next((parts for parts in range(1, group) if group % parts == 0 and parts * programs >= wanted), group)


def forward_kernel(
    q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, start_BL: Tensor, end_BL: Tensor, offset: int, causal: bool,
    blocks: Blocks | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """→ out [B, S, N, D] and the log2 of each query's sum of exponentials [B, N, S] float32."""
    B, S, N, D = q_BSND.shape
    blocks = blocks or (FORWARD if D <= 128 else FORWARD_WIDE)
    L, K = k_BLKD.shape[1:3]
    out_BSND = q_BSND.new_empty(B, S, N, D)
    lse_BNS = torch.empty(B, N, S, dtype=torch.float32, device=q_BSND.device)
    _attention_forward[(B * N, _blocks(S, blocks.queries))](
        q_BSND, k_BLKD, v_BLKD, out_BSND, lse_BNS, start_BL, end_BL, offset, S, L, N, N // K, LOG2_E * D**-0.5,
        *q_BSND.stride()[:3], *k_BLKD.stride()[:3], *v_BLKD.stride()[:3],
        D=D, BLOCK_D=max(16, next_power_of_2(D)), BLOCK_Q=blocks.queries, BLOCK_K=blocks.keys, CAUSAL=causal,
        num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    return out_BSND, lse_BNS


def backward_kernels(
    dout_BSND: Tensor, q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, out_BSND: Tensor, lse_BNS: Tensor,
    start_BL: Tensor, end_BL: Tensor, offset: int, causal: bool, whole_rows: bool = False, launch: Launch | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """→ gradients of q, k and v."""
    B, S, N, D = q_BSND.shape
    L, K = k_BLKD.shape[1:3]
    of_queries, of_keys, programs = launch or (BACKWARD[whole_rows] if D <= 128 else BACKWARD_WIDE)
    parts = _parts(N // K, B * K * _blocks(L, of_keys.keys), programs)
    dq_BSND = q_BSND.new_empty(B, S, N, D)
    delta_BNS = torch.empty_like(lse_BNS)
    strides = (*q_BSND.stride()[:3], *k_BLKD.stride()[:3], *v_BLKD.stride()[:3], *dout_BSND.stride()[:3])
    sizes = {"D": D, "BLOCK_D": max(16, next_power_of_2(D)), "CAUSAL": causal}
    scale = LOG2_E * D**-0.5
    _attention_backward_queries[(B * N, _blocks(S, of_queries.queries))](
        q_BSND, k_BLKD, v_BLKD, out_BSND, dout_BSND, lse_BNS, delta_BNS, dq_BSND, start_BL, end_BL,
        offset, S, L, N, N // K, scale, D**-0.5, *strides, **sizes,
        BLOCK_Q=of_queries.queries, BLOCK_K=of_queries.keys, num_warps=of_queries.warps, num_stages=of_queries.stages,
    )  # fmt: skip
    kind = torch.float32 if parts > 1 else k_BLKD.dtype
    dk = torch.empty(B, L, K, parts, D, dtype=kind, device=k_BLKD.device)
    dv = torch.empty_like(dk)
    _attention_backward_keys[(B * K * parts, _blocks(L, of_keys.keys))](
        q_BSND, k_BLKD, v_BLKD, dout_BSND, lse_BNS, delta_BNS, dk, dv, start_BL, end_BL,
        offset, S, L, N, N // K, parts, scale, D**-0.5, *strides, **sizes,
        BLOCK_Q=of_keys.queries, BLOCK_K=of_keys.keys, num_warps=of_keys.warps, num_stages=of_keys.stages,
    )  # fmt: skip
    if parts > 1:
        return dq_BSND, dk.sum(3).to(k_BLKD.dtype), dv.sum(3).to(v_BLKD.dtype)
    return dq_BSND, dk.squeeze(3), dv.squeeze(3)


def _shapes_forward(
    q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, start_BL: Tensor, end_BL: Tensor, offset: int, causal: bool
) -> tuple[Tensor, Tensor]:
    B, S, N, _ = q_BSND.shape
    return q_BSND.new_empty(q_BSND.shape), q_BSND.new_empty((B, N, S), dtype=torch.float32)


def _shapes_backward(
    dout_BSND: Tensor, q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, out_BSND: Tensor, lse_BNS: Tensor,
    start_BL: Tensor, end_BL: Tensor, offset: int, causal: bool, whole_rows: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return q_BSND.new_empty(q_BSND.shape), k_BLKD.new_empty(k_BLKD.shape), v_BLKD.new_empty(v_BLKD.shape)


_LIBRARY: Any = torch.library.Library("expedition", "FRAGMENT")  # type: ignore[no-untyped-call]
"""The launches as operations of torch: recomputation can keep their results, fake tensors pass."""
_PLACES = "Tensor start, Tensor end, int offset, bool causal"
_LIBRARY.define(f"span_attention(Tensor q, Tensor k, Tensor v, {_PLACES}) -> (Tensor, Tensor)")
_LIBRARY.define(
    f"span_attention_backward(Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, {_PLACES}, bool whole_rows)"
    " -> (Tensor, Tensor, Tensor)"
)
for _key in ("CUDA", "CPU"):
    _LIBRARY.impl("span_attention", forward_kernel, _key)
    _LIBRARY.impl("span_attention_backward", backward_kernels, _key)
_LIBRARY.impl("span_attention", _shapes_forward, "Meta")
_LIBRARY.impl("span_attention_backward", _shapes_backward, "Meta")


def _in_steps(x: Tensor) -> Tensor:
    """As it lies where heads begin at multiples of eight values, as `_aligned` says; else a copy."""
    steps = all(stride % 8 == 0 for stride in (*x.stride()[:3], x.storage_offset())) or x.shape[-1] % 16 != 8
    return x if x.stride(-1) == 1 and steps else x.contiguous()


class _SpanAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, start_BL: Tensor, end_BL: Tensor, offset: int,
        causal: bool, whole_rows: bool,
    ) -> Tensor:  # fmt: skip
        q_BSND, k_BLKD, v_BLKD = _in_steps(q_BSND), _in_steps(k_BLKD), _in_steps(v_BLKD)
        out_BSND, lse_BNS = torch.ops.expedition.span_attention(
            q_BSND, k_BLKD, v_BLKD, start_BL, end_BL, offset, causal
        )
        ctx.save_for_backward(q_BSND, k_BLKD, v_BLKD, out_BSND, lse_BNS, start_BL, end_BL)
        ctx.places = offset, causal, whole_rows
        return out_BSND  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dout_BSND: Tensor) -> tuple[Tensor | None, ...]:
        grads = torch.ops.expedition.span_attention_backward(_in_steps(dout_BSND), *ctx.saved_tensors, *ctx.places)
        return *grads, None, None, None, None, None


def span_attention(
    q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, start_BL: Tensor, end_BL: Tensor, *,
    causal: bool, offset: int = 0, whole_rows: bool = False,
) -> Tensor:  # fmt: skip
    """Attention of queries at places offset … offset + S - 1 of every row, each inside its own span → [B, S, N, D].

    Place p sees keys `start_p … end_p - 1`, and with `causal` none after itself; both int32, contiguous, never decreasing
    along a row, and the same for all places of a span. `whole_rows` (each row is one span) decides about speed alone.
    """
    out_BSND: Tensor = _SpanAttention.apply(  # type: ignore[no-untyped-call]
        q_BSND, k_BLKD, v_BLKD, start_BL, end_BL, offset, causal, whole_rows
    )
    return out_BSND

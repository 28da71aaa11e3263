"""Attention: inside documents (decoder) and inside segments of a packed row (encoders), one signature each.

Shapes: B batch, S sequence (queries), L keys (and the rows that they are of), N query heads, K key/value heads, D head
size, P packed positions, M segments.
On a CUDA device, in half precision, all go through one kernel that takes the span of keys of every place
(`attention_triton.py`); everywhere else through `scaled_dot_product_attention`, which picks its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels.attention_triton import span_attention
from expedition.kernels.host import is_readable, send
from expedition.kernels.triton_jit import INTERPRETED, triton

__all__ = [
    "Documents",
    "SegmentPlan",
    "Segments",
    "SpanPlan",
    "attend",
    "document_attention",
    "document_mask",
    "plan_documents",
    "plan_segments",
    "segment_attention",
]


def document_mask(document_BL: Tensor, first: int = 0) -> Tensor:
    """Which key each query may see, bool [B, 1, S, L]: same document, not later.

    Documents are numbered 1.. in a row, 0 is padding. Padding sees itself alone, so that its softmax is finite. The
    queries are the positions from `first` on of every row.
    """
    place_L = torch.arange(document_BL.shape[1], device=document_BL.device)
    document_BS = document_BL[:, first:]
    later_SL = place_L - place_L[first:].unsqueeze(1)
    same_BSL = document_BS.unsqueeze(2) == document_BL.unsqueeze(1)
    return ((same_BSL & (later_SL <= 0) & (document_BS > 0).unsqueeze(2)) | (later_SL == 0)).unsqueeze(1)


def attend(q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, mask: Tensor | None, *, causal: bool = False) -> Tensor:
    """Scaled attention of N query heads over K ≤ N key heads → [B, S, N, D].

    Bool `mask` [B, 1, S, L] says what is seen (None: everything); `causal` (with no mask, S = L): nothing later.
    """
    groups = q_BSND.shape[2] // k_BLKD.shape[2]
    out_BNSD = F.scaled_dot_product_attention(
        q_BSND.transpose(1, 2),
        k_BLKD.transpose(1, 2),
        v_BLKD.transpose(1, 2),
        attn_mask=mask,
        is_causal=causal,
        enable_gqa=groups > 1,
    )
    return out_BNSD.transpose(1, 2)


@dataclass(frozen=True, slots=True)
class SegmentBucket:
    """Segments that are attended in one call: rows of one padded length."""

    index_ML: Tensor | None
    """Packed position of each row's entries [M, L]; None where the whole packed row is M segments of length L."""
    rows: int
    length: int
    mask_ML: Tensor | None
    """True at real entries; None where all rows are full."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """How packed positions fall into segments; made once a batch on the host, used by every encoder layer."""

    buckets: tuple[SegmentBucket, ...]
    order_P: Tensor | None
    """Where each packed position lies in the buckets' rows laid end to end; None for one full bucket."""


class SpanPlan(NamedTuple):
    """Which span of places of its row each place belongs to: a document, a segment, or itself alone (padding).

    Two numbers a place, whatever the number of documents, so that variable packing changes no shape. A tuple, since FSDP2
    of some torch versions cannot take frozen classes with tensors apart.
    """

    start_BL: Tensor
    """First place of its span, int32."""
    end_BL: Tensor
    """One past the last place of its span, int32."""
    whole_rows: bool = False
    """Every row is known on the host to be one document."""
    stretches: tuple[tuple[int, int], ...] = ()
    """First and end of each stretch of queries of every row; empty where queries are whole rows."""


Segments = SegmentPlan | SpanPlan
"""What `plan_segments` gives."""


def _spans_fit(device: torch.device, dtype: torch.dtype | None = None) -> bool:
    """Where the span kernel runs; without `dtype`, where it may."""
    if triton is None or device.type != "cuda":
        return INTERPRETED and device.type == "cpu"
    return dtype in (torch.bfloat16, torch.float16, None)


def plan_segments(lengths: list[int], device: torch.device, dtype: torch.dtype = torch.float32) -> Segments:
    """How consecutive segments of a packed row are attended in `dtype`, from their lengths on the host.

    Spans where the kernel takes them. Elsewhere segments grouped by length, so that attention runs over few padded
    batches: a bucket holds lengths above 3/4 of its longest, so padding costs less than a third; equal lengths cost none.
    """
    if _spans_fit(device, dtype):
        length_M = torch.tensor(lengths)
        end_M = length_M.cumsum(0)
        ends = torch.stack((end_M - length_M, end_M)).to(torch.int32).repeat_interleave(length_M, dim=1)
        start_BL, end_BL = send(ends, device).unsqueeze(1).unbind()
        return SpanPlan(start_BL, end_BL)
    return _plan_buckets(lengths, device)


def _plan_buckets(lengths: list[int], device: torch.device) -> SegmentPlan:
    if len(set(lengths)) == 1:
        return SegmentPlan((SegmentBucket(None, len(lengths), lengths[0], None),), None)
    starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
    order = sorted(range(len(lengths)), key=lambda segment: -lengths[segment])
    buckets: list[SegmentBucket] = []
    order_P = torch.empty(starts[-1], dtype=torch.long)
    first = base = 0
    while first < len(order):
        longest = lengths[order[first]]
        members = [s for s in order[first:] if 4 * lengths[s] > 3 * longest]
        length_M = torch.tensor([lengths[s] for s in members])
        start_M = torch.tensor([starts[s] for s in members])
        step_L = torch.arange(longest)
        mask_ML = step_L < length_M[:, None]
        index_ML = start_M[:, None] + torch.minimum(step_L[None, :], length_M[:, None] - 1)
        slot_ML = base + torch.arange(len(members) * longest).view(len(members), longest)
        order_P[index_ML[mask_ML]] = slot_ML[mask_ML]
        mask = None if bool(mask_ML.all()) else send(mask_ML, device)
        buckets.append(SegmentBucket(send(index_ML, device), len(members), longest, mask))
        first += len(members)
        base += len(members) * longest
    return SegmentPlan(tuple(buckets), send(order_P, device))


class StretchPlan(NamedTuple):
    """What the queries see where they are some stretches of every row: a mask over the keys up to each stretch's end.

    Later keys are never multiplied, so stretches that cost the same by position cost the same in time. A tuple, since FSDP2
    of some torch versions cannot take frozen classes with tensors apart.
    """

    masks: tuple[Tensor, ...]
    """One [B, 1, length, end] for each stretch, in the order of the queries."""


Documents = SegmentPlan | SpanPlan | StretchPlan | Tensor
"""What `plan_documents` gives: segments or spans of packed rows, masks of stretches, or one mask [B, 1, S, S]."""


def plan_documents(
    document_BS: Tensor, stretches: Sequence[tuple[int, int]] | None = None, *, whole_rows: bool = False
) -> Documents:
    """How `document_attention` finds the documents of packed rows (numbers 1.. in a row, 0 is padding).

    On a CUDA device the span of each place, found there: nothing is read on the host. On the CPU segments, so that work
    grows with documents and not with rows; padding between them is one more segment that nobody reads. Elsewhere a mask,
    since segments would have to be read; also where the queries are only those in `stretches` (first, end) of every row.

    `whole_rows`: the host knows that every row is one document.
    """
    if _spans_fit(document_BS.device):
        return _document_spans(document_BS)._replace(whole_rows=whole_rows, stretches=tuple(stretches or ()))
    if stretches is not None:
        return StretchPlan(tuple(document_mask(document_BS[:, :end], first) for first, end in stretches))
    if not is_readable(document_BS):
        return document_mask(document_BS)
    starts_BS = torch.ones_like(document_BS, dtype=torch.bool)
    starts_BS[:, 1:] = document_BS[:, 1:] != document_BS[:, :-1]
    start_M = starts_BS.flatten().nonzero().squeeze(1)
    lengths_M = torch.diff(start_M, append=start_M.new_tensor([document_BS.numel()]))
    return _plan_buckets(lengths_M.tolist(), document_BS.device)


def _document_spans(document_BL: Tensor) -> SpanPlan:
    """Documents as spans; a place of padding is one alone, so that its softmax is finite."""
    size = document_BL.shape[1]
    place_L = torch.arange(size, dtype=torch.int32, device=document_BL.device)
    first_BL = document_BL == 0
    first_BL[:, 1:] |= document_BL[:, 1:] != document_BL[:, :-1]
    first_BL[:, :1] = True
    last_BL = F.pad(first_BL[:, 1:], (0, 1), value=True)
    start_BL = torch.where(first_BL, place_L, 0).cummax(1).values
    end_BL = torch.where(last_BL, place_L + 1, size).flip(1).cummin(1).values.flip(1)
    return SpanPlan(start_BL.contiguous(), end_BL.contiguous())


def document_attention(q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, documents: Documents) -> Tensor:
    """Causal attention inside each document of packed rows → [B, S, N, D]; `documents` from `plan_documents`.

    Keys and values are of whole rows; queries too, or of the plan's stretches one after the other.
    """
    if isinstance(documents, Tensor):
        return attend(q_BSND, k_BLKD, v_BLKD, documents)
    if isinstance(documents, SpanPlan):
        return _spans_attention(q_BSND, k_BLKD, v_BLKD, documents)
    if isinstance(documents, StretchPlan):
        masks = documents.masks
        parts = torch.split(q_BSND, [mask.shape[2] for mask in masks], dim=1)
        ends = [mask.shape[3] for mask in masks]
        outs = [
            attend(part, k_BLKD[:, :end], v_BLKD[:, :end], mask)
            for part, end, mask in zip(parts, ends, masks, strict=True)
        ]
        return torch.cat(outs, dim=1)
    q_PND, k_PKD, v_PKD = (x.flatten(0, 1) for x in (q_BSND, k_BLKD, v_BLKD))
    return segment_attention(q_PND, k_PKD, v_PKD, documents, causal=True).view_as(q_BSND)


def _spans_attention(q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, plan: SpanPlan) -> Tensor:
    """Causal, queries of whole rows or of stretches; each stretch reads no key after its end."""
    if plan.whole_rows and not plan.stretches and _cudnn_is_faster(q_BSND):
        q_BNSD, k_BKLD, v_BKLD = (x.transpose(1, 2) for x in (q_BSND, k_BLKD, v_BLKD))
        cudnn = torch.ops.aten._scaled_dot_product_cudnn_attention
        out_BNSD: Tensor = cudnn(q_BNSD, k_BKLD, v_BKLD, None, True, 0.0, True, False)[0]
        return out_BNSD.transpose(1, 2)
    outs, row = [], 0
    for first, end in plan.stretches or ((0, q_BSND.shape[1]),):
        part = q_BSND[:, row : row + end - first]
        row += end - first
        if _spans_fit(q_BSND.device, q_BSND.dtype):
            out = span_attention(
                part, k_BLKD, v_BLKD, plan.start_BL, plan.end_BL, causal=True, offset=first, whole_rows=plan.whole_rows
            )
            outs.append(out)
        else:
            place_L = torch.arange(end, device=q_BSND.device)
            seen_BSL = plan.start_BL[:, first:end, None] <= place_L
            seen_BSL &= place_L <= place_L[first:, None]
            outs.append(attend(part, k_BLKD[:, :end], v_BLKD[:, :end], seen_BSL.unsqueeze(1)))
    return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)


def _cudnn_is_faster(q_BSND: Tensor) -> bool:
    """On whole causal rows on Hopper, by a fifth. Not where torch is asked for equal bits: its backward pass adds in an order
    that differs from call to call."""
    return (
        q_BSND.is_cuda
        and q_BSND.dtype in (torch.bfloat16, torch.float16)
        and q_BSND.shape[-1] in (64, 128)
        and q_BSND.shape[1] >= 512
        and torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
        and not torch.are_deterministic_algorithms_enabled()
        and torch.cuda.get_device_capability(q_BSND.device)[0] == 9
    )


def segment_attention(q_PND: Tensor, k_PKD: Tensor, v_PKD: Tensor, plan: Segments, *, causal: bool = False) -> Tensor:
    """Attention inside each segment of a packed row, full or causal → [P, N, D]."""
    if isinstance(plan, SpanPlan):
        q_BPND, k_BPKD, v_BPKD = q_PND.unsqueeze(0), k_PKD.unsqueeze(0), v_PKD.unsqueeze(0)
        return span_attention(q_BPND, k_BPKD, v_BPKD, plan.start_BL, plan.end_BL, causal=causal).squeeze(0)
    outs = [_bucket_attention(q_PND, k_PKD, v_PKD, bucket, causal) for bucket in plan.buckets]
    if plan.order_P is None:
        return outs[0]
    return torch.cat(outs).index_select(0, plan.order_P)


def _bucket_attention(q_PND: Tensor, k_PKD: Tensor, v_PKD: Tensor, bucket: SegmentBucket, causal: bool) -> Tensor:
    rows_lengths = (bucket.rows, bucket.length)
    rows = [q_PND, k_PKD, v_PKD]
    if bucket.index_ML is not None:
        flat = bucket.index_ML.flatten()
        rows = [x.index_select(0, flat) for x in rows]
    q_MLND, k_MLKD, v_MLKD = (x.reshape(*rows_lengths, *x.shape[1:]) for x in rows)
    # Padding lies after the real entries of a row, so a causal row needs no mask against it.
    mask = None if bucket.mask_ML is None or causal else bucket.mask_ML[:, None, None, :]
    return attend(q_MLND, k_MLKD, v_MLKD, mask, causal=causal).flatten(0, 1)

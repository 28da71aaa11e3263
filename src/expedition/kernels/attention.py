"""Attention: inside documents (decoder) and inside segments of a packed row (encoders), one signature each.

Shapes: B batch, S sequence (queries), L keys (and the rows that they are of), N query heads, K key/value heads, D head
size, P packed positions.
All go through `scaled_dot_product_attention`, which picks its own kernel for the device, the dtype and the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from expedition.kernels.host import is_readable

__all__ = [
    "Documents",
    "SegmentPlan",
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


def plan_segments(lengths: list[int], device: torch.device) -> SegmentPlan:
    """Group consecutive segments of a packed row by length, so that attention runs over few padded batches.

    A bucket holds lengths above 3/4 of its longest, so padding costs less than a third; equal lengths cost none.
    """
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
        mask = None if bool(mask_ML.all()) else mask_ML.to(device, non_blocking=True)
        buckets.append(SegmentBucket(index_ML.to(device, non_blocking=True), len(members), longest, mask))
        first += len(members)
        base += len(members) * longest
    return SegmentPlan(tuple(buckets), order_P.to(device, non_blocking=True))


class StretchPlan(NamedTuple):
    """What the queries see where they are some stretches of every row: a mask over the keys up to each stretch's end.

    Later keys are never multiplied, so stretches that cost the same by position cost the same in time. A tuple, since FSDP2
    of some torch versions cannot take frozen classes with tensors apart.
    """

    masks: tuple[Tensor, ...]
    """One [B, 1, length, end] for each stretch, in the order of the queries."""


Documents = SegmentPlan | StretchPlan | Tensor
"""What `plan_documents` gives: segments of the packed rows, masks of stretches, or one mask [B, 1, S, S]."""


def plan_documents(document_BS: Tensor, stretches: Sequence[tuple[int, int]] | None = None) -> Documents:
    """How `document_attention` finds the documents of packed rows (numbers 1.. in a row, 0 is padding).

    On the CPU segments, so that work grows with documents and not with rows; padding between them is one more segment
    that nobody reads. Elsewhere a mask, since segments would have to be read on the host; also where the queries are
    only those in `stretches` (first, end) of every row.
    """
    if stretches is not None:
        return StretchPlan(tuple(document_mask(document_BS[:, :end], first) for first, end in stretches))
    if not is_readable(document_BS):
        return document_mask(document_BS)
    starts_BS = torch.ones_like(document_BS, dtype=torch.bool)
    starts_BS[:, 1:] = document_BS[:, 1:] != document_BS[:, :-1]
    start_M = starts_BS.flatten().nonzero().squeeze(1)
    lengths_M = torch.diff(start_M, append=start_M.new_tensor([document_BS.numel()]))
    return plan_segments(lengths_M.tolist(), document_BS.device)


def document_attention(q_BSND: Tensor, k_BLKD: Tensor, v_BLKD: Tensor, documents: Documents) -> Tensor:
    """Causal attention inside each document of packed rows → [B, S, N, D]; `documents` from `plan_documents`.

    Keys and values are of whole rows; queries too, or of the plan's stretches one after the other.
    """
    if isinstance(documents, Tensor):
        return attend(q_BSND, k_BLKD, v_BLKD, documents)
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


def segment_attention(
    q_PND: Tensor, k_PKD: Tensor, v_PKD: Tensor, plan: SegmentPlan, *, causal: bool = False
) -> Tensor:
    """Attention inside each segment of a packed row, full or causal → [P, N, D]."""
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

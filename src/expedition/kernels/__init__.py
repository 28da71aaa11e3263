"""kernels: the model's few hot operations, each as plain torch that defines it and the fastest way on this machine.

Why a room: speed lives here and nowhere above; a kernel knows tensors, no module, config or mesh. Each operation has
one signature, a reference where the fast way differs, and the choice by device and dtype in the same file.
Verbs (all that other rooms may call):
    attend(q, k, v, mask) -> out                                    scaled attention, grouped query heads
    plan_documents(document_BS), document_attention(q, k, v, plan)  causal inside each document of packed rows
    document_mask(document_BS) -> bool mask                         the same as a mask
    plan_segments(lengths, device) -> SegmentPlan                   on the host, once a batch
    segment_attention(q, k, v, plan, causal) -> out                 inside each segment of a packed row
    route(ids, experts) -> Routing; expert_rows, expert_weights     choices sorted by expert, deterministic
    expert_products(rows, weight, counts, gate_up, down) -> out     SwiGLU of each expert's rows
    sum_rows(out, routing) -> y, permute(rows, order, place)        rows back to tokens
    cross_entropy(logits_TV, labels_T) -> loss_T                    float32, one buffer in backward
    rms_norm, rotate, rotary_table                                  the small operations of the decoder
    is_readable(tensor)                                             values on the host, real, no waiting
Seams: none: a new way to run an operation is a branch of its file's choice, equal to the reference.
Imports: nothing of ours.  Imported by: model, parallel, train.
Reads / writes in the workspace: nothing.
Invariants: each fast way equals its reference in value and gradient [test_experts_equal_reference]
    [test_cross_entropy_equals_reference]; packing never mixes segments [test_segments_do_not_see_each_other]; both ways
    of finding documents agree [test_document_segments_equal_the_mask].
Read in this order:
    attention.py         masks, segments, attention
    grouped_experts.py   sort by expert, products, gather back
    norm_rope.py         norm and rotary turn
    cross_entropy.py     loss over the vocabulary
    host.py              where values can be read
Try: pytest tests/kernels
"""

from expedition.kernels.attention import (
    SegmentPlan,
    attend,
    document_attention,
    document_mask,
    plan_documents,
    plan_segments,
    segment_attention,
)
from expedition.kernels.cross_entropy import cross_entropy
from expedition.kernels.grouped_experts import (
    Routing,
    expert_products,
    expert_rows,
    expert_weights,
    permute,
    route,
    sum_rows,
)
from expedition.kernels.host import is_readable
from expedition.kernels.norm_rope import rms_norm, rotary_table, rotate

__all__ = [
    "Routing",
    "SegmentPlan",
    "attend",
    "cross_entropy",
    "document_attention",
    "document_mask",
    "expert_products",
    "expert_rows",
    "expert_weights",
    "is_readable",
    "permute",
    "plan_documents",
    "plan_segments",
    "rms_norm",
    "rotary_table",
    "rotate",
    "route",
    "segment_attention",
    "sum_rows",
]

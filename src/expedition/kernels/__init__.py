"""kernels: the model's few hot operations, each as plain torch that defines it and the fastest way on this machine.

Why a room: speed lives here and nowhere above; a kernel knows tensors, no module, config or mesh. Each operation has
one signature, a reference where the fast way differs, and the choice by device and dtype in the same file.
Verbs (all that other rooms may call):
    attend(q, k, v, mask) -> out                                    scaled attention, grouped query heads
    plan_documents(document_BS), document_attention(q, k, v, plan)  causal inside each document of packed rows
    document_mask(document_BS) -> bool mask                         the same as a mask
    plan_segments(lengths, device, dtype) -> Segments               on the host, once a batch
    segment_attention(q, k, v, plan, causal) -> out                 inside each segment of a packed row
    top_experts(logits_TE, k) -> weights, ids                       the router's choice
    route(ids, experts) -> Routing; counts_by_expert                choices sorted by expert, deterministic
    expert_layer(x, ids, weight, gate_up, down) -> y                all experts here: tokens to tokens
    expert_products(rows, weight, counts, gate_up, down) -> out     SwiGLU of each expert's rows
    linear_fp8, expert_layer_fp8, expert_products_fp8               the same from FP8 factors, with WeightCopies kept
    expert_rows, expert_weights, sum_rows, permute                  tokens to rows and back
    cross_entropy(logits, labels) -> loss_T, linear_cross_entropy   over the vocabulary; head, loss and gradient in one
    router_sums(logits, real) -> sums                               what the router's losses are made of
    adamw_(tensors, rates, scalars, stream)                         a parameter's update in place
    rms_norm, add_rms_norm, qk_norm_rope, qk_rope, rotate, rotary_table    the small operations of the decoder
    is_readable(tensor)                                             values on the host, real, no waiting
Seams: none: a new way to run an operation is a branch of its file's choice, equal to the reference.
Imports: nothing of ours.  Imported by: model, parallel, train.
Reads / writes in the workspace: nothing.
Invariants: each fast way equals its reference in value and gradient [test_experts_equal_reference]
    [test_cross_entropy_equals_reference]; packing never mixes segments [test_segments_do_not_see_each_other]; all ways
    of finding documents agree [test_document_segments_equal_the_mask] [test_documents_equal_the_mask].
Read in this order:
    attention.py  attention_triton.py    masks, segments, spans; their kernels
    top_experts.py       the router's choice
    routing.py           sort by expert, counts
    gather_rows.py  sum_rows.py  sorted_rows.py   tokens to rows and back; with gradients
    swiglu.py            SwiGLU times the router's weight
    grouped_experts.py  once.py   products of the experts, the layer; a backward pass that runs once
    hopper_rows.py  hopper_weights.py  hopper_layer.py  hopper_check.py   both on Hopper; whether they work here
    quantize.py  scaled_products.py  fp8_weights.py  fp8_linear.py  fp8_swiglu.py  fp8_experts.py  fp8_mlp.py   FP8
    quantize_triton.py  scaled_products_triton.py  fp8_experts_triton.py             their kernels
    rms_norm.py  qk_norm_rope.py   norm, with the addition before; norm and rotary turn of heads
    cross_entropy.py  linear_cross_entropy.py  router_sums.py   losses over the vocabulary, of the router
    rounding.py  adamw.py  adamw_triton.py   random bits by counter; the update
    host.py  triton_jit.py  gluon_jit.py   where values can be read; Triton and Gluon where they are installed
Try: pytest tests/kernels
"""

from expedition.kernels.adamw import adamw_
from expedition.kernels.attention import (
    Segments,
    attend,
    document_attention,
    document_mask,
    plan_documents,
    plan_segments,
    segment_attention,
)
from expedition.kernels.cross_entropy import cross_entropy
from expedition.kernels.fp8_experts import expert_layer_fp8, expert_products_fp8
from expedition.kernels.fp8_linear import linear_fp8
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.grouped_experts import expert_layer, expert_products
from expedition.kernels.host import is_readable
from expedition.kernels.linear_cross_entropy import linear_cross_entropy
from expedition.kernels.qk_norm_rope import qk_norm_rope, qk_rope, rotary_table, rotate
from expedition.kernels.rms_norm import add_rms_norm, rms_norm
from expedition.kernels.router_sums import router_sums
from expedition.kernels.routing import Routing, counts_by_expert, route
from expedition.kernels.sorted_rows import expert_rows, expert_weights, permute, sum_rows
from expedition.kernels.top_experts import top_experts

__all__ = [
    "Routing",
    "Segments",
    "WeightCopies",
    "adamw_",
    "add_rms_norm",
    "attend",
    "counts_by_expert",
    "cross_entropy",
    "document_attention",
    "document_mask",
    "expert_layer",
    "expert_layer_fp8",
    "expert_products",
    "expert_products_fp8",
    "expert_rows",
    "expert_weights",
    "is_readable",
    "linear_cross_entropy",
    "linear_fp8",
    "permute",
    "plan_documents",
    "plan_segments",
    "qk_norm_rope",
    "qk_rope",
    "rms_norm",
    "rotary_table",
    "rotate",
    "route",
    "router_sums",
    "segment_attention",
    "sum_rows",
    "top_experts",
]

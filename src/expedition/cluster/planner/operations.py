"""Parameters and FLOPs of the decoder from its shape alone.

Counted as MFU counts: matrix products of one multiply-add as 2 FLOPs, three passes' worth (forward and twice backward),
attention causal (half of the full square), head included, embedding look-up excluded, encoders left out (they work on
patches and frames, not on tokens).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from expedition.plan.shapes import ModelShape

VOCABULARY = 152_064
"""Rows of the padded table of the full tokenizer."""


@dataclass(frozen=True, slots=True)
class DecoderCounts:
    """Of the decoder, embeddings and head: numbers of weights, and FLOPs a token of a training step."""

    total_parameters: int
    active_parameters: int
    """Weights that a token passes through, look-up table left out unless it is the head."""
    matrix_flops_per_token: float
    attention_flops_per_token: float

    @property
    def flops_per_token(self) -> float:
        """Forward and backward of one token."""
        return self.matrix_flops_per_token + self.attention_flops_per_token


def decoder_counts(shape: ModelShape, sequence: int, vocabulary: int = VOCABULARY) -> DecoderCounts:
    """Counts for sequences of `sequence` tokens."""
    width, head = shape.hidden, shape.head_dim
    attention = width * head * (shape.heads + 2 * shape.kv_heads) + shape.heads * head * width
    expert = 3 * width * shape.expert_inner
    router = width * shape.experts
    moe_layers = len(shape.moe_layers)
    dense = (shape.layers - moe_layers) * 3 * width * shape.dense_inner
    norms = shape.layers * (2 * width + 2 * head) + width
    shared = shape.layers * attention + moe_layers * router + dense
    table = width * vocabulary
    active_matrices = shared + moe_layers * shape.top_k * expert + table
    total = shared + moe_layers * shape.experts * expert + norms + table * (1 if shape.tied_embeddings else 2)
    causal = 3 * 2 * 2 * shape.heads * head * sequence / 2 * shape.layers
    return DecoderCounts(total, active_matrices + norms, 6.0 * active_matrices, causal)


def decoder_parameters(shape: ModelShape, vocabulary: int = VOCABULARY) -> Iterator[tuple[str, int, int]]:
    """(name, dimensions, elements) of every parameter of decoder, embeddings and head, named as in the model."""
    width, head = shape.hidden, shape.head_dim
    yield "model.embed_tokens.weight", 2, vocabulary * width
    if not shape.tied_embeddings:
        yield "lm_head.weight", 2, vocabulary * width
    yield "model.norm.weight", 1, width
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        for projection, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads), ("o", shape.heads)):
            yield f"{name}.self_attn.{projection}_proj.weight", 2, width * heads * head
        for norm in ("q_norm", "k_norm"):
            yield f"{name}.self_attn.{norm}.weight", 1, head
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{norm}.weight", 1, width
        if layer in shape.dense_layers:
            for projection in ("gate", "up", "down"):
                yield f"{name}.mlp.{projection}_proj.weight", 2, width * shape.dense_inner
        else:
            yield f"{name}.mlp.gate.weight", 2, width * shape.experts
            yield f"{name}.mlp.experts.gate_up_proj", 3, shape.experts * 2 * width * shape.expert_inner
            yield f"{name}.mlp.experts.down_proj", 3, shape.experts * width * shape.expert_inner

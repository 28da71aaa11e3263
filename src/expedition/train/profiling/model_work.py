"""FLOPs and bytes that the model and its optimiser ask for in a step, by family: what a roofline takes where no sizes were
recorded, as with kernels that are launched outside of torch's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from expedition.model.config import OmniConfig
from expedition.model.counts import DecoderFlops, encoder_flops, flops_per_token
from expedition.plan.runs import OptimizerPlan

Media = Sequence[tuple[list[tuple[int, int, int]], list[int]]]
"""Grids of pictures and clips, and mel frames of sounds, by micro-batch."""


def model_flops(config: OmniConfig, positions: float, documents: Sequence[int], media: Media) -> dict[str, float]:
    """Forward and backward FLOPs by family: of `positions` of the decoder, causal attention in documents of these lengths,
    and the media.

    Encoders' products and attention are not told apart: they count as dense products.
    """
    token: DecoderFlops = flops_per_token(config, 2, causal=True)
    scores = sum(length * flops_per_token(config, length, causal=True).attention_scores for length in documents)
    found = {
        "attention": 3.0 * scores,
        "expert_products": 3.0 * token.experts * positions,
        "dense_products": 3.0 * (token.attention_products + token.dense) * positions,
        "head": 3.0 * token.head * positions,
        "gather_sum": 3.0 * token.router * positions,
    }
    for grids, frames in media:
        work = encoder_flops(config, grids, frames)
        found["dense_products"] += 3.0 * (work.vision + work.audio)
    return {family: flops for family, flops in found.items() if flops}


def optimizer_bytes(parameters: Mapping[str, int], plan: OptimizerPlan, muon: frozenset[str] = frozenset()) -> float:
    """Bytes that an update moves at least: each gradient read, weights and moments read and written. `parameters`: local
    elements by name; `muon`: those with one moment."""
    weight = 4 if plan.weights == "fp32" else 2
    moment = {"fp32": 4, "bf16": 2, "fp8": 1}[plan.moments]
    return sum(
        elements * (3 * weight + 2 * moment * (1 if name in muon else 2)) for name, elements in parameters.items()
    )

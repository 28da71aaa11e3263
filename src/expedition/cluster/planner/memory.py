"""Memory of one rank: weights, gradients, optimiser states and activations under sharding."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.cluster.planner.operations import VOCABULARY, decoder_counts, decoder_parameters
from expedition.plan.runs import OptimizerPlan
from expedition.plan.shapes import ModelShape

BYTES_PER_PARAMETER_GATHERED = 2
"""bf16 weight of the layers that are gathered at one time."""
ACTIVATION_COPIES = 14
"""bf16 values of hidden width that one layer keeps for backward without recompute (norms, q/k/v, residuals)."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on one rank."""

    states_bytes: float
    """Weights, gradients and moments in the types that the run's optimiser keeps: all sharded."""
    gathered_bytes: float
    activations_bytes: float
    """Everything is kept for the backward pass."""
    recomputed_bytes: float
    """Only each layer's input is kept, and one layer is made again at a time."""
    logits_bytes: float

    def total_bytes(self, recompute: bool) -> float:
        """Sum; the allocator's fragmentation and library buffers come on top."""
        activations = self.recomputed_bytes if recompute else self.activations_bytes
        return self.states_bytes + self.gathered_bytes + activations + self.logits_bytes


def memory_estimate(
    shape: ModelShape, tokens: int, shard: int, optimizer: OptimizerPlan, *, expert_parallel: bool
) -> MemoryEstimate:
    """A rank with `tokens` tokens in a micro-batch; states as `optimizer` keeps them, sharded over `shard` ranks.

    Two layers are gathered at a time (the running one and the prefetched one), without their experts where experts are
    parallel. Logits exist 4,096 tokens at a time, in fp32, with their gradient.
    """
    counts = decoder_counts(shape, 4096)
    layer_experts = shape.experts * 3 * shape.hidden * shape.expert_inner
    experts = len(shape.moe_layers) * layer_experts
    layer_dense = (counts.total_parameters - experts) / shape.layers
    gathered = 2 * BYTES_PER_PARAMETER_GATHERED * (layer_dense + (0 if expert_parallel else layer_experts))
    expert_values = shape.top_k * (3 * shape.expert_inner + 2 * shape.hidden)
    layer_activations = 2 * tokens * (ACTIVATION_COPIES * shape.hidden + expert_values)
    return MemoryEstimate(
        states_bytes=decoder_state_bytes(shape, optimizer) / shard,
        gathered_bytes=gathered,
        activations_bytes=layer_activations * shape.layers,
        recomputed_bytes=2 * tokens * shape.hidden * shape.layers + layer_activations,
        logits_bytes=4 * 2 * min(tokens, 4096) * VOCABULARY,
    )


def decoder_state_bytes(shape: ModelShape, optimizer: OptimizerPlan) -> int:
    """Bytes of all weights, gradients and moments of decoder, embeddings and head."""
    return sum(
        elements * optimizer.state_bytes(name, dimensions) for name, dimensions, elements in decoder_parameters(shape)
    )

"""What the cluster gives: peak, links and memory a GPU, from the programme's cluster section."""

from __future__ import annotations

from dataclasses import dataclass

from expedition.plan.cluster import ClusterPlan


@dataclass(frozen=True, slots=True)
class Hardware:
    """Of one accelerator: FLOP/s, bytes, bytes a second after link efficiency; and how many there are."""

    gpus: int
    gpus_per_node: int
    peak_flops: float
    memory_bytes: int
    intra_node_bytes_per_s: float
    inter_node_bytes_per_s: float

    @classmethod
    def of(cls, plan: ClusterPlan) -> Hardware:
        """The programme's cluster."""
        links = plan.links
        return cls(
            plan.gpus,
            plan.gpus_per_node,
            plan.peak_flops,
            plan.memory_bytes,
            links.intra_node_bytes_per_s * links.efficiency,
            links.inter_node_bytes_per_s * links.efficiency,
        )

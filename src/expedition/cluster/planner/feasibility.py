"""Do the run's tokens fit its weeks? Tokens a second, days, slack, the MFU needed, and the parallel plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from expedition.cluster.planner.hardware import Hardware
from expedition.cluster.planner.memory import MemoryEstimate, memory_estimate
from expedition.cluster.planner.operations import decoder_counts
from expedition.errors import UsageError
from expedition.plan.cluster import ClusterPlan, StoragePlan
from expedition.plan.models import Programme
from expedition.plan.runs import OptimizerPlan
from expedition.plan.shapes import ModelShape

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be trained and how long there is."""

    model: str
    tokens: int
    sequence: int
    micro_batch_tokens: int
    """Tokens of one micro-batch of one rank."""
    weeks: float
    """Length of the window, W11 to W18 being 8."""
    mfu: float
    """Planned model FLOP utilisation, causal count over bf16 peak."""
    utilisation: float
    """Planned productive over wall time."""
    optimizer: OptimizerPlan = OptimizerPlan()
    """What a rank keeps for each weight."""

    def to_json(self) -> dict[str, Any]:
        """All fields; of the optimiser what decides its bytes."""
        rest = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "optimizer"}
        return {**rest, "optimizer": self.optimizer.model_dump(mode="json", include={"kind", "weights", "moments"})}


def main_run_demand(programme: Programme, model: str | None, mfu: float, weeks: float) -> Demand:
    """Demand of the programme's `main` run, for its own model or another. Raises UsageError for an unknown model."""
    run = programme.runs["main"]
    name = model or run.model
    if name not in programme.models:
        raise UsageError(f"no model {name!r}", fix=f"one of: {', '.join(programme.models)}")
    steps = run.total_steps
    last = max(0, steps - 1)
    rank_tokens = run.batch_tokens_at(last) // (run.parallel.data_ranks * run.micro_batches)
    return Demand(
        model=name,
        tokens=run.tokens_after(steps),
        sequence=run.sequence_length,
        micro_batch_tokens=rank_tokens,
        weeks=weeks,
        mfu=mfu,
        utilisation=programme.cluster.min_effective_utilisation,
        optimizer=run.optimizer,
    )


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer. `slack_days` below 0: it does not fit."""

    flops_per_token: float
    tokens_per_s: float
    tokens_per_s_per_gpu: float
    days: float
    window_days: float
    slack_days: float
    needed_mfu: float
    fits: bool


def fit(shape: ModelShape, hardware: Hardware, demand: Demand) -> Fit:
    """Days = tokens · FLOPs a token / (GPUs · peak · MFU · utilisation)."""
    per_token = decoder_counts(shape, demand.sequence).flops_per_token
    rate = hardware.gpus * hardware.peak_flops * demand.mfu / per_token
    days = demand.tokens / (rate * demand.utilisation) / DAY_S
    window = demand.weeks * 7
    needed = demand.mfu * days / window
    return Fit(per_token, rate, rate / hardware.gpus, days, window, window - days, needed, days <= window)


@dataclass(frozen=True, slots=True)
class ParallelChoice:
    """One way to hold the experts, with its traffic for each micro-batch of a rank."""

    name: str
    memory_gib: float
    """Upper estimate: nothing is recomputed."""
    memory_recompute_gib: float
    """Lower estimate: every layer is recomputed. A selective plan lies between."""
    traffic_s: float
    compute_s: float
    exposed_share: float
    """Traffic over compute if nothing of it is hidden."""
    note: str


def parallel_choices(shape: ModelShape, hardware: Hardware, demand: Demand) -> list[ParallelChoice]:
    """EP1 with experts sharded and gathered inside the node, against EP over the node's GPUs with all-to-all.

    EP1: every micro-batch gathers all expert weights twice (forward, backward) and scatters gradients once, in bf16
    over the node's links: independent of the tokens, can be prefetched. EP: every token travels to its experts and back
    in forward and backward, 4 times top_k times hidden in bf16; the share that stays on the rank is 1/EP.
    """
    node = min(hardware.gpus_per_node, hardware.gpus)
    experts = len(shape.moe_layers) * shape.experts * 3 * shape.hidden * shape.expert_inner
    away = (node - 1) / node
    compute_s = (
        demand.micro_batch_tokens
        * decoder_counts(shape, demand.sequence).flops_per_token
        / (hardware.peak_flops * demand.mfu)
    )
    gather_s = 3 * 2 * experts * away / hardware.intra_node_bytes_per_s
    travelled = 4 * 2 * shape.top_k * shape.hidden * len(shape.moe_layers) * demand.micro_batch_tokens
    exchange_s = travelled * away / hardware.intra_node_bytes_per_s
    return [
        _choice(
            (f"EP1 + HSDP{node}", "weights move, ahead of use; no rank waits for a busy expert"),
            memory_estimate(shape, demand.micro_batch_tokens, node, demand.optimizer, expert_parallel=False),
            gather_s,
            compute_s,
        ),
        _choice(
            (f"EP{node}", "tokens move when they are needed; the busiest expert sets the pace"),
            memory_estimate(shape, demand.micro_batch_tokens, node, demand.optimizer, expert_parallel=True),
            exchange_s,
            compute_s,
        ),
    ]


def _choice(name_note: tuple[str, str], memory: MemoryEstimate, traffic_s: float, compute_s: float) -> ParallelChoice:
    gib, gib_recompute = (memory.total_bytes(recompute) / 2**30 for recompute in (False, True))
    name, note = name_note
    return ParallelChoice(name, gib, gib_recompute, traffic_s, compute_s, traffic_s / compute_s, note)


def storage_need(plan: StoragePlan) -> dict[str, float]:
    """Bytes a second of six-camera samples, raw and after compression, for one sample and for a batch a second."""
    raw = plan.cameras * plan.frame_width * plan.frame_height * 3 * plan.frames_per_s
    return {
        "raw_sample_bytes_per_s": raw,
        "raw_batch_bytes_per_s": raw * plan.batch_samples,
        "compressed_sample_bytes_per_s": raw / plan.compression_ratio,
        "compressed_batch_bytes_per_s": raw * plan.batch_samples / plan.compression_ratio,
        "stated_batch_bytes_per_s": plan.read_bytes_per_s,
        "implied_compression_ratio": raw * plan.batch_samples / plan.read_bytes_per_s,
    }


def plan_cluster(models: Mapping[str, ModelShape], cluster: ClusterPlan, demand: Demand) -> dict[str, Any]:
    """The whole answer for one demand as JSON: fit, parallel choices with the chosen one, storage."""
    shape, hardware = models[demand.model], Hardware.of(cluster)
    counts = decoder_counts(shape, demand.sequence)
    choices = parallel_choices(shape, hardware, demand)
    chosen = min(choices, key=lambda choice: choice.exposed_share)
    return {
        "demand": demand.to_json(),
        "hardware": asdict(hardware),
        "parameters": {"total": counts.total_parameters, "active": counts.active_parameters},
        "fit": asdict(fit(shape, hardware, demand)),
        "parallel": [asdict(choice) for choice in choices],
        "chosen": chosen.name,
        "why": f"least traffic for its compute ({chosen.exposed_share:.0%} if none is hidden); {chosen.note}",
        "storage": storage_need(cluster.storage),
        "conditions": ["computed, not measured"],
    }

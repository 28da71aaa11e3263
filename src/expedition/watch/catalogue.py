"""Every metric that a run may write: name, unit, meaning. Pages, exporters and documentation read this list."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` may hold `{layer}`, `{kind}` or `{part}`, which stand for one path element each."""

    name: str
    unit: str
    meaning: str
    view: str
    """Page view that shows it: global, hardware, network or moe."""

    def matches(self, name: str) -> bool:
        """Whether `name` is this metric, placeholders filled."""
        pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(self.name))
        return re.fullmatch(pattern, name) is not None


CATALOGUE: tuple[Metric, ...] = (
    Metric("loss", "nats/token", "mean cross-entropy of the step over all supervised tokens of all ranks", "global"),
    Metric("loss/{kind}", "nats/token", "the same over the tokens of one kind of data", "global"),
    Metric("learning_rate", "1", "learning rate of the step", "global"),
    Metric("gradient_norm", "1", "global L2 norm of the gradients before clipping", "global"),
    Metric(
        "gradient_norm/{part}", "1", "L2 norm of the gradients of one group of parameters, before clipping", "global"
    ),
    Metric("skipped", "1", "1 when the bad-step select kept the old weights, else 0", "global"),
    Metric("nonfinite", "1", "1 when the loss or a gradient of the step was not finite, else 0", "global"),
    Metric("tokens_per_s", "tokens/s", "real tokens of the step over its wall seconds, all ranks", "global"),
    Metric("mfu", "1", "model FLOP utilisation: causal FLOPs, bf16 peak, head included, look-up excluded", "global"),
    Metric("step_s", "s", "wall seconds of the step", "global"),
    Metric("data_s", "s", "seconds that the step waited for its batch", "global"),
    Metric("forward_backward_s", "s", "seconds of forward and backward", "global"),
    Metric("optimizer_s", "s", "seconds of clipping, decision and update", "global"),
    Metric("other_s", "s", "seconds of the step in none of the parts: callbacks, snapshots", "global"),
    Metric("real_tokens", "tokens", "tokens of the step's global batch that are no padding", "global"),
    Metric("padding_share", "1", "share of the batch's positions that are padding", "global"),
    Metric("auxiliary_loss", "1", "load-balancing loss over the global batch, before its coefficient", "moe"),
    Metric("router_z_loss", "1", "mean squared log-sum-exp of the router logits, before its coefficient", "moe"),
    Metric("router_z_loss/{layer}", "1", "the same in one layer", "moe"),
    Metric("load_cv/{layer}", "1", "standard deviation over mean of the experts' assignments in one layer", "moe"),
    Metric("top10_expert_share", "1", "share of assignments to the busiest 10 % of experts, worst layer", "moe"),
    Metric("top10_expert_share/{layer}", "1", "the same in one layer", "moe"),
    Metric("cpu_utilisation", "1", "busy share of the machine's processors", "hardware"),
    Metric("cpu_temperature_c", "°C", "hottest processor sensor; absent where the machine shows none", "hardware"),
    Metric("host_memory_bytes", "bytes", "resident memory of the rank's process", "hardware"),
    Metric("gpu_temperature_c", "°C", "accelerator core temperature", "hardware"),
    Metric("gpu_power_w", "W", "accelerator power draw", "hardware"),
    Metric("gpu_memory_bytes", "bytes", "accelerator memory in use", "hardware"),
    Metric(
        "peak_memory_bytes", "bytes", "most that the accelerator's allocator held in the step, first rank", "hardware"
    ),
    Metric("gpu_utilisation", "1", "share of time in which a kernel ran", "hardware"),
)
"""Scalar metrics, in the order in which documentation prints them."""

EXPERT_TOKENS = "expert_tokens"
"""Vector metric: assignments of the step to each expert, shape [layers, experts], all ranks summed."""


def describe(name: str) -> Metric | None:
    """The catalogue's entry for a metric name, None when it is not in the catalogue."""
    return next((metric for metric in CATALOGUE if metric.matches(name)), None)

"""Tokens a second and model FLOP utilisation, with the definition that every report repeats."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from expedition.model.config import OmniConfig
from expedition.model.counts import flops_per_token
from expedition.plan.runs import RunPlan
from expedition.train.seen import Seen

MFU_DEFINITION = (
    "model FLOPs (causal attention, head included, embedding look-up and encoders excluded) of the batch's positions "
    "÷ (step seconds × ranks × bf16 dense peak); null where the device's peak is not known"
)
PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
"""bf16 dense peak by device name, FLOP/s (vendor data sheets)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What turns seconds into rates."""

    run: RunPlan
    flops_per_token: float
    """Forward and backward, for one position."""
    ranks: int
    peak_flops: float | None
    """bf16 dense peak of one rank's device, FLOP/s; None where it is not known."""

    def figures(self, seen: Seen) -> dict[str, float]:
        """tokens_per_s (real tokens), padding_share and, where the peak is known, mfu of a step."""
        step_s = max(seen.times["step_s"], 1e-9)
        real_tokens, batch_tokens = float(seen.result.real_tokens), self.run.batch_tokens_at(seen.result.step)
        found = {"tokens_per_s": real_tokens / step_s, "padding_share": 1.0 - real_tokens / batch_tokens}
        if self.peak_flops is not None:
            found["mfu"] = batch_tokens * self.flops_per_token / (step_s * self.ranks * self.peak_flops)
        return found


def training_flops_per_token(config: OmniConfig, sequence_length: int) -> float:
    """FLOPs of forward and backward (twice the forward) for one position of the decoder and head, causal attention."""
    return 3.0 * flops_per_token(config, sequence_length, causal=True).total


def rate_of(run: RunPlan, config: OmniConfig, device: torch.device) -> Rate:
    """The run's rate on this kind of device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Rate(run, training_flops_per_token(config, run.sequence_length), run.parallel.world, PEAK_FLOPS.get(name))

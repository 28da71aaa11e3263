"""Which updates are dropped: a pure decision on device tensors, without waiting for the device.

The idea of a skipped step by a window of losses and norms follows PaLM (arXiv:2204.02311, section 5.1) and OLMo 2
(arXiv:2501.00656). Every rank sees the global loss and the global norm, so every rank decides alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expedition.plan.runs import BadStepPlan


@dataclass(frozen=True, slots=True)
class SpikeWindow:
    """Loss and gradient norm of the last accepted steps."""

    values_W2: Tensor
    """float32 [window_steps, 2]; a ring."""
    accepted: Tensor
    """int64 scalar: accepted steps so far; the next one goes to row accepted mod window_steps."""

    @classmethod
    def empty(cls, plan: BadStepPlan, device: torch.device) -> SpikeWindow:
        return cls(
            values_W2=torch.zeros(plan.window_steps, 2, device=device),
            accepted=torch.zeros((), dtype=torch.int64, device=device),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done with a step's update: `keep` is what the optimiser selects by. Bool scalars on the device."""

    keep: Tensor
    finite: Tensor
    spike: Tensor


def judge(loss: Tensor, gradient_norm: Tensor, window: SpikeWindow, plan: BadStepPlan) -> Verdict:
    """Drop what is not finite and, once the window is full, what stands out above it."""
    seen_2 = torch.stack([loss.detach().float(), gradient_norm.detach().float()])
    finite = torch.isfinite(seen_2).all()
    spike = torch.zeros_like(finite)
    if plan.spike_deviations is not None:
        mean_2, deviation_2 = window.values_W2.mean(0), window.values_W2.std(0)
        full = window.accepted >= plan.window_steps
        spike = full & (seen_2 > mean_2 + plan.spike_deviations * deviation_2).any()
    return Verdict(keep=finite & ~spike, finite=finite, spike=spike)


def remember(window: SpikeWindow, loss: Tensor, gradient_norm: Tensor, keep: Tensor) -> SpikeWindow:
    """The window with this step in it if it was kept, else unchanged."""
    seen_2 = torch.stack([loss.detach().float(), gradient_norm.detach().float()])
    rows = torch.arange(window.values_W2.shape[0], device=window.values_W2.device)
    here_W1 = ((rows == window.accepted % rows.numel()) & keep)[:, None]
    return SpikeWindow(values_W2=torch.where(here_W1, seen_2, window.values_W2), accepted=window.accepted + keep.long())

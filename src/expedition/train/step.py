"""One training step: batch → forward/backward → decide → update. Nothing here logs, saves or waits.

Shapes: K kinds, L expert layers, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expedition.parallel.norm import squared_norm
from expedition.plan.runs import Injection
from expedition.train import bad_step
from expedition.train.batches import TensorBatch
from expedition.train.injection import learning_rate_factor, spoil_gradients
from expedition.train.objective import Parts, forward_backward
from expedition.train.optimizer import Optimizer, clip_scale
from expedition.train.pipelined import forward_backward_stages
from expedition.train.schedule import learning_rate
from expedition.train.stopwatch import Stopwatch


@dataclass(slots=True)
class TrainState:
    """Everything that a step changes."""

    step: int
    """Steps done."""
    optimizer: Optimizer
    """Master weights, moments, count of updates."""
    window: bad_step.SpikeWindow
    counters_LE: Tensor
    """int64 [L, E]: assignments of all accepted steps, over all ranks."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step saw, global over ranks and micro-batches. Tensors stay on the device until somebody reads them."""

    step: int
    """Number of the step, 0-based."""
    loss: Tensor
    """Mean cross entropy over all labelled positions, nats."""
    loss_K: Tensor
    """The same by kind; NaN where the batch has none."""
    balance: Tensor
    """Load-balance loss before its weight; 1 is balanced."""
    z: Tensor
    """Router z-loss before its weight."""
    counts_LE: Tensor
    """Assignments of this step."""
    gradient_norm: Tensor
    """Before clipping."""
    verdict: bad_step.Verdict
    learning_rate: float
    real_tokens: Tensor
    """Positions that are not padding."""


def own_gradients(parts: Parts, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """The gradients that this rank counts: a table that two stages of a pipeline hold counts on its owner."""
    borrowed = parts.pipeline.borrowed if parts.pipeline is not None else ()
    found = ((name, parameter.grad) for name, parameter in parameters.items())
    return [gradient for name, gradient in found if gradient is not None and name not in borrowed]


def train_step(
    parts: Parts, state: TrainState, batches: Sequence[TensorBatch], faults: Sequence[Injection], watch: Stopwatch
) -> StepResult:
    """Do step `state.step` on this rank's micro-batches and advance `state`. Every rank returns the same result."""
    run, optimizer = parts.run, state.optimizer
    optimizer.zero_grad()
    if parts.pipeline is None:
        sums = forward_backward(parts, batches)
    else:
        sums = forward_backward_stages(parts, parts.pipeline, batches)
    watch.lap("forward_backward_s")

    spoil_gradients(optimizer.parameters.values(), state.step, faults)
    gradient_norm = squared_norm(own_gradients(parts, optimizer.parameters), parts.ranks).sqrt()
    verdict = bad_step.judge(sums.loss, gradient_norm, state.window, run.bad_step)

    rate = learning_rate(run, state.step) * learning_rate_factor(state.step, faults)
    optimizer.step(rate, clip_scale(gradient_norm, run.clip_norm), verdict.keep)
    parts.forward.updated()
    state.window = bad_step.remember(state.window, sums.loss, gradient_norm, verdict.keep)
    state.counters_LE = torch.where(verdict.keep, state.counters_LE + sums.counts_LE.long(), state.counters_LE)
    state.step += 1
    watch.lap("optimizer_s")
    return StepResult(
        step=state.step - 1,
        loss=sums.loss,
        loss_K=sums.sum_K / sums.count_K,
        balance=sums.balance,
        z=sums.z,
        counts_LE=sums.counts_LE,
        gradient_norm=gradient_norm,
        verdict=verdict,
        learning_rate=rate,
        real_tokens=sums.real_tokens,
    )

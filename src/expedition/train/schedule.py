"""The learning rate as a pure function of plan and step."""

from __future__ import annotations

import math

from expedition.plan.runs import RunPlan


def learning_rate(run: RunPlan, step: int) -> float:
    """Learning rate of `step` (0-based), per update.

    Linear warm-up from peak/warmup to peak; then `wsd` (warmup-stable-decay, arXiv:2404.06395: flat, linear decay to
    the floor at the last step) or `cosine` (arXiv:1608.03983, half a period, from the end of the warm-up to the last
    step).
    """
    plan, total = run.learning_rate, run.total_steps
    warmup = min(run.steps_for(plan.warmup), total)
    if step < warmup:
        return plan.peak * (step + 1) / warmup
    begin = warmup if plan.kind == "cosine" else max(warmup, total - _decay_steps(run))
    if step < begin:
        return plan.peak
    done = min(1.0, (step + 1 - begin) / max(1, total - begin))
    left = 1.0 - done if plan.kind == "wsd" else 0.5 * (1.0 + math.cos(math.pi * done))
    return plan.floor + (plan.peak - plan.floor) * left


def _decay_steps(run: RunPlan) -> int:
    """Steps of the final decay: a length in tokens is counted back from the run's end."""
    decay, total = run.learning_rate.decay, run.total_steps
    if decay is None:
        return total // 5
    if decay.unit == "steps":
        return decay.value
    end_tokens = run.tokens_after(total)
    return next((n for n in range(total + 1) if end_tokens - run.tokens_after(total - n) >= decay.value), total)

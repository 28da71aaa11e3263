"""The learning rate as a pure function of plan and step.

A stretch is measured in the unit of its own duration. In tokens the rate depends on the tokens trained on when the
step ends, so a batch ramp changes the steps and not the rate at a given number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from expedition.plan.runs import RunPlan

Unit = Literal["steps", "tokens"]

_LEFT: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1.0 - done,
    "minus_sqrt": lambda done: 1.0 - math.sqrt(done),
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""Share of the way to the floor that is left, by the share of the decay that is done."""


def learning_rate(run: RunPlan, step: int) -> float:
    """Learning rate of `step` (0-based), per update, before a group's factor.

    Linear warm-up to the peak, then by `kind`: `wsd` (warmup-stable-decay, arXiv:2404.06395) is flat until the decay,
    `inverse_sqrt` falls with 1/√(time since the start) until the decay (arXiv:2106.04560), `cosine`
    (arXiv:1608.03983) decays by half a period from the end of the warm-up. The last step has the floor.
    """
    plan = run.learning_rate
    unit = plan.warmup.unit
    warmup, here = _warmup(run, unit), _reached(run, step + 1, unit)
    if here <= warmup:
        return plan.peak * here / warmup
    unit = _unit(run)
    begin, end, here = _decay_begins(run, unit), _reached(run, run.total_steps, unit), _reached(run, step + 1, unit)
    if here <= begin:
        return _stable(run, here, unit)
    done = min(1.0, (here - begin) / max(1, end - begin))
    left = _LEFT["cosine" if plan.kind == "cosine" else plan.decay_shape](done)
    return plan.floor + (_stable(run, begin, unit) - plan.floor) * left


def _stable(run: RunPlan, here: int, unit: Unit) -> float:
    """Rate after the warm-up as if there were no decay."""
    plan = run.learning_rate
    if plan.kind != "inverse_sqrt":
        return plan.peak
    since = max(_warmup(run, unit), _reached(run, 1, unit))
    return max(plan.floor, plan.peak * math.sqrt(since / max(since, here)))


def _unit(run: RunPlan) -> Unit:
    """What the decay is measured in."""
    plan = run.learning_rate
    return run.length.unit if plan.kind == "cosine" or plan.decay is None else plan.decay.unit


def _warmup(run: RunPlan, unit: Unit) -> int:
    """End of the warm-up."""
    warmup, end = run.learning_rate.warmup, _reached(run, run.total_steps, unit)
    return min(end, warmup.value if warmup.unit == unit else _reached(run, run.steps_for(warmup), unit))


def _decay_begins(run: RunPlan, unit: Unit) -> int:
    plan, warmup, end = run.learning_rate, _warmup(run, unit), _reached(run, run.total_steps, unit)
    if plan.kind == "cosine":
        return warmup
    return max(warmup, end - (end // 5 if plan.decay is None else plan.decay.value))


def _reached(run: RunPlan, steps: int, unit: Unit) -> int:
    """How far a run is after so many steps, in a unit."""
    return steps if unit == "steps" else run.tokens_after(steps)

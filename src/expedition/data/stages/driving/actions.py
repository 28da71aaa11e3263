"""Whether a car could drive these actions: what the bins say of acceleration, and whether they fit their ranges."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expedition.data.decode.trajectory import BINS, CURVATURE, SPEED, ActionCode, Quantity

_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class ActionLimits:
    """Bounds of plausible driving."""

    max_acceleration_m_per_s2: float = 12.0
    """Along and across the way; tyres on a dry road give 10."""
    max_impossible_share: float = 0.1
    """Of the steps: positions jump now and then in good logs."""
    max_clipped_share: float = 0.5
    """Of the values of one quantity in its first or last bin, zero speed apart: a unit that was not the stated one."""


def action_fault(bins: Sequence[int], told: Any, limits: ActionLimits | None = None) -> str | None:
    """Why a car cannot have driven these action bins, or None; pure.

    `told` is the code as a document's meta holds it (`ActionCode.described`); None where it is not known, and then
    nothing is concluded.
    """
    bounds = limits or ActionLimits()
    code = code_of(told)
    if code is None or not bins:
        return None
    if len(bins) % len(code.quantities):
        return "actions end within a step"
    steps = code.decode(bins)
    for place, quantity in enumerate(code.quantities):
        ends = sum(
            number == BINS - 1 or (number == 0 and quantity.low < 0) for number in bins[place :: len(code.quantities)]
        )
        if ends > bounds.max_clipped_share * len(steps) and len(steps) > 1:
            return "actions lie outside their range"
    impossible = _impossible(steps, code, bounds.max_acceleration_m_per_s2)
    return "actions no car can drive" if impossible > bounds.max_impossible_share * len(steps) else None


def code_of(told: Any) -> ActionCode | None:
    """The action code that a document's meta describes, or None."""
    if not isinstance(told, Mapping) or told.get("bins") != BINS:
        return None
    order, ranges = told.get("order"), told.get("ranges")
    if not isinstance(order, list) or not order or not isinstance(ranges, Mapping):
        return None
    try:
        quantities = tuple(Quantity(str(name), float(ranges[name][0]), float(ranges[name][1])) for name in order)
        return ActionCode(quantities, float(told.get("step_s", _STEP_S)))
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _impossible(steps: Sequence[Mapping[str, float]], code: ActionCode, most: float) -> int:
    """Steps whose acceleration, along or across, passes `most` by more than the bins' own width explains."""
    if SPEED.name not in steps[0] or code.step_s <= 0:
        return 0
    widths = {quantity.name: (quantity.high - quantity.low) / BINS for quantity in code.quantities}
    speeds = [step[SPEED.name] for step in steps]
    jumps = [
        abs(after - before) - widths[SPEED.name] > most * code.step_s for before, after in itertools.pairwise(speeds)
    ]
    count = sum(jumps)
    if CURVATURE.name in widths:
        bent = [max(0.0, abs(step[CURVATURE.name]) - widths[CURVATURE.name] / 2) for step in steps]
        count += sum(speed**2 * curve > most for speed, curve in zip(speeds, bent, strict=True))
    return count

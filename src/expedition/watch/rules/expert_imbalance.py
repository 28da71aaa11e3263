"""Rule `expert_imbalance`: the busiest experts take too large a share of the (token, expert) assignments."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from expedition.plan.rules import ExpertImbalanceRulePlan
from expedition.watch.rules.rule import Alarm, Observation

METRIC = "top10_expert_share"


def top_count(experts: int, fraction: float) -> int:
    """How many experts are counted together: `fraction` of them, rounded up, at least 1."""
    return max(1, math.ceil(round(experts * fraction, 9)))


def top_expert_shares(assignments_LE: npt.NDArray[np.generic], fraction: float = 0.10) -> npt.NDArray[np.float64]:
    """Share of assignments that the busiest experts take, for each layer: [layers, experts] counts → [layers].

    Shares count (token, expert) assignments, so a balanced layer gives ceil(fraction * experts) / experts. A layer
    without assignments gives 0.
    """
    counts_LE = np.asarray(assignments_LE, dtype=np.float64)
    busiest = np.sort(counts_LE, axis=1)[:, -top_count(counts_LE.shape[1], fraction) :].sum(axis=1)
    total = counts_LE.sum(axis=1)
    shares: npt.NDArray[np.float64] = np.divide(busiest, total, out=np.zeros_like(total), where=total > 0)
    return shares


def top_expert_share(assignments_LE: npt.NDArray[np.generic], fraction: float = 0.10) -> float:
    """The worst layer's share; what the metric `top10_expert_share` holds."""
    return float(top_expert_shares(assignments_LE, fraction).max())


def reachable_shares(experts: int, top_k: int, fraction: float) -> tuple[float, float]:
    """Smallest and largest share that routing can produce.

    A token's `top_k` experts are distinct, so `m` experts get at most min(m, top_k) of its `top_k` assignments; and
    the busiest `m` of `experts` never get less than m / experts.
    """
    busiest = top_count(experts, fraction)
    return busiest / experts, min(busiest, top_k) / top_k


class ExpertImbalanceRule:
    """Fires once when the mean share over the window exceeds the bound within the first `until_tokens`."""

    name = "expert_imbalance"

    def __init__(self, plan: ExpertImbalanceRulePlan) -> None:
        self._plan = plan
        self._window: deque[tuple[int, float]] = deque(maxlen=plan.window_observations)
        self._fired = False

    def observe(self, observation: Observation) -> Alarm | None:
        share = observation.values.get(METRIC)
        if share is None or not math.isfinite(share) or observation.tokens > self._plan.until_tokens:
            return None
        self._window.append((observation.step, share))
        if len(self._window) < self._plan.window_observations:
            return None
        mean = sum(value for _, value in self._window) / len(self._window)
        if mean <= self._plan.max_share:
            self._fired = False
            return None
        if self._fired:
            return None
        self._fired = True
        return Alarm(
            rule=self.name,
            severity=self._plan.severity,
            action=self._plan.action,
            step=observation.step,
            tokens=observation.tokens,
            began_step=self._window[0][0],
            value=mean,
            threshold=self._plan.max_share,
            unit="share of assignments",
            message=f"busiest {self._plan.top_fraction:.0%} of experts take {mean:.1%} of assignments, worst layer",
        )

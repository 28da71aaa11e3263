"""Rule `spike`: the loss jumps above its recent calm level and stays there for several observations."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from statistics import median

from expedition.plan.rules import SpikeRulePlan
from expedition.watch.rules.rule import Alarm, Observation
from expedition.watch.rules.trend import GAUSS


class SpikeRule:
    """Level = median of the last calm losses; noise = MAD of their step-to-step differences over sqrt(2).

    Threshold = level + max(floor, sigmas * noise). Only calm values enter the window, so a long spike does not become
    its own normal. Fires once a spike, on its `consecutive_steps`-th observation. Non-finite losses are the nan
    rule's: they are ignored here. A spike that lasts longer than the window becomes the new level.
    """

    name = "spike"

    def __init__(self, plan: SpikeRulePlan) -> None:
        self._plan = plan
        self._calm: deque[float] = deque(maxlen=plan.window_observations)
        self._high: list[tuple[int, float]] = []

    def observe(self, observation: Observation) -> Alarm | None:
        loss = observation.values.get("loss")
        if loss is None or not math.isfinite(loss):
            return None
        full = len(self._calm) == self._plan.window_observations
        threshold = self._threshold() if full else math.inf
        if loss <= threshold:
            self._high.clear()
            self._calm.append(loss)
            return None
        self._high.append((observation.step, loss))
        alarm = self._alarm(observation, threshold) if len(self._high) == self._plan.consecutive_steps else None
        if len(self._high) > self._plan.window_observations:
            self._calm.extend(value for _, value in self._high)
            self._high.clear()
        return alarm

    def _threshold(self) -> float:
        calm = list(self._calm)
        steps = [later - earlier for earlier, later in pairwise(calm)]
        middle = median(steps)
        noise = GAUSS * median(abs(step - middle) for step in steps) / math.sqrt(2)
        return median(calm) + max(self._plan.floor_nats, self._plan.sigmas * noise)

    def _alarm(self, observation: Observation, threshold: float) -> Alarm:
        peak = max(value for _, value in self._high)
        began = self._high[0][0]
        return Alarm(
            rule=self.name,
            severity=self._plan.severity,
            action=self._plan.action,
            step=observation.step,
            tokens=observation.tokens,
            began_step=began,
            value=peak,
            threshold=threshold,
            unit="nats/token",
            message=f"loss {peak:.3f} above {threshold:.3f} for {len(self._high)} observations since step {began}",
        )

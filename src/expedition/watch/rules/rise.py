"""Rule `rise`: the loss goes up over a whole span (the chapter's 24 h)."""

from __future__ import annotations

import math

from expedition.plan.rules import RiseRulePlan
from expedition.watch.rules.rule import Alarm, Observation
from expedition.watch.rules.trend import TrendWindow


class RiseRule:
    """Fires when the robust trend over the span is up, significant, and up in both halves of the span.

    Both halves: one step up (a new data mix) followed by ordinary training is no rise. Fires once until the trend
    is down again.
    """

    name = "rise"

    def __init__(self, plan: RiseRulePlan) -> None:
        self._plan = plan
        self._window = TrendWindow(plan.span.value, plan.bins)
        self._fired = False

    def observe(self, observation: Observation) -> Alarm | None:
        loss = observation.values.get("loss")
        if loss is None or not math.isfinite(loss):
            return None
        trend = self._window.add(observation.position(self._plan.span), observation.step, loss)
        if trend is None:
            return None
        rising = (
            trend.change >= max(self._plan.min_rise_nats, self._plan.sigmas * trend.standard_error)
            and trend.z >= self._plan.sigmas
            and min(trend.first_half_change, trend.second_half_change) > 0
        )
        if not rising:
            self._fired = self._fired and trend.change > 0
            return None
        if self._fired:
            return None
        self._fired = True
        span = self._plan.span
        return Alarm(
            rule=self.name,
            severity=self._plan.severity,
            action=self._plan.action,
            step=observation.step,
            tokens=observation.tokens,
            began_step=trend.began_step,
            value=trend.change,
            threshold=self._plan.min_rise_nats,
            unit="nats/token",
            message=f"loss rose {trend.change:.4f} over {span.value:g} {span.unit} (z {trend.z:.1f})",
        )

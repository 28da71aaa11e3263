"""Rule `plateau`: the loss no longer falls over a whole span (the chapter's 72 h)."""

from __future__ import annotations

import math

from expedition.plan.rules import PlateauRulePlan
from expedition.watch.rules.rule import Alarm, Observation
from expedition.watch.rules.trend import TrendWindow


class PlateauRule:
    """Fires when the fall over the span is *surely* below the plan's bound: robust fall + `sigmas` errors < bound.

    So noise alone never makes a plateau: where the span is too short or the loss too noisy to tell a flat loss from a
    falling one the rule stays silent (a larger bound or a longer span gives it sight). Fires once until the loss
    falls again.
    """

    name = "plateau"

    def __init__(self, plan: PlateauRulePlan) -> None:
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
        fall_at_most = -trend.change + self._plan.sigmas * trend.standard_error
        if fall_at_most >= self._plan.min_fall_nats:
            self._fired = False
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
            value=-trend.change,
            threshold=self._plan.min_fall_nats,
            unit="nats/token",
            message=f"loss fell only {-trend.change:.5f} over {span.value:g} {span.unit}, at {trend.newest:.3f}",
        )

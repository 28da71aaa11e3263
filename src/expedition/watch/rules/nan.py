"""Rule `nan`: loss or gradient norm is not finite."""

from __future__ import annotations

import math

from expedition.plan.rules import NanRulePlan
from expedition.watch.rules.rule import Alarm, Observation

WATCHED = ("loss", "gradient_norm")


class NanRule:
    """Fires after `consecutive_steps` non-finite observations in a row, once for each such stretch.

    A row is non-finite when `loss` or `gradient_norm` is NaN or infinite, or `nonfinite` is above 0 (the trainer's own
    flag, for runs that log the last finite loss).
    """

    name = "nan"

    def __init__(self, plan: NanRulePlan) -> None:
        self._plan = plan
        self._count = 0
        self._began = 0

    def observe(self, observation: Observation) -> Alarm | None:
        values = observation.values
        bad = [name for name in WATCHED if name in values and not math.isfinite(values[name])]
        if values.get("nonfinite", 0.0) > 0:
            bad.append("nonfinite")
        if not bad:
            self._count = 0
            return None
        self._count += 1
        if self._count == 1:
            self._began = observation.step
        if self._count != self._plan.consecutive_steps:
            return None
        return Alarm(
            rule=self.name,
            severity=self._plan.severity,
            action=self._plan.action,
            step=observation.step,
            tokens=observation.tokens,
            began_step=self._began,
            value=float(self._count),
            threshold=float(self._plan.consecutive_steps),
            unit="non-finite steps in a row",
            message=f"{' and '.join(bad)} not finite for {self._count} step(s), since step {self._began}",
        )

"""What a rule sees, what it says, and the protocol that every rule fulfils."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from expedition.plan.rules import Action, Severity, Span


@dataclass(frozen=True, slots=True)
class Observation:
    """One row of the metrics: what a rule may look at. Metrics that the step did not have are absent."""

    step: int
    tokens: int
    """Tokens trained up to and with this step."""
    time_s: float
    """Seconds of training, downtime left out."""
    values: Mapping[str, float] = field(default_factory=dict)

    def position(self, span: Span) -> float:
        """Where this observation stands on the axis that `span` is measured on."""
        match span.unit:
            case "hours":
                return self.time_s / 3600
            case "steps":
                return float(self.step)
            case "tokens":
                return float(self.tokens)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule fired. `value` and `threshold` are in `unit`; `value` is None when it is not a finite number."""

    rule: str
    severity: Severity
    action: Action
    step: int
    tokens: int
    began_step: int
    """First step that belongs to the symptom."""
    value: float | None
    threshold: float | None
    unit: str
    message: str

    @property
    def pauses(self) -> bool:
        """Whether the run must stop at this step."""
        return self.action == "pause"


class Rule(Protocol):
    """A rule on one run. Its state depends on the observed rows and its plan only: no clock, rank, file or network.

    So the state after a resume is rebuilt by observing the kept rows again (`rules.warm`). One owner, one thread.
    """

    @property
    def name(self) -> str:
        """Name of the rule, as in the programme."""
        ...

    def observe(self, observation: Observation) -> Alarm | None:
        """Take the next row; the alarm if the rule fires on it. Steps grow."""
        ...


def finite_or_none(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None

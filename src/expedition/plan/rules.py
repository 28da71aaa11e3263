"""Stop rules of a run: what is watched, over which span, and what happens when a rule fires.

Defaults are the chapter's: loss rising for 24 h, loss flat for 72 h, a non-finite loss, a lasting spike, and more than
50 % of the assignments to the top 10 % of experts within the first 1T tokens. A smaller run states smaller spans in
the same fields; there is no other code path.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from expedition.plan.section import Section

Action = Literal["pause", "alarm"]
"""`pause`: checkpoint, open an incident, leave with exit code 3. `alarm`: open an incident and go on."""

Severity = Literal["SEV-1", "SEV-2", "SEV-3"]


class Span(Section):
    """A length of training, in the unit that it was decided in."""

    value: float = Field(gt=0)
    """How many of `unit`."""
    unit: Literal["hours", "steps", "tokens"]
    """`hours` of training (downtime left out), optimiser `steps`, or `tokens` trained."""


class NanRulePlan(Section):
    """Non-finite loss or gradient norm."""

    consecutive_steps: int = Field(default=1, ge=1)
    """Fire after this many non-finite observations in a row; the bad-step select skips single ones."""
    action: Action = "pause"
    severity: Severity = "SEV-1"


class SpikeRulePlan(Section):
    """A jump of the loss above its recent calm level that lasts."""

    window_observations: int = Field(default=32, ge=8)
    """Calm observations that make the level (their median) and the noise (MAD of step-to-step differences)."""
    sigmas: float = Field(default=8.0, gt=0)
    """Height of a spike in robust standard deviations of the step-to-step difference."""
    floor_nats: float = Field(default=0.5, gt=0)
    """Smallest height that counts as a spike, nats per token."""
    consecutive_steps: int = Field(default=3, ge=1)
    """Observations in a row above the threshold; shorter jumps are single hard batches, not spikes."""
    action: Action = "pause"
    severity: Severity = "SEV-2"


class RiseRulePlan(Section):
    """Loss that goes up over a whole span."""

    span: Span = Span(value=24, unit="hours")
    bins: int = Field(default=24, ge=12)
    """The span is cut into this many equal bins; the trend is taken over the bins' medians."""
    min_rise_nats: float = Field(default=0.01, gt=0)
    """Robust rise over the span below which the rule stays silent, nats per token."""
    sigmas: float = Field(default=4.0, gt=0, le=4)
    """The rise must be this many of its standard errors, and its Mann-Kendall z as large.

    The test is made at every bin of a long run, so it must be strict; 12 bins reach z = 4.5 at most."""
    action: Action = "pause"
    severity: Severity = "SEV-1"


class PlateauRulePlan(Section):
    """Loss that no longer falls over a whole span."""

    span: Span = Span(value=72, unit="hours")
    bins: int = Field(default=24, ge=12)
    """The span is cut into this many equal bins; the trend is taken over the bins' medians."""
    min_fall_nats: float = Field(default=0.0008, gt=0)
    """Fall over the span below which training no longer progresses, nats per token.

    A 10B model at 10T tokens loses about 0.0013 nats in 72 h by the Chinchilla law, so the bound lies below that. A
    shorter run states a larger bound: it must be well above
    `sigmas` times the noise of the loss's trend over the span."""
    sigmas: float = Field(default=3.0, ge=0)
    """The fall plus this many of its standard errors must lie below the bound."""
    action: Action = "pause"
    severity: Severity = "SEV-2"


class ExpertImbalanceRulePlan(Section):
    """Too large a share of the (token, expert) assignments goes to few experts, in the worst layer."""

    max_share: float = Field(default=0.50, gt=0, lt=1)
    """Largest allowed share of assignments."""
    top_fraction: float = Field(default=0.10, gt=0, lt=1)
    """The busiest experts that are counted together: this fraction of all experts, rounded up."""
    until_tokens: int = Field(default=1_000_000_000_000, gt=0)
    """The rule looks at the first so many tokens of a run."""
    window_observations: int = Field(default=100, ge=1)
    """The share is averaged over this many observations."""
    action: Action = "pause"
    severity: Severity = "SEV-2"


class RulesPlan(Section):
    """All stop rules of a run. A rule set to null is not armed."""

    nan: NanRulePlan | None = NanRulePlan()
    spike: SpikeRulePlan | None = SpikeRulePlan()
    rise: RiseRulePlan | None = RiseRulePlan()
    plateau: PlateauRulePlan | None = PlateauRulePlan()
    expert_imbalance: ExpertImbalanceRulePlan | None = ExpertImbalanceRulePlan()
    sev_resolution_hours: float = Field(default=4.0, gt=0)
    """SEV-1 and SEV-2 incidents are to be resolved within this many hours."""

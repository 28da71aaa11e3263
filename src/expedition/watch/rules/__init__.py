"""The stop rules: one rule a file, pure state, armed from the programme's `rules`."""

from expedition.watch.rules.arm import Refusal, RunShape, arm, observations, observe, refusals, warm
from expedition.watch.rules.expert_imbalance import top_expert_share, top_expert_shares
from expedition.watch.rules.rule import Alarm, Observation, Rule

__all__ = [
    "Alarm",
    "Observation",
    "Refusal",
    "Rule",
    "RunShape",
    "arm",
    "observations",
    "observe",
    "refusals",
    "top_expert_share",
    "top_expert_shares",
    "warm",
]

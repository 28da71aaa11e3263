"""From the programme's rules to armed rules: what cannot fire for this model or run is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from expedition.errors import ProgrammeError
from expedition.plan.rules import RulesPlan, Span
from expedition.watch.rules.expert_imbalance import ExpertImbalanceRule, reachable_shares
from expedition.watch.rules.nan import NanRule
from expedition.watch.rules.plateau import PlateauRule
from expedition.watch.rules.rise import RiseRule
from expedition.watch.rules.rule import Alarm, Observation, Rule
from expedition.watch.rules.spike import SpikeRule
from expedition.watch.segments import Columns, read_metrics

if TYPE_CHECKING:
    from expedition.workspace import Workspace

_Plan = TypeVar("_Plan")


RULE_NAMES = ("nan", "spike", "rise", "plateau", "expert_imbalance")


@dataclass(frozen=True, slots=True)
class RunShape:
    """What decides whether a rule can fire at all. None = dense model, or a length that is not known beforehand."""

    experts: int | None = None
    top_k: int | None = None
    steps: int | None = None
    tokens: int | None = None
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that is in the plan and cannot fire."""

    rule: str
    reason: str
    fix: str


def refusals(plan: RulesPlan, shape: RunShape) -> list[Refusal]:
    """Rules of the plan that cannot fire (or cannot stay silent) for this model and run."""
    found: list[Refusal] = []
    if plan.expert_imbalance is not None and shape.experts is not None and shape.top_k is not None:
        rule = plan.expert_imbalance
        least, most = reachable_shares(shape.experts, shape.top_k, rule.top_fraction)
        routing = f"{shape.experts} experts with top-{shape.top_k}"
        if most <= rule.max_share:
            reason = f"with {routing} the busiest {rule.top_fraction:.0%} can take at most {most:.0%} of assignments"
            found.append(Refusal("expert_imbalance", reason, f"use more experts, or a max_share below {most:g}"))
        if least > rule.max_share:
            reason = f"with {routing} even perfect balance gives them {least:.0%}"
            found.append(Refusal("expert_imbalance", reason, f"use a max_share above {least:g}"))
    spans = [("rise", plan.rise.span if plan.rise else None), ("plateau", plan.plateau.span if plan.plateau else None)]
    for name, span in spans:
        length = _length(shape, span) if span is not None else None
        if span is not None and length is not None and span.value >= length:
            reason = f"its span of {span.value:g} {span.unit} is not shorter than the run ({length:g} {span.unit})"
            found.append(Refusal(name, reason, f"set rules.{name}.span below the run's length, or rules.{name}: null"))
    return found


def arm(plan: RulesPlan, shape: RunShape, only: Collection[str] | None = None) -> tuple[Rule, ...]:
    """The plan's rules (those named in `only`, when given) with fresh state; order nan, spike, rise, plateau, experts.

    A dense model (`experts` None) has no expert_imbalance rule. Raises ProgrammeError for a rule that cannot fire for
    this run.
    """
    if only is not None:
        plan = plan.model_copy(update={name: None for name in RULE_NAMES if name not in only})
    for refusal in refusals(plan, shape):
        raise ProgrammeError(
            f"the rule cannot guard this run: {refusal.reason}", where=f"rules.{refusal.rule}", fix=refusal.fix
        )
    builders: list[Callable[[], Rule] | None] = [
        _builder(NanRule, plan.nan),
        _builder(SpikeRule, plan.spike),
        _builder(RiseRule, plan.rise),
        _builder(PlateauRule, plan.plateau),
        _builder(ExpertImbalanceRule, plan.expert_imbalance if shape.experts is not None else None),
    ]
    return tuple(build() for build in builders if build is not None)


def observe(rules: Sequence[Rule], observation: Observation) -> list[Alarm]:
    """Show one row to every rule; their alarms, pausing ones first."""
    alarms = [alarm for rule in rules if (alarm := rule.observe(observation)) is not None]
    return sorted(alarms, key=lambda alarm: not alarm.pauses)


def observations(columns: Columns) -> Iterator[Observation]:
    """Rows of `read_metrics` as observations.

    A NaN cell is "not logged" except for the loss, where it is a non-finite loss.
    """
    names = [name for name in columns if name not in ("step", "tokens", "time_s")]
    for index in range(len(columns["step"])):
        values = {name: float(columns[name][index]) for name in names}
        kept = {name: value for name, value in values.items() if name == "loss" or not np.isnan(value)}
        yield Observation(
            int(columns["step"][index]), int(columns["tokens"][index]), float(columns["time_s"][index]), kept
        )


def warm(rules: Iterable[Rule], ws: Workspace, run: str, before_step: int, from_step: int = 0) -> int:
    """Rebuild the rules' state on resume from the kept rows with from_step <= step < before_step; returns their number.

    After a pause that people have dealt with, pass from_step=before_step: the span begins anew and the same rise or
    plateau does not stop the run at its first step.
    """
    columns = read_metrics(ws, run)
    kept = [row for row in observations(columns) if from_step <= row.step < before_step]
    for rule in rules:
        for row in kept:
            rule.observe(row)
    return len(kept)


def _builder(rule: Callable[[_Plan], Rule], plan: _Plan | None) -> Callable[[], Rule] | None:
    return None if plan is None else (lambda: rule(plan))


def _length(shape: RunShape, span: Span) -> float | None:
    return {"hours": shape.hours, "steps": shape.steps, "tokens": shape.tokens}[span.unit]

"""What the rules say about a run so far: armed or refused, and the alarms on its own metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import UsageError
from expedition.watch.replay import replay
from expedition.watch.rules.arm import RULE_NAMES, RunShape, arm, observations, observe, refusals
from expedition.watch.segments import read_metrics

if TYPE_CHECKING:
    from expedition.plan.models import Programme
    from expedition.workspace import Workspace


def run_shape(programme: Programme, run: str) -> RunShape:
    """What decides whether a rule can fire for a run. Raises UsageError for a run that the programme does not have."""
    if run not in programme.runs:
        raise UsageError(f"no run {run!r} in the programme", fix=f"one of: {', '.join(programme.runs)}")
    plan = programme.runs[run]
    shape = programme.models[plan.model]
    moe = bool(shape.moe_layers)
    steps = plan.total_steps
    return RunShape(
        experts=shape.experts if moe else None,
        top_k=shape.top_k if moe else None,
        steps=steps,
        tokens=plan.tokens_after(steps),
    )


def rule_states(ws: Workspace, programme: Programme, run: str) -> list[dict[str, Any]]:
    """For every rule: armed, refused (why), action, and how often it fires on the run's metrics so far."""
    shape = run_shape(programme, run)
    refused = {refusal.rule: refusal.reason for refusal in refusals(programme.rules, shape)}
    chosen = [name for name in RULE_NAMES if name in programme.runs[run].rules and name not in refused]
    kept = programme.rules.model_copy(update={name: None for name in RULE_NAMES if name not in chosen})
    rules = arm(kept, shape)
    alarms = [alarm for row in observations(read_metrics(ws, run)) for alarm in observe(rules, row)]
    armed = {rule.name for rule in rules}
    plans = {name: getattr(programme.rules, name) for name in RULE_NAMES}
    return [
        {
            "rule": name,
            "armed": name in armed,
            "refused": refused.get(name),
            "action": None if plans[name] is None else plans[name].action,
            "severity": None if plans[name] is None else plans[name].severity,
            "alarms": sum(1 for alarm in alarms if alarm.rule == name),
            "first_alarm_step": next((alarm.step for alarm in alarms if alarm.rule == name), None),
        }
        for name in RULE_NAMES
    ]


def replay_programme(
    ws: Workspace, programme: Programme, run: str = "main", curves: Path | None = None, seed: int = 7
) -> dict[str, Any]:
    """`replay` of the programme's rules for one of its runs."""
    return replay(ws, programme.rules, run_shape(programme, run), curves, seed)

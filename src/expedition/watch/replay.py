"""Proof of the armed rules by replay: troubles are caught in time, healthy runs are left alone.

Every rule is replayed over generated curves at its own scale, and over files of real runs when a folder is given.
Real runs are short, so hours are mapped onto them: the spans keep their share of the main run's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.plan.rules import PlateauRulePlan, RiseRulePlan, RulesPlan, Span
from expedition.watch.curves import Curve, Scale, generate, generate_shares, read_curves
from expedition.watch.rules.arm import RunShape, refusals
from expedition.watch.rules.expert_imbalance import ExpertImbalanceRule, reachable_shares
from expedition.watch.rules.nan import NanRule
from expedition.watch.rules.plateau import PlateauRule
from expedition.watch.rules.rise import RiseRule
from expedition.watch.rules.rule import Rule
from expedition.watch.rules.spike import SpikeRule
from expedition.workspace import layout

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "watch.replay/1"
MAIN_RUN_HOURS = 56 * 24.0
"""W11 to W18; what a span in hours is a share of when a short real run is replayed."""
RISE_ROWS_PER_BIN = 10
PLATEAU_ROWS_PER_BIN = 30
"""Three times the rise rule's, as 72 h are three times 24 h."""
OUTLIER_ROWS = 5
MIN_ROWS = 200
"""Real curves with fewer rows are excerpts: no window fills."""


@dataclass(frozen=True, slots=True)
class CurveVerdict:
    """What a rule did on a curve. `ok` is None where the curve says nothing about this rule."""

    name: str
    origin: str
    expected: str
    """`fires`, `silent` or `not judged`."""
    onset_step: int | None
    fired_at: int | None
    ok: bool | None


def fired_at(rule: Rule, curve: Curve) -> int | None:
    """First step on which the rule fires, None if it never does."""
    for row in curve.rows:
        if rule.observe(row) is not None:
            return row.step
    return None


def replay(
    ws: Workspace, plan: RulesPlan, shape: RunShape, curves: Path | None = None, seed: int = 7
) -> dict[str, Any]:
    """Replay every rule of the plan and write reports/replay.json. Idempotent; a second or two."""
    real = read_curves(curves) if curves is not None else []
    refused = {refusal.rule: refusal.reason for refusal in refusals(plan, shape)}
    fired = [(curve, replay_real(plan, curve)) for curve in real if len(curve.rows) >= MIN_ROWS]
    rules = []
    for name, prove in _PROOFS.items():
        armed = _armed(name, plan, shape) and name not in refused
        verdicts = prove(plan, shape, seed) if armed else []
        verdicts += [_judge_real(name, curve, at[name]) for curve, at in fired if armed and name in at]
        rules.append(_summary(name, armed, refused.get(name), verdicts))
    document: dict[str, Any] = {
        "rules": rules,
        "real_curves": len(real),
        "conditions": ["generated curves"] + (["spans scaled to the length of real runs"] if real else []),
    }
    ws.write_json(layout.report("replay"), document, schema=SCHEMA)
    proven = [rule["rule"] for rule in rules if rule["proven"]]
    ws.events("watch").append("rules.replayed", proven=proven)
    return document


def replay_real(plan: RulesPlan, curve: Curve) -> dict[str, int | None]:
    """First firing step of nan, spike, rise and plateau on a real curve, spans mapped onto its length."""
    scaled = scaled_to(plan, curve)
    rules: list[Rule] = []
    if scaled.nan is not None:
        rules.append(NanRule(scaled.nan))
    if scaled.spike is not None:
        rules.append(SpikeRule(scaled.spike))
    if scaled.rise is not None:
        rules.append(RiseRule(scaled.rise))
    if scaled.plateau is not None:
        rules.append(PlateauRule(scaled.plateau))
    return {rule.name: fired_at(rule, curve) for rule in rules}


def scaled_to(plan: RulesPlan, curve: Curve) -> RulesPlan:
    """The plan with rise and plateau spans in steps, as the same share of this curve as of the main run.

    A curve that prints every n-th step counts its spike in printed rows: one of a few is enough.
    """
    steps = max(1, curve.rows[-1].step - curve.rows[0].step)
    stride = max(1, round(steps / max(1, len(curve.rows) - 1)))

    changes: dict[str, Any] = {}
    if plan.rise is not None:
        span, _ = _span_on(plan.rise, RISE_ROWS_PER_BIN, steps, stride)
        changes["rise"] = plan.rise.model_copy(update={"span": span})
    if plan.plateau is not None:
        span, longer = _span_on(plan.plateau, PLATEAU_ROWS_PER_BIN, steps, stride)
        bound = plan.plateau.min_fall_nats * longer
        changes["plateau"] = plan.plateau.model_copy(update={"span": span, "min_fall_nats": bound})
    if plan.spike is not None and stride >= 8:
        changes["spike"] = plan.spike.model_copy(update={"consecutive_steps": 1, "floor_nats": 0.7})
    return plan.model_copy(update=changes)


def _span_on(rule: RiseRulePlan | PlateauRulePlan, rows_per_bin: int, steps: int, stride: int) -> tuple[Span, float]:
    """The rule's span on a curve of `steps`, and how many times its share of the main run it had to be.

    A bin holds at least `rows_per_bin` printed rows: in 24 h the main run makes tens of thousands, a short curve a few
    dozen, too few to tell its trend from its noise.
    """
    share = rule.span.value / MAIN_RUN_HOURS if rule.span.unit == "hours" else 0.05
    length = max(rows_per_bin * rule.bins * stride, share * steps)
    return Span(value=length, unit="steps"), length / (share * steps)


def _armed(name: str, plan: RulesPlan, shape: RunShape) -> bool:
    return getattr(plan, name) is not None and not (name == "expert_imbalance" and shape.experts is None)


def _summary(name: str, armed: bool, refused: str | None, verdicts: Sequence[CurveVerdict]) -> dict[str, Any]:
    """Proven: the generated curves hold the rule's trouble and health, and every judged curve is as expected."""
    judged = [verdict for verdict in verdicts if verdict.ok is not None]
    return {
        "rule": name,
        "armed": armed,
        "refused": refused,
        "curves": [asdict(verdict) for verdict in judged],
        "not_judged": [asdict(verdict) for verdict in verdicts if verdict.ok is None],
        "proven": {v.expected for v in judged} == {"fires", "silent"} and all(verdict.ok for verdict in judged),
    }


def _judge_real(name: str, curve: Curve, at: int | None) -> CurveVerdict:
    """A healthy run must stay silent, an unhealthy one says nothing: which rule its trouble belongs to is not labelled.

    A rule that fires on outliers that the label itself lists is not judged there.
    """
    listed = at is not None and any(abs(at - step) <= OUTLIER_ROWS for step in curve.outlier_steps)
    if not curve.healthy or listed:
        return CurveVerdict(curve.name, curve.origin, "not judged", curve.onset_step, at, None)
    return CurveVerdict(curve.name, curve.origin, "silent", None, at, at is None)


def _verdicts(build: Callable[[], Rule], curves: Sequence[Curve], fires: set[str], deadline: int) -> list[CurveVerdict]:
    """`fires`: curves on which the rule must fire, not before the onset and at most `deadline` steps after it."""
    found = []
    for curve in curves:
        at = fired_at(build(), curve)
        if curve.name in fires and curve.onset_step is not None:
            ok = at is not None and curve.onset_step <= at <= curve.onset_step + deadline
            found.append(CurveVerdict(curve.name, curve.origin, "fires", curve.onset_step, at, ok))
        else:
            found.append(CurveVerdict(curve.name, curve.origin, "silent", curve.onset_step, at, at is None))
    return found


_POINT_SCALE = Scale(per_span=480, step=1, tokens=1000, seconds=1.0)


def _prove_nan(plan: RulesPlan, shape: RunShape, seed: int) -> list[CurveVerdict]:
    rule = plan.nan
    assert rule is not None
    kinds = ("healthy", "hard batches", "mix change", "rising", "flat", "spike", "nan")
    curves = [generate(kind, _POINT_SCALE, seed) for kind in kinds]
    return _verdicts(lambda: NanRule(rule), curves, {"nan"}, rule.consecutive_steps)


def _prove_spike(plan: RulesPlan, shape: RunShape, seed: int) -> list[CurveVerdict]:
    rule = plan.spike
    assert rule is not None
    kinds = ("healthy", "hard batches", "mix change", "rising", "flat", "nan", "spike", "jump")
    curves = [generate(kind, _POINT_SCALE, seed) for kind in kinds]
    return _verdicts(lambda: SpikeRule(rule), curves, {"spike", "jump"}, rule.consecutive_steps)


def _prove_rise(plan: RulesPlan, shape: RunShape, seed: int) -> list[CurveVerdict]:
    rule = plan.rise
    assert rule is not None
    scale = Scale.of(rule.span, rule.bins)
    kinds = ("healthy", "hard batches", "mix change", "spike", "flat", "rising")
    curves = [generate(kind, scale, seed) for kind in kinds]
    return _verdicts(lambda: RiseRule(rule), curves, {"rising"}, int(1.5 * scale.per_span * scale.step))


def _prove_plateau(plan: RulesPlan, shape: RunShape, seed: int) -> list[CurveVerdict]:
    rule = plan.plateau
    assert rule is not None
    scale = Scale.of(rule.span, rule.bins)
    fall, noise = 3 * rule.min_fall_nats, 0.4 * rule.min_fall_nats
    kinds = ("healthy", "hard batches", "flat")
    curves = [generate(kind, scale, seed, fall_per_span=fall, noise=noise) for kind in kinds]
    return _verdicts(lambda: PlateauRule(rule), curves, {"flat"}, int(2.5 * scale.per_span * scale.step))


def _prove_imbalance(plan: RulesPlan, shape: RunShape, seed: int) -> list[CurveVerdict]:
    rule = plan.expert_imbalance
    assert rule is not None and shape.experts is not None and shape.top_k is not None
    least, most = reachable_shares(shape.experts, shape.top_k, rule.top_fraction)
    rows = 10 * rule.window_observations
    good, bad = (least + rule.max_share) / 2, (most + rule.max_share) / 2
    kinds = ("balanced", "imbalanced", "late")
    curves = [generate_shares(kind, rows, rule.until_tokens, good, bad) for kind in kinds]
    return _verdicts(lambda: ExpertImbalanceRule(rule), curves, {"imbalanced"}, rule.window_observations)


_PROOFS: dict[str, Callable[[RulesPlan, RunShape, int], list[CurveVerdict]]] = {
    "nan": _prove_nan,
    "spike": _prove_spike,
    "rise": _prove_rise,
    "plateau": _prove_plateau,
    "expert_imbalance": _prove_imbalance,
}

"""Gates: each criterion's verdict from evidence, and what the verdicts block."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from expedition.errors import UsageError
from expedition.plan.criteria import CriterionPlan
from expedition.plan.models import Programme
from expedition.programme.criteria import QUERIES
from expedition.programme.evidence import Archive, Changed, Measured, NoEvidence, Reader
from expedition.workspace import Workspace, layout

SCHEMA = "programme.gates/1"
Verdict = Literal["pass", "fail", "no evidence", "waived"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One criterion, judged. `measured` is None where there is no evidence; `reason` says why a verdict is what it is."""

    id: str
    gate: str
    title: str
    verdict: Verdict
    measured: float | bool | None
    comparator: str
    threshold: float | None
    upper: float | None
    chapter_threshold: float | None
    scaled: bool
    unit: str
    reason: str
    conditions: tuple[str, ...]
    blocking: bool
    origin: str
    owner: str
    evidence: tuple[dict[str, str], ...]

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "conditions": list(self.conditions), "evidence": list(self.evidence)}


def holds(plan: CriterionPlan, value: float | bool) -> bool:
    """Whether a measured value meets the criterion. Pure."""
    if plan.comparator in ("all", "pass"):
        return value is True
    number, threshold = float(value), float(plan.threshold if plan.threshold is not None else "nan")
    if plan.comparator == "between":
        return threshold <= number <= float(plan.upper if plan.upper is not None else "nan")
    tolerance = 1e-9 * max(abs(number), abs(threshold), 1.0)
    return {
        ">=": number >= threshold - tolerance,
        ">": number > threshold,
        "<=": number <= threshold + tolerance,
        "<": number < threshold,
        "=": abs(number - threshold) <= tolerance,
    }[plan.comparator]


def judge(archive: Archive, plan: CriterionPlan, waivers: dict[str, str]) -> Judgement:
    """The verdict on one criterion: waived, no evidence, fail (also for changed evidence), or pass."""
    reader = Reader(archive)
    measured: Measured | None = None
    verdict: Verdict
    try:
        if not plan.judged:
            raise NoEvidence(f"preset {archive.programme.preset} does not judge this")
        measured = QUERIES[plan.id](reader)
        verdict = "pass" if holds(plan, measured.value) else "fail"
        reason = measured.note
    except NoEvidence as missing:
        verdict, reason = "no evidence", str(missing)
    except Changed as changed:
        verdict, reason = "fail", f"evidence changed: {changed}"
    if plan.id in waivers and verdict != "pass":
        verdict, reason = "waived", f"{waivers[plan.id]} ({verdict}: {reason})"
    conditions = [*reader.conditions, *(measured.conditions if measured is not None else ())]
    return Judgement(
        id=plan.id,
        gate=plan.gate,
        title=plan.title,
        verdict=verdict,
        measured=measured.value if measured is not None else None,
        comparator=plan.comparator,
        threshold=plan.threshold,
        upper=plan.upper,
        chapter_threshold=plan.chapter_threshold if plan.chapter_threshold is not None else plan.threshold,
        scaled=plan.scaled,
        unit=plan.unit,
        reason=reason,
        conditions=tuple(dict.fromkeys(conditions)),
        blocking=plan.blocking
        and (verdict == "fail" or (verdict == "no evidence" and _blocks(archive.programme, plan))),
        origin=plan.origin,
        owner=plan.owner,
        evidence=tuple({"path": key, "sha256": digest} for key, digest in sorted(reader.evidence.items())),
    )


def evaluate_gates(ws: Workspace, programme: Programme, gate: str = "all") -> list[Judgement]:
    """Judge a gate's criteria ("all", a milestone's id) and record the verdicts in gates.json.

    Raises UsageError for an unknown gate.
    """
    known = [milestone.id for milestone in programme.schedule.milestones]
    if gate not in ("all", "every", *known):
        raise UsageError(f"no gate {gate!r}", fix=f"gates: all, {', '.join(known)}")
    archive = Archive(ws, programme)
    waivers = {
        event.fields["criterion"]: f"waived by {event.fields['who']}: {event.fields['why']}"
        for event in archive.events
        if event.kind == "gate.waived"
    }
    chosen = [plan for plan in programme.criteria if gate == "all" or plan.gate in (gate, "every")]
    judgements = [judge(archive, plan, waivers) for plan in chosen]
    if gate == "all":
        ws.write_json(
            layout.GATES,
            {"preset": programme.preset, "criteria": [item.record() for item in judgements]},
            schema=SCHEMA,
        )
    return judgements


def exit_code(judgements: list[Judgement], *, strict: bool = False) -> int:
    """1 if a criterion fails (with `strict`: or has no evidence), else 0."""
    bad = {"fail", "no evidence"} if strict else {"fail"}
    return int(any(item.verdict in bad for item in judgements))


def summary(judgements: list[Judgement]) -> dict[str, int]:
    """How many criteria have each verdict."""
    verdicts = ("pass", "fail", "no evidence", "waived")
    return {verdict: sum(item.verdict == verdict for item in judgements) for verdict in verdicts}


def waive(ws: Workspace, programme: Programme, criterion: str, who: str, why: str) -> dict[str, str]:
    """Record that a criterion is waived. Compliance is never waived. Raises UsageError."""
    ids = [plan.id for plan in programme.criteria]
    if criterion not in ids:
        raise UsageError(f"no criterion {criterion!r}", fix="expedition gate list")
    if criterion.startswith("compliance."):
        raise UsageError("compliance cannot be waived", where=criterion, fix="expedition compliance approve …")
    if not why.strip():
        raise UsageError("a waiver needs its reason", fix="--why 'text'")
    ws.events("programme").append("gate.waived", criterion=criterion, who=who, why=why)
    return {"criterion": criterion, "who": who, "why": why}


def _blocks(programme: Programme, plan: CriterionPlan) -> bool:
    """Whether missing evidence blocks: always for compliance, else as the preset says."""
    return programme.gates.no_evidence_blocks or plan.id.startswith("compliance.")

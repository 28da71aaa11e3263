"""The criteria section: every number of the programme as a record that a gate evaluates from artefacts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expedition.plan.section import Section

Comparator = Literal[">=", ">", "<=", "<", "=", "all", "pass", "between"]


class CriterionPlan(Section):
    """One acceptance criterion."""

    id: str = Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")
    """Stable name, `room.quantity`."""
    gate: str
    """Milestone that it belongs to, or "every"."""
    title: str
    """The measured quantity in words."""
    comparator: Comparator
    """How measured and threshold are compared; "all" and "pass" ask for true."""
    threshold: float | None = None
    """What is asked for at this preset; None for "all" and "pass"."""
    upper: float | None = None
    """Upper end for "between"."""
    chapter_threshold: float | None = None
    """The chapter's own number, where this preset judges at a smaller one."""
    chapter_upper: float | None = None
    """The chapter's upper end for "between"."""
    unit: str = ""
    """Unit of measured and threshold."""
    evidence: str
    """Name of the artefact query (`programme/evidence.py`)."""
    origin: Literal["chapter", "ours"] = "chapter"
    """Whether the number is the chapter's."""
    owner: str = "unassigned"
    """Workstream that answers for it."""
    judged: bool = True
    """False: this preset measures nothing that could be judged; the verdict is "no evidence"."""
    blocking: bool = True
    """Whether `fail` (and, where the preset says so, "no evidence") blocks what the gate guards."""

    @model_validator(mode="after")
    def _complete(self) -> CriterionPlan:
        if self.comparator not in ("all", "pass") and self.threshold is None:
            raise ValueError(f"criterion {self.id}: comparator {self.comparator!r} needs a threshold")
        if self.comparator == "between" and self.upper is None:
            raise ValueError(f"criterion {self.id}: comparator 'between' needs upper")
        return self

    @property
    def scaled(self) -> bool:
        """Whether it is judged at a threshold other than the chapter's."""
        return self.chapter_threshold is not None and (
            self.chapter_threshold != self.threshold or self.chapter_upper != self.upper
        )


class GatePolicy(Section):
    """What a verdict blocks."""

    no_evidence_blocks: bool = True
    """Whether "no evidence" blocks what a gate guards (w26) or only `fail` and compliance do (rehearsal)."""

"""The programme: everything that is decided, as one frozen value."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expedition.plan.cluster import ClusterPlan
from expedition.plan.criteria import CriterionPlan, GatePolicy
from expedition.plan.data import DataPlan
from expedition.plan.evaluation import EvaluationPlan, ReleasePlan
from expedition.plan.media import MediaRule
from expedition.plan.phases import chain_problem
from expedition.plan.rules import RulesPlan
from expedition.plan.runs import RunPlan
from expedition.plan.schedule import SchedulePlan
from expedition.plan.section import Section
from expedition.plan.shapes import ModelShape

SCHEMA = "programme/1"


class Programme(Section):
    """The whole programme file. Presets differ in data only, never in code path."""

    schema_version: Literal["programme/1"] = "programme/1"
    """Version of this file's form."""
    name: str
    """Name of the programme."""
    preset: str
    """Preset that it came from."""
    description: str = ""
    """What it is for."""
    schedule: SchedulePlan
    """Workstreams, tasks, milestones, people."""
    data: DataPlan
    """Mix, sources, stages, tokenizer."""
    media: MediaRule = MediaRule()
    """Sizes of pictures, clips and sounds."""
    models: dict[str, ModelShape]
    """Model shapes by name."""
    runs: dict[str, RunPlan]
    """Training runs by name: poc, 1b, main."""
    phases: tuple[str, ...] = ()
    """Runs that follow one another in this order, each starting from the one before it; none is one phase a run."""
    cluster: ClusterPlan
    """Machines, prices, burn-in."""
    rules: RulesPlan = RulesPlan()
    """Stop rules."""
    criteria: tuple[CriterionPlan, ...]
    """Acceptance criteria of all gates."""
    gates: GatePolicy = GatePolicy()
    """What a verdict blocks."""
    evaluation: EvaluationPlan = EvaluationPlan()
    """What is measured on checkpoints."""
    release: ReleasePlan = ReleasePlan()
    """What is handed over."""
    workers: int = Field(default=2, ge=1)
    """Processes of the data engine on one machine."""

    @model_validator(mode="after")
    def _references(self) -> Programme:
        for name, run in self.runs.items():
            if run.model not in self.models:
                raise ValueError(f"runs.{name}.model is {run.model!r}; known models: {sorted(self.models)}")
        problem = chain_problem(self.runs, self.phases)
        if problem is not None:
            raise ValueError(problem)
        gates = {milestone.id for milestone in self.schedule.milestones} | {"every"}
        ids = [criterion.id for criterion in self.criteria]
        for criterion in self.criteria:
            if criterion.gate not in gates:
                raise ValueError(f"criterion {criterion.id}: gate {criterion.gate!r} is no milestone")
            if ids.count(criterion.id) > 1:
                raise ValueError(f"criterion {criterion.id} is there twice")
        return self

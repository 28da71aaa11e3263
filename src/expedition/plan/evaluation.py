"""The evaluation section: which tasks, how sure, and what a release promises."""

from __future__ import annotations

from pydantic import Field

from expedition.plan.section import Section


class EvaluationPlan(Section):
    """What is measured on a checkpoint."""

    attributes: tuple[str, ...] = (
        "colour",
        "shape",
        "count",
        "position",
        "word",
        "direction",
        "order",
        "trajectory",
        "needle",
    )
    """Attribute tasks, one each, from the `eval` folder of the data."""
    max_items: int = Field(default=200, ge=4)
    """Items of each task that are scored."""
    significance: float = Field(default=0.001, gt=0, lt=1)
    """Level for "above chance", corrected for the number of tasks (Holm)."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals."""
    perplexity_documents: int = Field(default=64, ge=1)
    """Held-out documents of each kind."""
    needle_lengths: tuple[int, ...] = (64, 128, 192)
    """Context lengths of the needle grid, tokens."""
    needle_depths: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Depths of the needle grid, parts of the context."""
    batch_items: int = Field(default=32, ge=1)
    """Items scored together."""
    seed: int = 11
    """Seed of item choice and of the controls' shuffles."""


class ReleasePlan(Section):
    """What is handed over."""

    version: str = "v1.0"
    """Version of the release."""
    name: str = "final-checkpoint-v1.0"
    """Name of the released checkpoint."""
    shard_bytes: int = Field(default=5_000_000_000, ge=1 << 16)
    """Largest weight file, bytes."""
    metric: str = "colour"
    """Task that a stranger reproduces from the kit."""
    metric_tolerance: float = Field(default=0.02, ge=0)
    """Accepted difference of the reproduced metric."""
    grid_carbon_kg_per_kwh: float = Field(default=0.4, ge=0)
    """Carbon intensity used for the model card's estimate, kg CO2e a kWh."""

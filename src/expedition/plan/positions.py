"""Rotary positions of a phase: another base, or frequencies stretched to longer texts (linear, YaRN).

Fields are those of transformers' `rope_parameters`, in words; the model room computes the frequencies.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from expedition.plan.section import Section

__all__ = ["RopePlan", "RopeScaling"]


class RopeScaling(Section):
    """How the decoder's rotary frequencies are stretched beyond the length that they were trained at."""

    kind: Literal["linear", "yarn"]
    """linear: every frequency ÷ factor (arXiv:2306.15595); yarn: only the slow ones, and attention is sharpened
    (arXiv:2309.00071)."""
    factor: float = Field(ge=1)
    """Longest position now ÷ longest position before."""
    original_max_positions: int = Field(gt=0)
    """Longest position that the weights were trained at before, in tokens."""
    beta_fast: float = Field(default=32.0, gt=0)
    """yarn: a pair that turns at least so often within the original length keeps its frequency."""
    beta_slow: float = Field(default=1.0, gt=0)
    """yarn: a pair that turns at most so often within the original length is stretched by the whole factor."""
    attention_factor: float | None = Field(default=None, gt=0)
    """yarn: cosine and sine are multiplied by it; None: 0.1 · ln(factor) + 1."""
    truncate: bool = True
    """yarn: the bounds of the ramp between the two are rounded outwards to whole pairs."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast {self.beta_fast} must be above beta_slow {self.beta_slow}")
        return self

    @property
    def max_positions(self) -> int:
        """Longest position that the stretched frequencies are made for, in tokens."""
        return int(self.original_max_positions * self.factor)


class RopePlan(Section):
    """The positions of one run, where they are not those of its model's shape (long-context phases)."""

    theta: float | None = Field(default=None, gt=0)
    """Base of the rotary frequencies; None: the shape's."""
    scaling: RopeScaling | None = None
    """Stretching; None: none."""
    max_positions: int | None = Field(default=None, gt=0)
    """Longest position, in tokens; None: the scaling's, else the shape's."""

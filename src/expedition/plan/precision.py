"""Numerics of a run: the compute type, and which layers multiply in FP8."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from expedition.plan.section import Section


class Fp8FallbackPlan(Section):
    """When a module goes back to the compute type for the rest of the run: a tensor of it was above a share in so many
    counts one after the other."""

    zeros_share: float = Field(default=0.1, gt=0, le=1)
    """Share of values that came out as zero, in slices that have other values: what outliers push out of the range."""
    saturated_share: float = Field(default=0.1, gt=0, le=1)
    """Share of values at the format's largest."""
    counts: int = Field(default=3, ge=1)
    """Counts in a row."""


class Fp8Plan(Section):
    """Which layers multiply in FP8, and how."""

    modules: tuple[str, ...] = ()
    """Name patterns (fnmatch on the module's dotted name) of linear layers and experts; none named is no FP8."""
    exclude: tuple[str, ...] = ("*lm_head*", "*gate", "visual.*", "audio_tower.*")
    """Patterns that stay in the compute dtype whatever `modules` says."""
    recipe: Literal["tensorwise", "rowwise", "blockwise"] = "tensorwise"
    """What shares a scale: a tensor; a row of each factor of the product; 1 × 128 values of activations and 128 × 128 of
    weights (arXiv:2412.19437). Experts always have scales of rows: grouped products take no others."""
    scales: Literal["exact", "power_of_two"] = "exact"
    """exact: the format's largest value ÷ the largest magnitude. power_of_two: that rounded down to a power of two, which
    moves no mantissa: what FP8 weight gradients of rows want, where values are moved from one scale to another, and what
    lets queries, keys and values, and a dense SwiGLU, multiply as one with scales of rows."""
    forward: Literal["e4m3", "e5m2"] = "e4m3"
    """Format of activations and weights."""
    gradient: Literal["e4m3", "e5m2"] = "e5m2"
    """Format of output gradients."""
    weight_gradient: Literal["bf16", "fp8"] = "bf16"
    """Products that give weight gradients: of factors in the compute dtype, or of FP8 ones (tensorwise, rowwise)."""
    backend: Literal["auto", "torch", "torchao", "transformer_engine", "emulated"] = "auto"
    """Who multiplies. auto: torch where there is hardware for it (CUDA, compute capability 9.0), emulated elsewhere, which
    gives FP8's numbers and not its speed. torchao and transformer_engine have linear layers alone, by their own recipes."""
    counters_every: int | None = Field(default=None, ge=1)
    """Steps between counts of zeros and of saturated values by module; None: never."""
    fallback: Fp8FallbackPlan | None = None
    """When modules go back to the compute type by their counts; None: never."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.fallback is not None and self.counters_every is None:
            raise ValueError("fallback needs counters_every: it decides by the counts")
        if self.weight_gradient == "fp8" and self.recipe == "blockwise":
            raise ValueError("weight_gradient: fp8 needs recipe tensorwise or rowwise; with blocks it is bf16")
        if self.recipe == "blockwise" and "e5m2" in (self.forward, self.gradient):
            raise ValueError(
                "recipe: blockwise needs forward: e4m3 and gradient: e4m3; products of blocks take no other format"
            )
        if self.weight_gradient == "fp8" and self.forward == "e5m2":
            raise ValueError("weight_gradient: fp8 needs forward: e4m3, the format of its second factor")
        return self


class PrecisionPlan(Section):
    """Numerics of the forward and backward pass. Master weights and optimiser states are always fp32."""

    compute: Literal["fp32", "bf16"] = "fp32"
    """Type of matrix products."""
    fp8: Fp8Plan = Fp8Plan()
    """FP8 policy by module."""

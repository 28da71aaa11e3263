"""The model's head as the loss takes it, in FP8 where the policy names `lm_head`."""

from __future__ import annotations

from torch import nn

from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.linear_cross_entropy import Fp8Factors
from expedition.train.fp8.layers import Fp8Linear
from expedition.train.losses import LinearHead

__all__ = ["linear_head"]


def linear_head(module: nn.Linear) -> LinearHead:
    """The head with the weight that the module has now.

    In FP8 its products have scales of rows whatever the recipe: its loss kernel writes them.
    """
    if not isinstance(module, Fp8Linear) or not module.fp8.active:
        return LinearHead(module.weight)
    state = module.fp8
    (copies,) = state.copies
    if copies.granularity != "rowwise":
        copies = WeightCopies(copies.format_name, "rowwise", copies.power_of_two, keep=copies.keep)
        state.copies = [copies]
    recipe = state.linear._replace(granularity="rowwise")
    return LinearHead(module.weight, Fp8Factors(copies, recipe, None if state.counts is None else state.see))

"""AdamW's update as a function (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, as `torch.optim.AdamW`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AdamWResult(NamedTuple):
    """New values, fp32."""

    weight: Tensor
    first: Tensor
    second: Tensor


class Corrections(NamedTuple):
    """1 − β^n of both moments in update n, fp32 scalars on the device."""

    first: Tensor
    second: Tensor

    @classmethod
    def after(cls, updates: Tensor, beta1: float, beta2: float) -> Corrections:
        return cls(*((1.0 - beta ** updates.double()).float() for beta in (beta1, beta2)))


class AdamWRates(NamedTuple):
    """The numbers of one group in one step."""

    learning_rate: float
    decay: float
    beta1: float
    beta2: float
    eps: float


def adamw_update(
    weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rates: AdamWRates, corrections: Corrections
) -> AdamWResult:
    """One update of fp32 values; nothing is changed in place. The decay acts first, with the step's learning rate."""
    new_first = torch.lerp(first, gradient, 1.0 - rates.beta1)
    new_second = second * rates.beta2 + gradient.square() * (1.0 - rates.beta2)
    denominator = (new_second / corrections.second).sqrt_().add_(rates.eps)
    new_weight = weight * (1.0 - rates.learning_rate * rates.decay)
    new_weight -= rates.learning_rate * (new_first / corrections.first) / denominator
    return AdamWResult(new_weight, new_first, new_second)

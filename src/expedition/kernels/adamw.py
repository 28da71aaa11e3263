"""AdamW's update (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, as `torch.optim.AdamW`), in place.

On CUDA one launch for all parameters of a kind reads gradient, weight and moments once and writes weight, moments and the
working copy once. Scale of the gradient, bias corrections and the verdict are read from the device, so nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.adamw_triton import Entry, Kind, entry_of, launch
from expedition.kernels.rounding import Stream, Target, put_, unround_blocks
from expedition.kernels.triton_jit import launches

__all__ = ["AdamWRates", "AdamWResult", "AdamWTensors", "Corrections", "UpdateScalars", "adamw_", "adamw_update"]


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


class AdamWTensors(NamedTuple):
    """A parameter's part on this device: contiguous, alike in shape."""

    weight: Tensor
    """fp32, or bf16 that is rounded stochastically."""
    gradient: Tensor
    """fp32 or bf16."""
    first: Tensor
    second: Tensor
    """Moments: fp32, or bf16 or E4M3 that is rounded stochastically."""
    working: Tensor | None = None
    """Takes the new weight, rounded to nearest: what the forward pass uses."""
    first_scale: Tensor | None = None
    second_scale: Tensor | None = None
    """Of moments in E4M3, both or none: fp32 [.., C / 256]. `second` then holds the root: a value that its block's scale
    loses has a first moment that is lost too, and divides nothing by zero."""


class UpdateScalars(NamedTuple):
    """What all parameters of one step share, on the device."""

    gradient_scale: Tensor
    keep: Tensor
    """Bool: where it is false every bit stays as it was."""
    corrections: Corrections
    packed_4: Tensor
    """All of them, fp32: scale, keep (0 or 1), corrections."""

    @classmethod
    def of(cls, gradient_scale: Tensor, keep: Tensor, corrections: Corrections) -> UpdateScalars:
        values = (gradient_scale, keep, *corrections)
        return cls(gradient_scale, keep, corrections, torch.stack([value.float() for value in values]))


def adamw_update(
    weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rates: AdamWRates, corrections: Corrections
) -> AdamWResult:
    """The definition, of fp32 values; nothing is changed in place. The decay acts first, with the step's learning rate."""
    new_first = torch.lerp(first, gradient, 1.0 - rates.beta1)
    new_second = second * rates.beta2 + gradient.square() * (1.0 - rates.beta2)
    denominator = (new_second / corrections.second).sqrt_().add_(rates.eps)
    new_weight = weight * (1.0 - rates.learning_rate * rates.decay)
    new_weight -= rates.learning_rate * (new_first / corrections.first) / denominator
    return AdamWResult(new_weight, new_first, new_second)


def adamw_(
    parameters: Sequence[AdamWTensors], rates: AdamWRates, scalars: UpdateScalars, streams: Sequence[Stream]
) -> None:
    """One update of parameters and their moments in place, or none where `keep` is false; `streams` round each.

    The fast way takes the same random bits as the plain one; values differ by the rounding of fp32 operations.
    """
    able = bool(parameters) and launches(parameters[0].weight) and not is_fake(parameters[0].weight)
    alike: dict[Kind, list[Entry]] = {}
    for tensors, stream in zip(parameters, streams, strict=True):
        entry = entry_of(tensors, stream) if able else None
        if entry is None:
            _plain(tensors, rates, scalars, stream)
        else:
            alike.setdefault(entry.kind, []).append(entry)
    for entries in alike.values():
        launch(entries, rates, scalars.packed_4)


def _plain(tensors: AdamWTensors, rates: AdamWRates, scalars: UpdateScalars, stream: Stream) -> None:
    weight, first_scale, second_scale = tensors.weight, tensors.first_scale, tensors.second_scale
    gradient = tensors.gradient.float() * scalars.gradient_scale
    first, second = tensors.first.float(), tensors.second.float()
    if first_scale is not None and second_scale is not None:
        first = unround_blocks(tensors.first, first_scale)
        second = unround_blocks(tensors.second, second_scale).square()
    new = adamw_update(weight.float(), gradient, first, second, rates, scalars.corrections)
    targets = [
        Target(weight, new.weight, 0),
        Target(tensors.first, new.first, 1, first_scale),
        Target(tensors.second, new.second if second_scale is None else new.second.sqrt(), 2, second_scale),
    ]
    put_(targets, scalars.keep, stream)
    if tensors.working is not None:
        tensors.working.copy_(weight)

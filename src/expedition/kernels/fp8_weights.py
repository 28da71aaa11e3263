"""FP8 copies of a weight, made once and kept while the weight stays as it is: for all micro-batches of a step."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from expedition.kernels.quantize import (
    Granularity,
    Quantized,
    WeightPair,
    quantize_blocks,
    quantize_rows,
    quantize_tensor,
    quantize_weight,
)

__all__ = ["WeightCopies", "quantize_activation"]


class WeightCopies:
    """Both orientations of one weight, or of several that are multiplied as one.

    keep: hold them until the weight is another tensor or was written to (`Tensor._version`: a kernel that writes a weight
    past autograd calls `torch.autograd.graph.increment_version`, or `forget`: FSDP2 fills a gathered weight without counting).
    Off where weights are gathered for each use: then copies would be what sharding saves, and each direction makes its own.
    """

    def __init__(self, format_name: str, granularity: Granularity, power_of_two: bool, *, keep: bool) -> None:
        self.format_name = format_name
        self.granularity: Granularity = granularity
        self.power_of_two = power_of_two
        self.keep = keep
        self._of: tuple[weakref.ref[Tensor], ...] = ()
        self._versions: tuple[int, ...] = ()
        self._pair: WeightPair | None = None

    def forward(self, *weights: Tensor) -> Quantized:
        """[.., N, K]; of several weights, one over the other."""
        if self.keep:
            return self._kept(weights).forward
        weight = _joined(weights)
        if self.granularity == "rowwise":
            return quantize_rows(weight, self.format_name, self.power_of_two)
        if self.granularity == "tensorwise":
            return quantize_tensor(weight, self.format_name, self.power_of_two)
        return quantize_weight(weight, self.format_name, self.granularity, self.power_of_two).forward

    def backward(self, *weights: Tensor) -> Quantized:
        """[.., K, N]."""
        return (self._kept(weights) if self.keep else self._made(weights)).backward

    def forget(self) -> None:
        """Make them again at the next use."""
        self._of, self._versions, self._pair = (), (), None

    def _made(self, weights: tuple[Tensor, ...]) -> WeightPair:
        return quantize_weight(_joined(weights), self.format_name, self.granularity, self.power_of_two)

    def _kept(self, weights: tuple[Tensor, ...]) -> WeightPair:
        versions = tuple(weight._version for weight in weights)
        same = len(self._of) == len(weights) and all(of() is w for of, w in zip(self._of, weights, strict=True))
        if self._pair is None or not same or self._versions != versions:
            self._pair = self._made(weights)
            self._of, self._versions = tuple(weakref.ref(weight) for weight in weights), versions
        return self._pair

    def __deepcopy__(self, memo: object) -> WeightCopies:
        return WeightCopies(self.format_name, self.granularity, self.power_of_two, keep=self.keep)


def _joined(weights: tuple[Tensor, ...]) -> Tensor:
    return weights[0].detach() if len(weights) == 1 else torch.cat([weight.detach() for weight in weights], dim=-2)


_BY_GRANULARITY = {"rowwise": quantize_rows, "tensorwise": quantize_tensor, "blockwise": quantize_blocks}


def quantize_activation(x: Tensor, format_name: str, granularity: Granularity, power_of_two: bool) -> Quantized:
    """An activation or a gradient [.., K] with the scales that go with the weight's."""
    return _BY_GRANULARITY[granularity](x, format_name, power_of_two)

"""What a step was, once the host may know it: its figures travel from the device without anybody waiting for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from expedition.train.bad_step import Verdict
from expedition.train.batches import TensorBatch
from expedition.train.step import StepResult
from expedition.train.stopwatch import Times

_TENSORS = ("loss", "loss_K", "balance", "z", "counts_LE", "gradient_norm", "real_tokens")
_VERDICT = ("keep", "finite", "spike")


@dataclass(frozen=True, slots=True)
class Seen:
    """A step that the device has done, on the host."""

    result: StepResult
    """Tensors on the CPU."""
    times: dict[str, float]
    """Seconds by part: data_s, forward_backward_s, optimizer_s, other_s, step_s."""
    memory_bytes: int | None
    """Most that the accelerator's allocator held during the step on this rank; None without one."""
    sample_ids: tuple[int, ...]
    """Of this rank's rows."""
    batches: Sequence[TensorBatch]
    """This rank's micro-batches, where they were trained on."""


class HostCopy:
    """Values of tensors on their way to the host: one copy into page-locked memory, behind what the device is asked for."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._packed: Tensor | None = None
        if self._tensors[0].is_cuda:
            # float64 holds float32, booleans and counts below 2^53 exactly.
            packed = torch.cat([tensor.double().flatten() for tensor in self._tensors])
            self._packed = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
            self._packed.copy_(packed, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def read(self) -> list[Tensor]:
        """Tensors on the CPU, of the same types; waits until the device has come so far, and for nothing after."""
        if self._packed is None:
            return self._tensors
        self._done.synchronize()
        ends = list(accumulate(tensor.numel() for tensor in self._tensors))
        pieces = torch.tensor_split(self._packed, ends[:-1])
        return [piece.to(like.dtype).view(like.shape) for piece, like in zip(pieces, self._tensors, strict=True)]


class Figures:
    """A step's figures on their way to the host."""

    def __init__(
        self, result: StepResult, times: Times, samples: tuple[int, ...], batches: Sequence[TensorBatch]
    ) -> None:
        self._result, self._times, self._samples, self._batches = result, times, samples, batches
        tensors = [getattr(result, name) for name in _TENSORS] + [getattr(result.verdict, name) for name in _VERDICT]
        self._copy = HostCopy(tensors)
        self._memory_bytes: int | None = None
        if result.loss.is_cuda:
            # The host's allocator runs ahead of the device, so what it held for this step is known already.
            self._memory_bytes = torch.cuda.max_memory_allocated(result.loss.device)
            torch.cuda.reset_peak_memory_stats(result.loss.device)

    def read(self) -> Seen:
        """The step as the host knows it; waits until the device has done it, and for nothing that was asked since."""
        values = self._copy.read()
        named: dict[str, Any] = dict(zip(_TENSORS, values, strict=False))
        result = replace(self._result, **named, verdict=Verdict(*values[len(_TENSORS) :]))
        return Seen(result, self._times(), self._memory_bytes, self._samples, self._batches)


class Sight:
    """Which steps the host may know: every one as soon as it is done, or where nobody `settles` it, one step later, when
    the device has the next step's work already and does not run dry while the host looks."""

    def __init__(self, settles: Callable[[int], bool]) -> None:
        """`settles` says of a step, by its number, whether its figures are wanted at once; alike on every rank."""
        self._settles = settles
        self._waiting: deque[Figures] = deque()

    def add(self, step: int, figures: Figures, *, now: bool) -> tuple[Seen, ...]:
        """Take in a step that was just asked of the device; those, in order, that may be looked at."""
        self._waiting.append(figures)
        kept = 0 if now or self._settles(step) else 1
        return tuple(self._waiting.popleft().read() for _ in range(len(self._waiting) - kept))

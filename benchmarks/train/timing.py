"""Times of steps on a device, the same way for all sides: by events on the device, read at the end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TextIO

import torch

from benchmarks.train.flops import StepFlops, mfu

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Measured:
    """A program's steps."""

    step_s: tuple[float, ...]
    first_step_s: float
    """Wall clock of the very first step, compilation and autotuning included."""
    peak_gib: float | None
    """Most that the allocator held for tensors in the timed steps; None on a CPU."""
    reserved_gib: float | None
    """Most that it took from the device."""
    loss: float
    """Of the last step."""

    def figures(self, tokens: float, flops: StepFlops) -> dict[str, Any]:
        """The table's figures for steps of so many tokens and so much work."""
        median = statistics.median(self.step_s)
        return {
            "tokens": tokens,
            "step_s": median,
            "step_s_all": [round(value, 6) for value in self.step_s],
            "tokens_per_s": tokens / median,
            "tflops": flops.causal / median / 1e12,
            "mfu": mfu(flops.causal, median),
            "mfu_full": mfu(flops.full, median),
            "peak_gib": self.peak_gib,
            "reserved_gib": self.reserved_gib,
            "first_step_s": round(self.first_step_s, 2),
            "loss": self.loss,
        }


FEWEST = 3


def time_steps(
    step: Callable[[], torch.Tensor], device: torch.device, warmup: int, steps: int, seconds: float | None = None
) -> Measured:
    """Call `step`, which returns its loss, once, `warmup` times and `steps` timed times. Nothing waits in between.

    With `seconds` only as many timed steps, at least three, as fit into them by the last warm-up step.
    """
    begin = time.perf_counter()
    loss = float(step())
    first_s = time.perf_counter() - begin
    for _ in range(warmup):
        begin = time.perf_counter()
        loss = float(step())
    if seconds is not None and warmup:
        steps = min(steps, max(FEWEST, int(seconds / (time.perf_counter() - begin))))
    if device.type != "cuda":
        times = []
        for _ in range(steps):
            begin = time.perf_counter()
            loss = float(step())
            times.append(time.perf_counter() - begin)
        return Measured(tuple(times), first_s, None, None, loss)
    torch.cuda.reset_peak_memory_stats()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]  # type: ignore[no-untyped-call]
    marks[0].record()
    last = torch.zeros(())
    for mark in marks[1:]:
        last = step()
        mark.record()
    torch.cuda.synchronize()
    return Measured(
        step_s=tuple(a.elapsed_time(b) / 1e3 for a, b in pairwise(marks)),
        first_step_s=first_s,
        peak_gib=torch.cuda.max_memory_allocated() / GIB,
        reserved_gib=torch.cuda.max_memory_reserved() / GIB,
        loss=float(last),
    )


def print_kernels(step: Callable[[], torch.Tensor], to: TextIO, most: int = 40) -> None:
    """The device time of one step's kernels by name, longest first. Does nothing on a CPU."""
    if not torch.cuda.is_available():
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    seen = [event for event in profiler.key_averages() if event.self_device_time_total]
    total = sum(event.self_device_time_total for event in seen)
    for event in sorted(seen, key=lambda event: -event.self_device_time_total)[:most]:
        share = event.self_device_time_total / total
        to.write(f"{event.self_device_time_total / 1e3:9.2f} ms {share:6.1%} x{event.count:<5} {event.key[:110]}\n")
    to.write(f"{total / 1e3:9.2f} ms in all kernels\n")

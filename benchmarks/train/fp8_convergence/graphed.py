"""The package's step over the corpus as a CUDA graph: the same kernels in the same order, without the host's time.

A step of this size keeps the device busy for some milliseconds and the host for ten times as long. So `train_step` is
recorded and played again; what a recording holds fixed is the learning rate, which therefore stays for a stretch of steps.
Without CUDA, and for steps in which FP8 is counted, the step runs as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.train.fp8_convergence.loop import Windows, without_encoders
from benchmarks.train.fp8_convergence.text import Corpus
from expedition.plan.runs import RunPlan
from expedition.train.batches import to_tensors
from expedition.train.callbacks.fp8_health import shares_of
from expedition.train.fp8.counters import count, take_counts
from expedition.train.setup import Built
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

HELD = 100
"""Steps that share a learning rate; a tenth as many while it rises."""
UNRECORDED = 3
"""Steps that run as they are before the first recording: kernels are compiled in them."""


def stretches(run: RunPlan) -> Iterator[tuple[int, int]]:
    """(first, end) of steps with one learning rate, that of the middle one."""
    step, total = 0, run.total_steps
    rising = run.steps_for(run.learning_rate.warmup)
    while step < total:
        end = min(step + (max(1, HELD // 10) if step < rising else HELD), total)
        if step < rising:
            end = min(end, rising)
        yield step, end
        step = end


def aside(device: torch.device) -> AbstractContextManager[Any]:
    """A stream of its own for building and running what is recorded; nothing on the CPU."""
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()  # type: ignore[no-untyped-call]


class Steps:
    """A run whose state, batches and results all stay on the device."""

    def __init__(self, built: Built, run: RunPlan, corpus: Corpus) -> None:
        self._built, self._run, self._device = built, run, built.device
        without_encoders(built.model)
        source, total = Windows(corpus, run, built.model.config), run.total_steps
        self._batch = to_tensors(source.rank_batch(0, 0, 1)[0], built.device, built.dtype)
        rows, length = run.batch_sequences_at(0), run.sequence_length
        windows = np.concatenate([corpus.windows(run.seed, rows, length, step) for step in range(total)])
        self._windows = torch.from_numpy(windows).to(built.device).view(total, rows, length + 1)
        self._step = torch.zeros(1, dtype=torch.int64, device=built.device)
        self.seen_S3 = torch.zeros(total, 3, device=built.device)
        """Loss, gradient norm, and whether the update was dropped, by step."""
        self._window, self._counters = built.state.window, built.state.counters_LE
        self._watch = Stopwatch(torch.device("cpu"))
        self.counted: list[dict[str, Any]] = []
        self.recordings = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        """All steps, on the current stream: on CUDA not the default one, which cannot be recorded."""
        on_cuda = self._device.type == "cuda"
        pool = torch.cuda.graph_pool_handle() if on_cuda else None  # type: ignore[no-untyped-call]
        for first, end in stretches(self._run):
            self._stretch(first, end, (first + end) // 2, pool)
        if on_cuda:
            torch.cuda.synchronize()

    def _stretch(self, first: int, end: int, place: int, pool: Any) -> None:
        as_they_are = end - first if pool is None else UNRECORDED if first == 0 else 0
        last = self._counts(end - 1)
        for step in range(first, min(first + as_they_are, end - last)):
            del step
            self._one(place)
        left = end - last - min(first + as_they_are, end - last)
        if left > 0:
            graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            self._one(place)
            graph.capture_end()  # type: ignore[no-untyped-call]
            self._graph = graph  # the one before lives until now, since both have their memory from one pool
            self.recordings += 1
            for _ in range(left):
                graph.replay()  # type: ignore[no-untyped-call]
        if last:
            self._counted_step(end - 1, place)

    def _one(self, place: int) -> None:
        """One step with the learning rate of step `place`; every result in a tensor that was there before."""
        state = self._built.state
        rows = self._windows.index_select(0, self._step)[0]
        self._batch.tokens_BS.copy_(rows[:, :-1])
        self._batch.labels_BS.copy_(rows[:, 1:])
        state.step = place
        result = train_step(self._built.parts, state, [self._batch], (), self._watch)
        seen_3 = torch.stack([result.loss, result.gradient_norm, (~result.verdict.keep).float()]).float()
        self.seen_S3.index_copy_(0, self._step, seen_3[None])
        self._step += 1
        with torch.no_grad():
            self._window.values_W2.copy_(state.window.values_W2)
            self._window.accepted.copy_(state.window.accepted)
            self._counters.copy_(state.counters_LE)
        state.window, state.counters_LE = self._window, self._counters

    def _counts(self, step: int) -> bool:
        every = self._run.precision.fp8.counters_every
        return bool(self._built.fp8_modules) and every is not None and (step + 1) % every == 0

    def _counted_step(self, step: int, place: int) -> None:
        count(self._built.model, on=True)
        self._one(place)
        shares = shares_of(take_counts(self._built.model), self._built.parts.ranks)
        count(self._built.model, on=False)
        modules = {name: {tensor: list(lost) for tensor, lost in of.items()} for name, of in shares.items()}
        self.counted.append({"step": step, "modules": modules})


def train_graphed(built: Built, run: RunPlan, corpus: Corpus) -> dict[str, Any]:
    """All steps of `run`: losses and norms by step, dropped updates, what FP8 lost (`counted`), seconds, recordings."""
    begin = time.perf_counter()
    steps = Steps(built, run, corpus)
    steps.run()
    seen: Tensor = steps.seen_S3.double().cpu()
    losses, norms = ([round(value, 5) for value in seen[:, place].tolist()] for place in (0, 1))
    return {
        "losses": losses,
        "gradient_norms": norms,
        "dropped": int(seen[:, 2].sum()),
        "counted": steps.counted,
        "recordings": steps.recordings,
        "seconds": round(time.perf_counter() - begin, 2),
    }

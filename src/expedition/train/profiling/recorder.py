"""A callback that times some steps by the clock, records some more with torch.profiler, and then ends the loop.

warm_up   nothing is measured: kernels are compiled, memory is taken, caches fill
clocked   by the clock alone; the device is waited for at both ends only
settling  one step with the profiler on that does not count: it pays for starting it
recorded  the same with the profiler on
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from expedition.train.callbacks.callback import Done, Ending
from expedition.train.control import Ask
from expedition.train.profiling.loader_work import LoaderClock, LoaderWork

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch

BEGIN: Final = "expedition: recorded steps begin"
END: Final = "expedition: recorded steps end"
ENDED: Final = "profile"
"""What the callback answers in the place of an incident's id when it has all it wants."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Numbers of steps."""

    warm_up: int = 3
    clocked: int = 8
    recorded: int = 3
    """0: no profiler."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.warm_up + self.clocked + (self.recorded + 1 if self.recorded else 0)

    def named(self, done: int) -> str:
        """What the last of so many steps was for."""
        if done <= self.warm_up:
            return "warming up"
        return "timed" if done <= self.warm_up + self.clocked else "recorded"


@dataclass(slots=True)
class Recorded:
    """What was measured on this rank."""

    first_step: int = 1 << 62
    """Number of the first clocked step; beyond all others until it is known."""
    clocked_s: float = 0.0
    """Of all clocked steps together."""
    recorded_s: float = 0.0
    """Of all recorded steps together, by the same clock."""
    times: list[dict[str, float]] = field(default_factory=list)
    """The trainer's own parts of each clocked step."""
    loader: LoaderWork | None = None
    real_tokens: float = 0.0
    """Of the global batches of the clocked steps."""
    positions: int = 0
    """Of the global batches of the clocked steps, padding included."""
    media: list[tuple[list[tuple[int, int, int]], list[int]]] = field(default_factory=list)
    """This rank's grids and mel frames of each micro-batch of the clocked steps."""
    documents: list[list[int]] = field(default_factory=list)
    """Tokens of each document of this rank's rows, by recorded step."""
    peak_bytes: int | None = None
    """Most that the accelerator's allocator held during the clocked steps."""
    profiler: profile | None = None


class Recorder:
    """The last callback of the list, on every rank; only a rank that records has `recorded` steps in its phases beyond
    their number: all ranks take the same steps."""

    def __init__(
        self,
        phases: Phases,
        device: torch.device,
        batch_tokens: Callable[[int], int],
        *,
        records: bool,
        save_at: int | None = None,
        loader: LoaderClock | None = None,
        on_clock: Callable[[bool], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`records`: whether this rank runs the profiler. `save_at`: before which of the recorded steps' ends a
        checkpoint is asked for, 0-based. `on_clock` hears of the beginning (True) and the end of the clocked steps, `tell`
        of every step, in words."""
        self.phases, self.found = phases, Recorded()
        self._device, self._batch_tokens, self._records, self._save_at = device, batch_tokens, records, save_at
        self._loader, self._on_clock, self._tell = loader or LoaderClock(), on_clock, tell
        self._done = 0
        self._since = 0.0
        self._stack = ExitStack()

    def asked(self) -> Ask:
        """For the trainer: a checkpoint within the recorded steps, if one is wanted."""
        before = self.phases.warm_up + self.phases.clocked + 1
        wanted = self._save_at is not None and self._done == before + self._save_at
        return Ask.SAVE if wanted and self.phases.recorded else Ask.NOTHING

    def after_step(self, done: Done) -> str | None:
        """Count the step; "profile" after the last one."""
        phases = self.phases
        clocked_from, clocked_to = phases.warm_up, phases.warm_up + phases.clocked
        if clocked_from <= self._done < clocked_to:
            self._note(done)
        # An accelerator's figures come a step later.
        for seen in done.seen:
            if self.found.first_step <= seen.result.step < self.found.first_step + phases.clocked:
                self.found.times.append(dict(seen.times))
                self.found.real_tokens += float(seen.result.real_tokens)
        self._done += 1
        self._tell(f"step {self._done}/{phases.total}  {phases.named(self._done)}")
        if self._done == clocked_from:
            self._start_clock(done.result.step + 1)
        if self._done == clocked_to:
            self._stop_clock()
            if phases.recorded and self._records:
                self._start_profiler()
        if self._done == clocked_to + 1 and phases.recorded:
            self._begin_recording()
        if self._done == phases.total:
            self._finish()
            return ENDED
        return None

    def at_end(self, ending: Ending) -> None:
        """Stop a profiler that an error left running."""
        self._stack.close()

    def _note(self, done: Done) -> None:
        self.found.positions += self._batch_tokens(done.result.step)
        for batch in done.batches:
            grids = [(int(t), int(h), int(w)) for t, h, w in batch.grid_G3.tolist()]
            self.found.media.append((grids, [int(count) for count in batch.mel_lengths_A.tolist()]))

    def _start_clock(self, first_step: int) -> None:
        self.found.first_step = first_step
        self._wait()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._on_clock(True)
        self._loader.start()
        self._since = time.perf_counter()

    def _stop_clock(self) -> None:
        self._wait()
        self.found.clocked_s = time.perf_counter() - self._since
        self.found.loader = self._loader.stop()
        self._on_clock(False)
        if self._device.type == "cuda":
            self.found.peak_bytes = int(torch.cuda.max_memory_allocated(self._device))

    def _start_profiler(self) -> None:
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with warnings.catch_warnings():
            # Some versions warn that events of earlier cycles are gone: there is one cycle.
            warnings.filterwarnings("ignore", message=".*Profiler clears events")
            recording = profile(activities=activities, record_shapes=True)
            self.found.profiler = self._stack.enter_context(recording)

    def _begin_recording(self) -> None:
        self._wait()
        with record_function(BEGIN):
            self._since = time.perf_counter()

    def _finish(self) -> None:
        if not self.phases.recorded:
            return
        self._wait()
        with record_function(END):
            self.found.recorded_s = time.perf_counter() - self._since
        self._stack.close()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def document_lengths(batches: Sequence[Batch]) -> list[int]:
    """Tokens of each document of a step's rows, padding left out."""
    rows = [row for batch in batches for row in batch.document_BS]
    return [int(count) for row in rows for count in np.unique(row[row > 0], return_counts=True)[1]]


def mean_times(times: list[dict[str, float]]) -> Mapping[str, float]:
    """Mean of each part over the steps that have it."""
    names = {name for row in times for name in row}
    return {name: _mean([row[name] for row in times if name in row]) for name in sorted(names)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

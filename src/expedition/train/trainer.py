"""The loop: batch → forward/backward → decide → update → callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from expedition.data.loading.prefetch import ahead
from expedition.plan.runs import Injection
from expedition.train.batches import BatchSource, to_tensors
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.decisions import Decision, data_step
from expedition.train.injection import spoil_batch
from expedition.train.objective import Parts
from expedition.train.step import TrainState, train_step
from expedition.train.stopwatch import Stopwatch

PREFETCH_STEPS = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a loop ended."""

    ending: Ending
    steps: int
    """Steps done."""
    incident: str | None = None


@dataclass(frozen=True, slots=True)
class Trainer:
    """One process's part of a run, from the state that it is given to the run's last step, a pause or an
    interruption."""

    parts: Parts
    state: TrainState
    source: BatchSource
    callbacks: Sequence[Callback]
    decisions: Sequence[Decision] = ()
    faults: Sequence[Injection] = ()
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    stop_asked: Callable[[], bool] = bool
    """Whether somebody asked the process to stop; asked after every step."""

    def train(self) -> Outcome:
        """Run the loop; callbacks are told the ending, also when a step raises."""
        outcome = Outcome("interrupted", self.state.step)
        try:
            outcome = self._loop()
        finally:
            for callback in reversed(self.callbacks):
                callback.at_end(outcome.ending)
        return outcome

    def _loop(self) -> Outcome:
        ranks, total = self.parts.ranks, self.parts.run.total_steps
        places = [data_step(step, self.decisions) for step in range(self.state.step, total)]
        read = partial(self.source.rank_batch, rank=ranks.data_rank, world=ranks.data_ranks)
        watch = Stopwatch(self.device)
        for place, numpy_batches in zip(places, ahead(read, places, PREFETCH_STEPS, 1), strict=True):
            spoilt = [spoil_batch(batch, place, self.faults) for batch in numpy_batches]
            batches = [to_tensors(batch, self.device, self.dtype) for batch in spoilt]
            watch.lap("data_s")

            result = train_step(self.parts, self.state, batches, self.faults, watch)

            samples = tuple(int(sample) for batch in spoilt for sample in batch.sample_ids)
            last, asked = self.state.step == total, ranks.any(self.stop_asked())
            done = Done(result, self.state, batches, samples, watch.step_times(), last, asked)
            for callback in self.callbacks:
                if (incident := callback.after_step(done)) is not None:
                    return Outcome("paused", self.state.step, incident)
            if asked and not last:
                return Outcome("interrupted", self.state.step)
            watch.lap("other_s")
        return Outcome("finished", self.state.step)

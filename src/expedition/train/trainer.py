"""The loop: batch → forward/backward → decide → update → callbacks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from expedition.parallel.sequence import sequence_split
from expedition.plan.runs import Injection
from expedition.train.batches import BatchSource, to_tensors
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.control import Ask, agreed
from expedition.train.decisions import Decision, data_step
from expedition.train.injection import spoil_batch
from expedition.train.objective import Parts
from expedition.train.seen import Figures, Sight
from expedition.train.step import TrainState, train_step
from expedition.train.stopwatch import Stopwatch

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch


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
    asked: Callable[[], Ask] = lambda: Ask.NOTHING
    """What somebody asked this process for; asked before the first step and after every one."""
    settles: Callable[[int], bool] = lambda step: True
    """Whether a step's figures are wanted as soon as it is done, by its number and alike on every rank. Otherwise callbacks
    see them a step later, so that an accelerator never waits for the host; the last step's, and those before a save or
    a stop, are always seen at once."""

    def train(self) -> Outcome:
        """Run the loop; callbacks are told the ending, also when a step raises ("failed")."""
        outcome = Outcome("failed", self.state.step)
        try:
            outcome = self._loop()
        finally:
            gc.unfreeze()
            for callback in reversed(self.callbacks):
                callback.at_end(outcome.ending)
        return outcome

    def _loop(self) -> Outcome:
        ranks, first, total = self.parts.ranks, self.state.step, self.parts.run.total_steps
        if (early := agreed(ranks, self.asked())) >= Ask.STOP:
            return Outcome(_ending(early), self.state.step)
        watch, split, sight = Stopwatch(self.device), sequence_split(ranks), Sight(self.settles)
        with closing(self._batches()) as made:
            for place, numpy_batches in made:
                spoilt = [spoil_batch(batch, place, self.faults) for batch in numpy_batches]
                batches = [to_tensors(batch, self.device, self.dtype, split) for batch in spoilt]
                watch.lap("data_s")

                result = train_step(self.parts, self.state, batches, self.faults, watch)

                samples = tuple(int(sample) for batch in spoilt for sample in batch.sample_ids)
                last, ask = self.state.step == total, agreed(ranks, self.asked())
                figures = Figures(result, watch.step_times(), samples, batches)
                seen = sight.add(result.step, figures, now=last or ask >= Ask.SAVE)
                done = Done(result, self.state, batches, samples, seen, last, ask)
                for callback in self.callbacks:
                    if (incident := callback.after_step(done)) is not None:
                        return Outcome("paused", self.state.step, incident)
                if ask >= Ask.STOP and not last:
                    return Outcome(_ending(ask), self.state.step)
                if result.step == first and self.device.type == "cuda":
                    gc.freeze()  # what is there stays: looking through it again and again would hold up the host
                watch.lap("other_s")
        return Outcome("finished", self.state.step)

    def _batches(self) -> Generator[tuple[int, Sequence[Batch]], None, None]:
        """(place in the data order, this rank's micro-batches) of every step that is left, made ahead by the source."""
        ranks = self.parts.ranks
        places = [data_step(step, self.decisions) for step in range(self.state.step, self.parts.run.total_steps)]
        for first, end in runs_of(places):
            with closing(self.source.rank_batches(first, end, ranks.data_rank, ranks.data_ranks)) as made:
                yield from zip(range(first, end), made, strict=True)


def runs_of(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of places that follow one another: the first, and the one after the last."""
    first = 0
    for number in range(1, len(places) + 1):
        if number == len(places) or places[number] != places[number - 1] + 1:
            yield places[first], places[number - 1] + 1
            first = number


def _ending(ask: Ask) -> Ending:
    return "held" if ask == Ask.PAUSE else "interrupted"

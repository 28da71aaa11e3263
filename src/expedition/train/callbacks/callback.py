"""What the trainer shows its callbacks, and what they may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from expedition.train.batches import TensorBatch
from expedition.train.control import Ask
from expedition.train.step import StepResult, TrainState

Ending = Literal["finished", "paused", "held", "interrupted", "failed"]
"""paused: by a rule; held: by a person; failed: a step raised, so no collective may be begun any more."""


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was just done. Valid during the call only: gradients and batches are those of this step."""

    result: StepResult
    state: TrainState
    batches: Sequence[TensorBatch]
    sample_ids: tuple[int, ...]
    times: dict[str, float]
    """Seconds by part: data_s, forward_backward_s, optimizer_s, other_s, step_s."""
    last: bool
    """The run's last step."""
    ask: Ask = Ask.NOTHING
    """What somebody asked of all ranks; from `Ask.SAVE` on a checkpoint of this step is wanted."""

    @property
    def interrupted(self) -> bool:
        """The process ends after this step: save now, and wait for it."""
        return self.ask >= Ask.STOP


class Callback(Protocol):
    """Called on every rank after every step, in the order of the list; never changes what is trained."""

    def after_step(self, done: Done) -> str | None:
        """Look at a step; the id of an incident to pause the run, else None. Every rank must answer alike."""
        ...

    def at_end(self, ending: Ending) -> None:
        """The loop has ended; called in reverse order."""
        ...

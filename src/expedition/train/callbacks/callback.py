"""What the trainer shows its callbacks, and what they may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from expedition.train.batches import TensorBatch
from expedition.train.control import Ask
from expedition.train.seen import Seen
from expedition.train.step import StepResult, TrainState

Ending = Literal["finished", "paused", "held", "interrupted", "failed"]
"""paused: by a rule; held: by a person; failed: a step raised, so no collective may be begun any more."""


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was just done, or on an accelerator just asked of it. Valid during the call only: gradients and batches
    are those of this step."""

    result: StepResult
    """On the device: whoever reads a value waits for it. Figures that cost no waiting are in `seen`."""
    state: TrainState
    batches: Sequence[TensorBatch]
    sample_ids: tuple[int, ...]
    seen: tuple[Seen, ...]
    """Steps whose figures are known since the call before, in order: on the CPU this one, on an accelerator as a rule the
    one before (`Trainer.settles`)."""
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

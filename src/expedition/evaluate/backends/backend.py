"""The seam between questions and models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from expedition.data.loading.batch import Batch
from expedition.data.loading.expand import ExpandedDocument
from expedition.evaluate.questions import Question

Floats = npt.NDArray[np.float64]


class EvalBackend(Protocol):
    """A model that is asked. Deterministic: the same questions in the same order give the same numbers on a machine."""

    @property
    def name(self) -> str:
        """Whose code runs: it stands in the results."""
        ...

    def score(self, questions: Sequence[Question]) -> list[Floats]:
        """For each question the log-probability (nats) of each continuation after its prompt, over all its tokens."""
        ...

    def greedy(self, prompts: Sequence[ExpandedDocument], tokens: int) -> npt.NDArray[np.int64]:
        """The likeliest next tokens [prompts, tokens], one after the other; after an end token, end of text."""
        ...

    def losses(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Cross entropy (nats) of each label [B, S]; 0 where there is none."""
        ...

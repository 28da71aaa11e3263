"""Faults made on purpose, for drills. They change data, gradients or the update itself; what is displayed is then true.

Faults in the data follow the *data step* (the step's place in the data order), so a run that skips the data skips them.
An injection that a recorded decision has cleared no longer acts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from expedition.plan.runs import Injection

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch

IGNORED = -100


def spoil_batch(batch: Batch, data_step: int, injections: Iterable[Injection]) -> Batch:
    """The batch with its labels renamed by a permutation of token ids while a `loss_spike` acts, else as it is.

    So looks data that was written with another tokenizer: the loss rises far above that of a model that knows nothing.
    """
    if not any(fault.kind == "loss_spike" and fault.acts_on(data_step) for fault in injections):
        return batch
    labels_BS = batch.labels_BS.copy()
    labelled = labels_BS != IGNORED
    names = np.random.Generator(np.random.Philox(key=data_step)).permutation(int(labels_BS.max()) + 1)
    labels_BS[labelled] = names[labels_BS[labelled]]
    return replace(batch, labels_BS=labels_BS)


def spoil_gradients(parameters: Iterable[Tensor], step: int, injections: Iterable[Injection]) -> None:
    """Replace one value of the first gradient by NaN or infinity while a gradient fault acts."""
    values = {"nan_gradient": math.nan, "inf_gradient": math.inf}
    for fault in injections:
        if fault.kind in values and fault.acts_on(step):
            first = next(parameter.grad for parameter in parameters if parameter.grad is not None)
            with torch.no_grad():
                first.view(-1)[0].fill_(values[fault.kind])


def learning_rate_factor(step: int, injections: Iterable[Injection]) -> float:
    """What the learning rate is multiplied by: 1 unless a `learning_rate` fault acts."""
    return math.prod(fault.factor for fault in injections if fault.kind == "learning_rate" and fault.acts_on(step))

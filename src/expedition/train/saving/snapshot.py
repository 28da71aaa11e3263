"""The training state as tensors by name, and back from a checkpoint of any number of ranks."""

from __future__ import annotations

from torch import Tensor

from expedition.train.bad_step import SpikeWindow
from expedition.train.saving.agreement import ALONE, Agreement
from expedition.train.saving.reader import TensorReader
from expedition.train.step import TrainState

_WINDOW, _ACCEPTED, _COUNTERS = "window.values", "window.accepted", "balance.counters"


def state_tensors(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer) tensors by name, live: this rank's, sharded as they are. Not a collective."""
    optimizer = dict(state.optimizer.state())
    optimizer[_WINDOW] = state.window.values_W2
    optimizer[_ACCEPTED] = state.window.accepted
    optimizer[_COUNTERS] = state.counters_LE
    return dict(state.optimizer.parameters), optimizer


def restore(
    state: TrainState, model: TensorReader, optimizer: TensorReader, step: int, agreement: Agreement = ALONE
) -> None:
    """Put a checkpoint's values into `state`, sharded as it is. A collective.

    Raises ValueError that names the first tensor that differs if it is another model's or optimiser's, on every rank.
    """
    values, moments = dict(state.optimizer.parameters), dict(state.optimizer.state())
    _require_same_names(values, model, agreement)
    _require_same_names({**moments, _WINDOW: None, _ACCEPTED: None, _COUNTERS: None}, optimizer, agreement)
    agreement.all(lambda: model.fill(values))
    agreement.all(lambda: optimizer.fill(moments))
    device = state.window.values_W2.device
    state.window = SpikeWindow(optimizer[_WINDOW].to(device), optimizer[_ACCEPTED].to(device))
    state.counters_LE = optimizer[_COUNTERS].to(device)
    state.step = step


def _require_same_names(
    mine: dict[str, Tensor] | dict[str, Tensor | None], there: TensorReader, agreement: Agreement
) -> None:
    """Names may differ between ranks (pipeline stages); those of all ranks together are the checkpoint's."""
    here = {name for found in agreement.gather(sorted(mine)) for name in found}
    missing, extra = sorted(here - there.keys()), sorted(there.keys() - here)
    if missing:
        raise ValueError(f"the checkpoint has no {missing[0]} ({len(missing)} tensors of this model are not in it)")
    if extra:
        raise ValueError(f"{extra[0]} of the checkpoint is not in this model ({len(extra)} such tensors)")

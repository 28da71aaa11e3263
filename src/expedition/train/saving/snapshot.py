"""The training state as whole CPU tensors, and back: the same bytes whatever the number of ranks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from expedition.parallel.apply import full_tensor, load_full
from expedition.train.bad_step import SpikeWindow
from expedition.train.step import TrainState

_WINDOW, _ACCEPTED, _COUNTERS = "window.values", "window.accepted", "balance.counters"


def snapshot_tensors(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer) copies on the CPU. Every rank calls it: gathering is a collective."""
    model = {name: _copy(value) for name, value in state.optimizer.parameters.items()}
    optimizer = {name: _copy(value) for name, value in state.optimizer.state().items()}
    optimizer[_WINDOW] = _copy(state.window.values_W2)
    optimizer[_ACCEPTED] = _copy(state.window.accepted)
    optimizer[_COUNTERS] = _copy(state.counters_LE)
    return model, optimizer


def restore(state: TrainState, model: dict[str, Tensor], optimizer: dict[str, Tensor], step: int) -> None:
    """Put a snapshot's values into `state`, sharded as it is. Raises KeyError or ValueError if it is another
    model's."""
    _fill(state.optimizer.parameters, model)
    extra = {name: optimizer[name] for name in (_WINDOW, _ACCEPTED, _COUNTERS)}
    _fill(state.optimizer.state(), {name: value for name, value in optimizer.items() if name not in extra})
    device = state.window.values_W2.device
    state.window = SpikeWindow(extra[_WINDOW].to(device), extra[_ACCEPTED].to(device))
    state.counters_LE = extra[_COUNTERS].to(device)
    state.step = step


def _fill(targets: dict[str, Any], values: dict[str, Tensor]) -> None:
    if targets.keys() != values.keys():
        different = sorted(targets.keys() ^ values.keys())
        raise ValueError(f"the checkpoint has other tensors: {', '.join(different[:4])}")
    for name, target in targets.items():
        if target.shape != values[name].shape:
            raise ValueError(f"{name} is {tuple(values[name].shape)} in the checkpoint, {tuple(target.shape)} here")
        load_full(target, values[name])


def _copy(value: Tensor) -> Tensor:
    whole = full_tensor(value.detach())
    return whole.cpu().clone() if whole is value.detach() or whole.device.type == "cpu" else whole.cpu()

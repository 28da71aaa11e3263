"""The forward pass in the compute type with fp32 master parameters, the same with and without sharding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from expedition.model.omni import ModelOutput, OmniModel
from expedition.parallel.accumulate import Gather, begin_micro_batch
from expedition.train.batches import TensorBatch
from expedition.train.fp8.head import linear_head
from expedition.train.fp8.layers import forget_copies
from expedition.train.losses import LinearHead
from expedition.train.working import Working


class Forward:
    """Calls the model on a batch, in the compute type. Where nothing is sharded and weights are held in another type, the
    model works with copies (`Working`), as FSDP2's mixed precision makes them of sharded ones."""

    def __init__(self, model: OmniModel, dtype: torch.dtype, *, sharded: bool, gather: Gather = "layer") -> None:
        self.model, self._gather = model, gather
        self.working = None if sharded else Working(model, dtype)

    def __call__(self, batch: TensorBatch) -> tuple[ModelOutput, LinearHead]:
        """The output, and the head as a function that stays valid for a recomputation in the backward pass."""
        with nullcontext() if self.working is None else self.working.in_place():
            output: ModelOutput = self.model(*batch.model_inputs)
            head = linear_head(self.model.lm_head)
        return output, head

    def begin(self, micro_batch: int, micro_batches: int) -> None:
        """Before the passes of one (0-based) of a step's micro-batches, whose gradients are added up."""
        if self.working is None:
            begin_micro_batch(self.model, self._gather, last=micro_batch + 1 == micro_batches)
        elif micro_batch == 0:
            self.working.begin(micro_batches)

    def end(self) -> None:
        """After the last one's: the step's gradients are the parameters'."""
        if self.working is not None:
            self.working.end()

    def updated(self) -> None:
        """The optimiser has changed the weights, and the copies with them."""
        if self.working is None:
            forget_copies(self.model)  # FSDP2 fills the same tensors without a version counting it
        else:
            self.working.updated()


def activation_statistics(model: nn.Module, run: Callable[[], Any]) -> dict[str, dict[str, float]]:
    """mean, std, absmax and nonfinite of what each decoder layer and encoder gives while `run` is called."""
    found: dict[str, dict[str, float]] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            values = tensor.detach().float()
            found[name] = {
                "mean": float(values.mean()),
                "std": float(values.std()),
                "absmax": float(values.abs().max()),
                "nonfinite": float((~torch.isfinite(values)).sum()),
            }

        return hook

    parts = {name: module for name, module in model.named_modules() if is_part(name)}
    handles = [module.register_forward_hook(watch(name)) for name, module in parts.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def is_part(name: str) -> bool:
    """Whether a module is one of the parts that a diagnosis names: a decoder layer or an encoder."""
    pieces = name.split(".")
    return pieces in (["visual"], ["audio_tower"]) or (pieces[:-1] == ["model", "layers"] and pieces[-1].isdigit())

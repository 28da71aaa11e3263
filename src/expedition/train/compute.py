"""The forward pass in the compute type with fp32 master parameters, the same with and without sharding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from expedition.model.omni import ModelOutput, OmniModel
from expedition.train.batches import TensorBatch
from expedition.train.losses import Head


class Forward:
    """Calls the model on a batch. Where nothing is sharded and weights are held in another type than the compute type,
    they are cast for the call, as FSDP2's mixed precision does for sharded ones; gradients arrive in the weights' type."""

    def __init__(self, model: OmniModel, dtype: torch.dtype, *, sharded: bool) -> None:
        self.model = model
        held = next(model.parameters()).dtype
        self._cast = None if sharded or held == dtype else dtype
        self._call = _Call(model)

    def __call__(self, batch: TensorBatch) -> tuple[ModelOutput, Head]:
        """The output, and the head as a function that stays valid for a recomputation in the backward pass."""
        if self._cast is None:
            output, weight = self._call(batch)
        else:
            cast = {name: value.to(self._cast) for name, value in self._call.named_parameters()}
            output, weight = functional_call(self._call, cast, (batch,), tie_weights=True)
        return output, lambda hidden: F.linear(hidden, weight)


class _Call(nn.Module):
    """The model and its head's weight as they are during one call."""

    def __init__(self, omni: OmniModel) -> None:
        super().__init__()
        self.omni = omni

    def forward(self, batch: TensorBatch) -> tuple[ModelOutput, Tensor]:
        output: ModelOutput = self.omni(*batch.model_inputs)
        return output, self.omni.lm_head.weight


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
